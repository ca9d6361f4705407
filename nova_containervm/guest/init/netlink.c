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

#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

static int netlink_fd = -1;
static uint32_t sequence;

struct request {
    struct nlmsghdr header;
    union {
        struct ifinfomsg link;
        struct ifaddrmsg address;
        struct rtmsg route;
    } body;
    char attributes[256];
};

int net_address_parse(struct net_address *address, const char *text,
                      size_t length)
{
    char copy[64];
    unsigned long prefix, full;
    char *slash;

    if (length >= sizeof(copy))
        return -1;
    memcpy(copy, text, length);
    copy[length] = '\0';
    memset(address, 0, sizeof(*address));
    address->family = memchr(copy, ':', length) ? AF_INET6 : AF_INET;
    full = address->family == AF_INET6 ? 128 : 32;
    prefix = full;
    slash = strchr(copy, '/');
    if (slash) {
        *slash = '\0';
        if (text_to_ulong(slash + 1, 10, full, &prefix) < 0)
            return -1;
    }
    address->prefix = (unsigned char)prefix;
    return inet_pton(address->family, copy, address->bytes) == 1 ? 0 : -1;
}

static size_t address_size(const struct net_address *address)
{
    return address->family == AF_INET6 ? 16 : 4;
}

int netlink_open(void)
{
    netlink_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    return netlink_fd < 0 ? -1 : 0;
}

void netlink_close(void)
{
    if (netlink_fd >= 0)
        close(netlink_fd);
    netlink_fd = -1;
}

static void start(struct request *request, uint16_t type, uint16_t flags,
                  size_t body_size)
{
    memset(request, 0, sizeof(*request));
    request->header.nlmsg_type = type;
    request->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    request->header.nlmsg_len = (uint32_t)NLMSG_LENGTH(body_size);
}

/* Callers stay far below the size of struct request. */
static void attribute(struct request *request, uint16_t type,
                      const void *value, size_t size)
{
    char *end = (char *)request + NLMSG_ALIGN(request->header.nlmsg_len);
    struct rtattr header = {.rta_len = (uint16_t)RTA_LENGTH(size),
                            .rta_type = type};

    memcpy(end, &header, sizeof(header));
    memcpy(end + RTA_LENGTH(0), value, size);
    request->header.nlmsg_len = (uint32_t)(
        NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(header.rta_len));
}

/* Send, and wait for the kernel's verdict, which comes at once. */
static int transact(struct request *request)
{
    union {
        struct nlmsghdr header;
        char bytes[1024];
    } answer;

    request->header.nlmsg_seq = ++sequence;
    if (send(netlink_fd, request, request->header.nlmsg_len, 0) < 0)
        return -1;
    for (;;) {
        ssize_t got = recv(netlink_fd, &answer, sizeof(answer), 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
            return -1;
        if (answer.header.nlmsg_type != NLMSG_ERROR ||
            answer.header.nlmsg_seq != sequence)
            continue;
        struct nlmsgerr *verdict = NLMSG_DATA(&answer.header);
        if (verdict->error == 0)
            return 0;
        errno = -verdict->error;
        return -1;
    }
}

int netlink_set_mtu(int index, unsigned mtu)
{
    struct request request;
    uint32_t value = mtu;

    start(&request, RTM_NEWLINK, 0, sizeof(request.body.link));
    request.body.link.ifi_index = index;
    attribute(&request, IFLA_MTU, &value, sizeof(value));
    return transact(&request);
}

int netlink_set_up(int index)
{
    struct request request;

    start(&request, RTM_NEWLINK, 0, sizeof(request.body.link));
    request.body.link.ifi_index = index;
    request.body.link.ifi_flags = IFF_UP;
    request.body.link.ifi_change = IFF_UP;
    return transact(&request);
}

int netlink_add_address(int index, const struct net_address *address)
{
    struct request request;
    size_t size = address_size(address);

    start(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE,
          sizeof(request.body.address));
    request.body.address.ifa_family = (unsigned char)address->family;
    request.body.address.ifa_prefixlen = address->prefix;
    request.body.address.ifa_index = (uint32_t)index;
    /* Neutron has made sure that the address is ours alone: no second of
     * duplicate address detection in which it cannot be used. */
    if (address->family == AF_INET6)
        request.body.address.ifa_flags = IFA_F_NODAD;
    attribute(&request, IFA_LOCAL, address->bytes, size);
    attribute(&request, IFA_ADDRESS, address->bytes, size);
    if (address->family == AF_INET && address->prefix < 31) {
        unsigned char broadcast[4];
        uint32_t host = 0xffffffffu >> address->prefix;
        for (int i = 0; i < 4; i++)
            broadcast[i] = (unsigned char)(address->bytes[i] |
                                           (host >> (24 - 8 * i) & 0xff));
        attribute(&request, IFA_BROADCAST, broadcast, sizeof(broadcast));
    }
    return transact(&request);
}

int netlink_add_route(int index, const struct net_address *network,
                      const struct net_address *gateway, unsigned metric,
                      bool onlink)
{
    struct request request;
    uint32_t interface = (uint32_t)index, priority = metric;

    start(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL,
          sizeof(request.body.route));
    request.body.route.rtm_family = (unsigned char)network->family;
    request.body.route.rtm_dst_len = network->prefix;
    request.body.route.rtm_table = RT_TABLE_MAIN;
    request.body.route.rtm_protocol = RTPROT_BOOT;
    request.body.route.rtm_scope =
        gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    request.body.route.rtm_type = RTN_UNICAST;
    if (onlink)
        request.body.route.rtm_flags = RTNH_F_ONLINK;
    if (network->prefix)
        attribute(&request, RTA_DST, network->bytes, address_size(network));
    if (gateway)
        attribute(&request, RTA_GATEWAY, gateway->bytes,
                  address_size(gateway));
    attribute(&request, RTA_OIF, &interface, sizeof(interface));
    attribute(&request, RTA_PRIORITY, &priority, sizeof(priority));
    return transact(&request) < 0 && errno != EEXIST ? -1 : 0;
}
