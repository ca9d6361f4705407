/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may
 * not use this file except in compliance with the License. You may obtain
 * a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 * WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 * License for the specific language governing permissions and limitations
 * under the License.
 */

/* The few rtnetlink requests the init makes. All return 0, or -1 with errno
 * (the kernel's answer). */
#ifndef CVM_NETLINK_H
#define CVM_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* An IPv4 or IPv6 address or network. */
struct net_address {
    int family; /* AF_INET or AF_INET6 */
    unsigned char bytes[16];
    unsigned char prefix;
};

/*
 * Parse LENGTH bytes at TEXT, "10.0.0.5/24" or without a prefix (then it is
 * that of a single host). 0, or -1.
 */
int net_address_parse(struct net_address *address, const char *text,
                      size_t length);

/* Open the socket; -1 with errno. */
int netlink_open(void);
void netlink_close(void);

int netlink_set_mtu(int index, unsigned mtu);
int netlink_set_up(int index);
int netlink_add_address(int index, const struct net_address *address);
/*
 * GATEWAY NULL: the network is on the link itself. ONLINK: take the
 * gateway's being on the link for granted. A route that is there already is
 * no error.
 */
int netlink_add_route(int index, const struct net_address *network,
                      const struct net_address *gateway, unsigned metric,
                      bool onlink);

#endif
