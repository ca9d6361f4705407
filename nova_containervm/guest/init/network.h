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

/* Brings up the network that the contract describes. */
#ifndef CVM_NETWORK_H
#define CVM_NETWORK_H

#include "contract.h"

/* What DHCP adds to what the contract says. */
struct network_result {
    char address[64]; /* the container's own address, for /etc/hosts; "" */
    char dns[512];    /* space-separated; "" */
    char search[256];
    bool dhcp; /* a client is at work */
};

/*
 * Configure lo and every interface of CONTRACT. Fails on an interface that
 * is missing and on a static setting that the kernel refuses; a DHCP server
 * that does not answer is a warning.
 */
void network_up(const struct contract *contract,
                struct network_result *result);

/*
 * Configure one interface, the server's NUMBERth, which may take WAIT_MS to
 * appear. As in network_up(), whose socket is to be open.
 */
void network_up_nic(const struct nic *nic, unsigned number, int wait_ms,
                    struct network_result *result);

/*
 * Before there is a contract: have the first interface, if there is one, get
 * an address by DHCP. It stays as it is; network_up() sees to the rest.
 * Fails if no server answers, and if the kernel has no driver for any network
 * card. False if there is none.
 */
bool network_ask(void);

/* Apply the sysctls of the contract; one that the kernel refuses is a
 * warning. */
void network_sysctls(const struct contract *contract);

#endif
