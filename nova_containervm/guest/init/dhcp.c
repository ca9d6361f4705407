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

#include "dhcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "paths.h"
#include "process.h"
#include "report.h"
#include "text.h"

#define STAGE "network"
#define LEASES RUN_DIR "/dhcp"
#define SCRIPT "/etc/containervm/udhcpc"
#define LEASE_WAIT_MS 15000
#define SLAAC_WAIT_MS 4000
#define MAX_CLIENTS 16
#define BUSYBOX "/bin/busybox"

static char clients[MAX_CLIENTS][IF_NAMESIZE];
static size_t client_count;

void dhcp_start(const char *interface)
{
    /* -f: stays in the foreground, as our child; -t -A: four quick tries,
     * then again every 5 s for ever. */
    char *argv[] = {BUSYBOX, "udhcpc", "-f", "-i",
                    (char *)interface, "-s", SCRIPT, "-t", "4", "-T", "2",
                    "-A", "5", "-O", "staticroutes", "-O", "mtu",
                    "-O", "search", NULL};

    for (size_t i = 0; i < client_count; i++)
        if (strcmp(clients[i], interface) == 0)
            return;
    if (client_count == MAX_CLIENTS)
        fail(STAGE, "more than %d interfaces with DHCP", MAX_CLIENTS);
    if (mkdir(LEASES, 0700) < 0 && errno != EEXIST)
        fail_errno(STAGE, "%s", LEASES);
    if (process_spawn(argv, -1) < 0)
        fail_errno(STAGE, "cannot start udhcpc");
    snprintf(clients[client_count++], IF_NAMESIZE, "%s", interface);
}

bool dhcp_is_there(void)
{
    return access(BUSYBOX, X_OK) == 0;
}

bool dhcp_is_used(void)
{
    return client_count > 0;
}

/* Take over a lease: three lines, address, servers, domain. The script
 * writes the file under another name first, so it is whole. */
static bool read_lease(const char *interface, struct network_result *result)
{
    char path[128], text[900];
    char *lines[3] = {"", "", ""};

    snprintf(path, sizeof(path), LEASES "/%s", interface);
    if (text_read_file(path, text, sizeof(text)) < 0)
        return false;
    char *at = text;
    for (int i = 0; i < 3 && at; i++)
        lines[i] = strsep(&at, "\n");
    if (!result->address[0])
        snprintf(result->address, sizeof(result->address), "%s", lines[0]);
    if (!result->dns[0])
        snprintf(result->dns, sizeof(result->dns), "%s", lines[1]);
    if (!result->search[0])
        snprintf(result->search, sizeof(result->search), "%s", lines[2]);
    return true;
}

bool dhcp_wait(struct network_result *result)
{
    long long deadline = clock_ms() + LEASE_WAIT_MS;
    size_t done = 0;

    while (done < client_count) {
        if (read_lease(clients[done], result)) {
            done++;
            continue;
        }
        if (clock_ms() >= deadline)
            return false;
        clock_sleep_ms(10);
    }
    return true;
}

void dhcp_wait_slaac(struct network_result *result)
{
    long long deadline = clock_ms() + SLAAC_WAIT_MS;

    do {
        FILE *table = fopen("/proc/net/if_inet6", "re");
        unsigned char bytes[16];
        char hex[33], name[32];
        unsigned scope;

        while (table &&
               fscanf(table, "%32s %*x %*x %x %*x %31s", hex, &scope, name) ==
                   3) {
            if (scope != 0 || text_from_hex(hex, 32, bytes, 16) != 16)
                continue;
            inet_ntop(AF_INET6, bytes, result->address,
                      sizeof(result->address));
            break;
        }
        if (table)
            fclose(table);
        if (result->address[0])
            return;
        clock_sleep_ms(20);
    } while (clock_ms() < deadline);
    warn(STAGE, "no router advertisement with a prefix yet");
}
