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

/*
 * Runs one pure function of the guest init for test_guest_init.py, which
 * compiles this together with the init's sources and the sanitizers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"
#include "copytree.h"
#include "env.h"
#include "health_state.h"
#include "json.h"
#include "mountopts.h"
#include "netlink.h"
#include "restart.h"
#include "signature.h"
#include "text.h"

static char *read_input(size_t *length)
{
    size_t size = 1 << 16, used = 0;
    char *input = malloc(size);

    for (size_t got; (got = fread(input + used, 1, size - used, stdin)) > 0;) {
        used += got;
        if (used == size)
            input = realloc(input, size *= 2);
    }
    /* Exactly as large as the content, for the sanitizer to watch over. */
    char *exact = malloc(used ? used : 1);
    memcpy(exact, input, used);
    free(input);
    *length = used;
    return exact;
}

static void print_hex(const char *text)
{
    for (; *text; text++)
        printf("%02x", (unsigned char)*text);
}

static int run_env(void)
{
    char error[200];
    struct env env;
    size_t length;
    char *text = read_input(&length);

    if (env_parse(&env, text, length, error, sizeof(error)) < 0) {
        printf("error: %s\n", error);
    } else {
        for (size_t i = 0; i < env.count; i++) {
            printf("%s=", env.vars[i].name);
            print_hex(env_get(&env, env.vars[i].name));
            printf("\n");
        }
        env_free(&env);
    }
    free(text);
    return 0;
}

static void print_contract(const struct contract *contract)
{
    printf("transport=%d writable=%d runtime=%d restart=%d:%u\n",
           contract->transport, contract->writable, contract->runtime,
           contract->restart, contract->restart_max);
    printf("uid=%u gid=%u groups=", contract->uid, contract->gid);
    for (size_t i = 0; i < contract->group_count; i++)
        printf("%u,", contract->groups[i]);
    printf(" umask=%04o caps=%llx stop=%d/%u\n", contract->umask,
           contract->capabilities, contract->stop_signal,
           contract->stop_timeout);
    for (char **arg = contract->argv; *arg; arg++)
        printf("arg=%s\n", *arg);
    if (contract->swap)
        printf("swap\n");
    for (size_t i = 0; i < contract->volume_count; i++)
        printf("volume=%s %s %d wait=%u\n", contract->volumes[i].id,
               contract->volumes[i].path, contract->volumes[i].readonly,
               contract->volume_wait);
    for (char **arg = contract->health.command; *arg; arg++)
        printf("health=%s %u %u %u %u %u\n", *arg,
               contract->health.interval_ms, contract->health.timeout_ms,
               contract->health.start_period_ms,
               contract->health.start_interval_ms, contract->health.retries);
    for (size_t i = 0; i < contract->nic_count; i++)
        printf("nic=%s mtu=%u dhcp=%d%d\n", contract->nics[i].mac,
               contract->nics[i].mtu, contract->nics[i].dhcp4,
               contract->nics[i].dhcp6);
}

static int run_contract(void)
{
    char error[200];
    struct env env;
    struct contract contract;
    size_t length;
    char *text = read_input(&length);

    if (env_parse(&env, text, length, error, sizeof(error)) < 0) {
        printf("error: %s\n", error);
        free(text);
        return 0;
    }
    if (contract_read(&contract, &env, error, sizeof(error)) < 0)
        printf("error: %s\n", error);
    else
        print_contract(&contract);
    contract_free(&contract);
    env_free(&env);
    free(text);
    return 0;
}

/* The input with random bytes changed, COUNT times: nothing to print, the
 * sanitizers abort if it goes wrong. */
static int run_fuzz(unsigned seed, int count)
{
    static const char interesting[] = "'\\\n=#\0 _A0\xff";
    size_t length;
    char *text = read_input(&length);

    srand(seed);
    for (int i = 0; i < count; i++) {
        size_t size = length ? (size_t)rand() % (length + 1) : 0;
        char *copy = malloc(size ? size : 1);
        char error[200];
        struct env env;
        struct contract contract;

        memcpy(copy, text, size);
        for (int j = rand() % 8; j > 0 && size; j--)
            copy[(size_t)rand() % size] =
                interesting[(size_t)rand() % sizeof(interesting)];
        if (env_parse(&env, copy, size, error, sizeof(error)) == 0) {
            contract_read(&contract, &env, error, sizeof(error));
            contract_free(&contract);
            env_free(&env);
        }
        free(copy);
    }
    free(text);
    return 0;
}

static int run_json(int argc, char **argv)
{
    char *buffer = malloc((size_t)atoi(argv[0]));
    struct json json;

    json_begin(&json, buffer, (size_t)atoi(argv[0]));
    for (int i = 1; i < argc; i++)
        json_string(&json, "s", argv[i]);
    json_long(&json, "n", -5);
    json_bool(&json, "b", true);
    json_seconds(&json, "t", 1234005);
    json_end(&json);
    puts(buffer);
    free(buffer);
    return 0;
}

static int run_address(const char *text)
{
    struct net_address address;

    if (net_address_parse(&address, text, strlen(text)) < 0) {
        puts("error");
        return 0;
    }
    printf("%d ", address.family == AF_INET ? 4 : 6);
    for (int i = 0; i < (address.family == AF_INET ? 4 : 16); i++)
        printf("%02x", address.bytes[i]);
    printf("/%d\n", address.prefix);
    return 0;
}

/* argv: policy max, then "code:ran_ms" for each run. */
static int run_restart(int argc, char **argv)
{
    struct restart_state state = {0};

    for (int i = 2; i < argc; i++) {
        int code;
        long ran;
        sscanf(argv[i], "%d:%ld", &code, &ran);
        if (!restart_wanted(&state, (enum restart)atoi(argv[0]),
                            (unsigned)atoi(argv[1]), code, ran)) {
            puts("end");
            return 0;
        }
        printf("%u:%u\n", state.count, state.delay_ms);
    }
    return 0;
}

/* argv: retries start_period_ms, then "good:began_ms" for each check. */
static int run_health(int argc, char **argv)
{
    struct health health = {
        .interval_ms = 30, .start_interval_ms = 5,
        .retries = (unsigned)atoi(argv[0]),
        .start_period_ms = (unsigned)atoi(argv[1])};
    struct health_state state = {0};

    for (int i = 2; i < argc; i++) {
        int good;
        long began;
        sscanf(argv[i], "%d:%ld", &good, &began);
        bool changed = health_state_update(&state, &health, good, began);
        printf("%s%s:%u\n", health_status_name(state.status),
               changed ? "!" : "",
               health_state_interval(&state, &health, began));
    }
    return 0;
}

static int run_signature(void)
{
    size_t length;
    char *bytes = read_input(&length);
    const char *name = signature_find((unsigned char *)bytes, length);

    puts(name ? name : "");
    free(bytes);
    return 0;
}

static int run_copytree(const char *from, const char *to)
{
    int source = open(from, O_RDONLY | O_DIRECTORY);
    int target = open(to, O_RDONLY | O_DIRECTORY);
    char where[300];
    int result = to[0] ? copytree(source, target, where, sizeof(where))
                       : copytree_clear(source);

    if (result < 0)
        printf("%s: %s\n", to[0] ? where : from, strerror(errno));
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    unsigned long flags, number;
    char data[32];
    unsigned char bytes[8];

    if (strcmp(what, "env") == 0)
        return run_env();
    if (strcmp(what, "contract") == 0)
        return run_contract();
    if (strcmp(what, "fuzz") == 0 && argc == 4)
        return run_fuzz((unsigned)atoi(argv[2]), atoi(argv[3]));
    if (strcmp(what, "json") == 0 && argc > 2)
        return run_json(argc - 2, argv + 2);
    if (strcmp(what, "address") == 0 && argc == 3)
        return run_address(argv[2]);
    if (strcmp(what, "restart") == 0 && argc > 3)
        return run_restart(argc - 2, argv + 2);
    if (strcmp(what, "health") == 0 && argc > 3)
        return run_health(argc - 2, argv + 2);
    if (strcmp(what, "signature") == 0)
        return run_signature();
    if (strcmp(what, "copytree") == 0 && argc == 4)
        return run_copytree(argv[2], argv[3]);
    if (strcmp(what, "mountopts") == 0 && argc == 3) {
        int result = mountopts_parse(argv[2], &flags, data, sizeof(data));
        printf("%d %#lx %s\n", result, result ? 0 : flags,
               result ? "" : data);
        return 0;
    }
    if (strcmp(what, "number") == 0 && argc == 3) {
        int result = text_to_ulong(argv[2], 10, 4294967294UL, &number);
        printf("%d %lu\n", result, result ? 0 : number);
        return 0;
    }
    if (strcmp(what, "hex") == 0 && argc == 3) {
        printf("%zd\n",
               text_from_hex(argv[2], strlen(argv[2]), bytes, sizeof(bytes)));
        return 0;
    }
    return 2;
}
