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

#include "etcfiles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "paths.h"
#include "report.h"
#include "text.h"

#define STAGE "etc"

static void create(const char *path, const char *text, size_t length)
{
    if (text_create_file(path, text, length, 0644) < 0)
        fail_errno(STAGE, "%s", path);
}

/* As docker writes it; the own name stands for the address that others see,
 * not for 127.0.1.1. */
static void write_hosts(const struct contract *contract,
                        const struct network_result *network)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    if (!out)
        fail_errno(STAGE, "hosts");
    fputs("127.0.0.1\tlocalhost\n"
          "::1\tlocalhost ip6-localhost ip6-loopback\n"
          "fe00::\tip6-localnet\n"
          "ff00::\tip6-mcastprefix\n"
          "ff02::1\tip6-allnodes\n"
          "ff02::2\tip6-allrouters\n", out);
    fprintf(out, "%s\t",
            network->address[0] ? network->address : "127.0.1.1");
    if (contract->domain[0])
        fprintf(out, "%s.%s ", contract->hostname, contract->domain);
    fprintf(out, "%s\n", contract->hostname);
    fclose(out);
    create(ETC_DIR "/hosts", text, length);
    free(text);
}

static void write_resolv_conf(const struct contract *contract,
                              const struct network_result *network)
{
    const char *servers = contract->dns[0] ? contract->dns : network->dns;
    const char *search =
        contract->search[0] ? contract->search : network->search;
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    if (!out)
        fail_errno(STAGE, "resolv.conf");
    if (search[0])
        fprintf(out, "search %s\n", search);
    while (*servers) {
        size_t size = strcspn(servers, " ");
        if (size)
            fprintf(out, "nameserver %.*s\n", (int)size, servers);
        servers += size + (servers[size] == ' ');
    }
    fclose(out);
    create(ETC_DIR "/resolv.conf", text, length);
    free(text);
}

void etcfiles_write(const struct contract *contract,
                    const struct network_result *network)
{
    char name[300];

    write_hosts(contract, network);
    write_resolv_conf(contract, network);
    snprintf(name, sizeof(name), "%s\n", contract->hostname);
    create(ETC_DIR "/hostname", name, strlen(name));
    if (sethostname(contract->hostname, strlen(contract->hostname)) < 0)
        fail_errno(STAGE, "host name '%.100s'", contract->hostname);
}
