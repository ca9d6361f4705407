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

#include "network.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "clock.h"
#include "dhcp.h"
#include "netlink.h"
#include "report.h"
#include "text.h"

#define STAGE "network"
#define WAIT_MS 5000
#define ASK_WAITS 3 /* of a quarter of a minute each, after the first */
#define PCI "/sys/bus/pci/devices"
#define PCI_ETHERNET "0x020000"
#define ETHERNET "1" /* ARPHRD_ETHER, in /sys/class/net */

/* The first interface's routes win over the second's, and so on. */
#define FIRST_METRIC 100

struct interface {
    int index;
    unsigned metric;
    char name[IF_NAMESIZE];
};

typedef void (*word_handler)(const struct interface *interface,
                             const char *word, size_t length);

/* Call HANDLER for each space-separated word of LIST. */
static void each_word(const char *list, word_handler handler,
                      const struct interface *interface)
{
    while (*list) {
        size_t length = strcspn(list, " ");
        if (length)
            handler(interface, list, length);
        list += length + (list[length] == ' ');
    }
}

/* Find the interface with address MAC; its name into NAME. */
static bool find_interface(const char *mac, int wait_ms, char *name,
                           size_t size)
{
    long long deadline = clock_ms() + wait_ms;

    for (;;) {
        DIR *interfaces = opendir("/sys/class/net");
        struct dirent *entry;
        bool found = false;

        while (interfaces && !found && (entry = readdir(interfaces))) {
            char path[PATH_MAX], address[64];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof(path), "/sys/class/net/%s/address",
                     entry->d_name);
            found = text_read_line(path, address, sizeof(address)) == 0 &&
                    strcasecmp(address, mac) == 0;
            if (found)
                snprintf(name, size, "%.*s", (int)size - 1, entry->d_name);
        }
        if (interfaces)
            closedir(interfaces);
        if (found)
            return true;
        if (clock_ms() >= deadline)
            return false;
        clock_sleep_ms(5);
    }
}

static void set_conf(const char *family, const char *name, const char *key,
                     const char *value)
{
    char path[200];

    snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, name,
             key);
    if (text_write_file(path, value) < 0)
        debug("%s: %s", path, strerror(errno));
}

static void add_address(const struct interface *interface, const char *word,
                        size_t length, int family)
{
    struct net_address address;

    if (net_address_parse(&address, word, length) < 0)
        fail(STAGE, "%s: '%.*s' is no address", interface->name, (int)length,
             word);
    if (address.family != family)
        return;
    if (netlink_add_address(interface->index, &address) < 0)
        fail_errno(STAGE, "%s: address %.*s", interface->name, (int)length,
                   word);
}

static void add_address4(const struct interface *interface, const char *word,
                         size_t length)
{
    add_address(interface, word, length, AF_INET);
}

static void add_address6(const struct interface *interface, const char *word,
                         size_t length)
{
    add_address(interface, word, length, AF_INET6);
}

/* WORD is "network,gateway", or "network," for one that is on the link. */
static void add_route(const struct interface *interface, const char *word,
                      size_t length)
{
    struct net_address network, gateway, *via = NULL;
    const char *comma = memchr(word, ',', length);
    size_t first = comma ? (size_t)(comma - word) : length;
    int result;

    if (net_address_parse(&network, word, first) < 0)
        fail(STAGE, "%s: route '%.*s'", interface->name, (int)length, word);
    if (comma && first + 1 < length) {
        via = &gateway;
        if (net_address_parse(via, comma + 1, length - first - 1) < 0 ||
            via->family != network.family)
            fail(STAGE, "%s: route '%.*s'", interface->name, (int)length,
                 word);
    }
    result = netlink_add_route(interface->index, &network, via,
                               interface->metric, false);
    /* A gateway outside the address's own network (a /32 address): it is
     * on the link all the same. */
    if (result < 0 && via &&
        (errno == ENETUNREACH || errno == EHOSTUNREACH))
        result = netlink_add_route(interface->index, &network, via,
                                   interface->metric, true);
    if (result < 0)
        fail_errno(STAGE, "%s: route %.*s", interface->name, (int)length,
                   word);
}

void network_up_nic(const struct nic *nic, unsigned number, int wait_ms,
                    struct network_result *result)
{
    struct interface interface = {.metric = FIRST_METRIC + number};
    const char *name = interface.name;

    if (!find_interface(nic->mac, wait_ms, interface.name,
                        sizeof(interface.name)))
        fail(STAGE, "no interface with address %s", nic->mac);
    int index = interface.index = (int)if_nametoindex(name);
    debug("%s is %s", nic->mac, name);

    if (nic->mtu && netlink_set_mtu(index, nic->mtu) < 0)
        fail_errno(STAGE, "%s: MTU %u", name, nic->mtu);
    /* Announce addresses when the link comes up: after a migration or a
     * re-creation, switches and neighbours have old ideas. */
    set_conf("ipv4", name, "arp_notify", "1");
    set_conf("ipv6", name, "ndisc_notify", "1");
    set_conf("ipv6", name, "accept_dad", "0");
    set_conf("ipv6", name, "dad_transmits", "0");
    /* Routers are listened to where the contract asks for it only; 2: also
     * if the container turns on forwarding. */
    set_conf("ipv6", name, "accept_ra", nic->dhcp6 ? "2" : "0");

    /* Order matters: IPv4 addresses before the link goes up, for that is
     * when arp_notify announces them; IPv6 addresses and routes after,
     * they need the link. */
    each_word(nic->addrs, add_address4, &interface);
    if (netlink_set_up(index) < 0)
        fail_errno(STAGE, "%s: cannot set up", name);
    each_word(nic->addrs, add_address6, &interface);
    if (nic->dhcp4)
        dhcp_start(name);
    each_word(nic->routes, add_route, &interface);
    if (!result->address[0] && nic->addrs[0])
        snprintf(result->address, sizeof(result->address), "%.*s",
                 (int)strcspn(nic->addrs, "/ "), nic->addrs);
}

void network_up(const struct contract *contract,
                struct network_result *result)
{
    memset(result, 0, sizeof(*result));
    if (netlink_open() < 0)
        fail_errno(STAGE, "netlink");
    if (netlink_set_up((int)if_nametoindex("lo")) < 0)
        fail_errno(STAGE, "lo: cannot set up");
    for (size_t i = 0; i < contract->nic_count; i++)
        network_up_nic(&contract->nics[i], (unsigned)i, WAIT_MS, result);
    netlink_close();
    /* All clients are under way by now: the waits overlap. */
    result->dhcp = dhcp_is_used();
    if (!dhcp_wait(result))
        warn(STAGE, "no answer from a DHCP server yet; still asking");
    for (size_t i = 0; i < contract->nic_count; i++)
        if (contract->nics[i].dhcp6 && !result->address[0])
            dhcp_wait_slaac(result);
}

/* The Ethernet interface with the lowest number. */
static bool first_interface(char *name, size_t size)
{
    struct if_nameindex *all = if_nameindex();
    unsigned lowest = UINT_MAX;

    for (struct if_nameindex *at = all; at && at->if_index; at++) {
        char path[PATH_MAX], type[16];

        snprintf(path, sizeof(path), "/sys/class/net/%s/type", at->if_name);
        if (at->if_index > lowest ||
            text_read_line(path, type, sizeof(type)) < 0 ||
            strcmp(type, ETHERNET) != 0)
            continue;
        lowest = at->if_index;
        snprintf(name, size, "%s", at->if_name);
    }
    if_freenameindex(all);
    return lowest != UINT_MAX;
}

/* Whether there is a network card, known to a driver or not. */
static bool has_card(void)
{
    DIR *devices = opendir(PCI);
    struct dirent *entry;
    bool found = false;

    while (devices && !found && (entry = readdir(devices))) {
        char path[PATH_MAX], class[16];
        snprintf(path, sizeof(path), PCI "/%s/class", entry->d_name);
        found = text_read_line(path, class, sizeof(class)) == 0 &&
                strcmp(class, PCI_ETHERNET) == 0;
    }
    if (devices)
        closedir(devices);
    return found;
}

bool network_ask(void)
{
    struct network_result result = {0};
    char name[IF_NAMESIZE];

    if (!first_interface(name, sizeof(name))) {
        /* What it runs depends on what is said there. */
        if (has_card())
            fail(STAGE, "no config drive, and no network card is virtio");
        return false;
    }
    dhcp_start(name);
    for (int left = ASK_WAITS; !dhcp_wait(&result); left--)
        if (!left)
            fail(STAGE, "no config drive, and no DHCP server answers on %s",
                 name);
    debug("%s has %s", name, result.address);
    return true;
}

void network_sysctls(const struct contract *contract)
{
    for (char **sysctl = contract->sysctls; *sysctl; sysctl++) {
        char path[300] = "/proc/sys/";
        size_t length = strcspn(*sysctl, "=");
        size_t base = strlen(path);

        if ((*sysctl)[length] != '=' || base + length >= sizeof(path) ||
            strstr(*sysctl, ".."))
            fail("sysctl", "'%.100s' is malformed", *sysctl);
        for (size_t i = 0; i < length; i++)
            path[base + i] = (*sysctl)[i] == '.' ? '/' : (*sysctl)[i];
        /* As good as a kernel can do it: another one has other parameters,
         * and a container that needs one will say so. */
        if (text_write_file(path, *sysctl + length + 1) < 0)
            warn("sysctl", "%.200s: %s", *sysctl, strerror(errno));
    }
}
