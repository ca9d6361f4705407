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

#include "contract.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* Counts above this are nonsense, not containers. */
#define MAX_COUNT 65536

struct reader {
    const struct env *env;
    char *error;
    size_t error_size;
    bool failed; /* the first error stays; later reads do nothing */
};

static void __attribute__((format(printf, 2, 3)))
bad(struct reader *reader, const char *format, ...)
{
    va_list args;

    if (reader->failed)
        return;
    reader->failed = true;
    va_start(args, format);
    vsnprintf(reader->error, reader->error_size, format, args);
    va_end(args);
}

/* FALLBACK NULL: the variable must be there. */
static const char *string(struct reader *reader, const char *name,
                          const char *fallback)
{
    const char *value = env_get(reader->env, name);

    if (value)
        return value;
    if (!fallback)
        bad(reader, "%s is missing", name);
    return fallback ? fallback : "";
}

static unsigned long number(struct reader *reader, const char *name,
                            unsigned long fallback, unsigned long max)
{
    const char *value = env_get(reader->env, name);
    unsigned long result;

    if (!value || !*value)
        return fallback;
    if (text_to_ulong(value, 10, max, &result) < 0) {
        bad(reader, "%s='%.80s' is not a number up to %lu", name, value, max);
        return fallback;
    }
    return result;
}

static bool flag(struct reader *reader, const char *name)
{
    return number(reader, name, 0, 1) == 1;
}

/* Index of the variable's value in CHOICES (NULL-terminated). */
static int choice(struct reader *reader, const char *name,
                  const char *fallback, const char *const *choices)
{
    const char *value = string(reader, name, fallback);

    for (int i = 0; choices[i]; i++)
        if (strcmp(value, choices[i]) == 0)
            return i;
    bad(reader, "%s='%.80s' is not known", name, value);
    return 0;
}

/* NULL-terminated values of <PREFIX>C numbered variables <PREFIX>_0... */
static char **list(struct reader *reader, const char *prefix)
{
    char name[64];

    snprintf(name, sizeof(name), "%sC", prefix);
    size_t count = number(reader, name, 0, MAX_COUNT);
    char **values = calloc(count + 1, sizeof(*values));
    if (!values) {
        bad(reader, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < count && !reader->failed; i++) {
        snprintf(name, sizeof(name), "%s_%zu", prefix, i);
        values[i] = (char *)string(reader, name, NULL);
    }
    return values;
}

static void read_groups(struct reader *reader, struct contract *contract)
{
    char *copy = strdup(string(reader, "CVM_GROUPS", ""));
    char *save = NULL, *word;

    if (!copy) {
        bad(reader, "out of memory");
        return;
    }
    contract->groups = calloc(strlen(copy) / 2 + 1, sizeof(gid_t));
    word = strtok_r(copy, " ", &save);
    for (; word && contract->groups; word = strtok_r(NULL, " ", &save)) {
        unsigned long gid;
        if (text_to_ulong(word, 10, UINT_MAX - 1, &gid) < 0)
            bad(reader, "CVM_GROUPS: '%.80s' is not a group id", word);
        else
            contract->groups[contract->group_count++] = (gid_t)gid;
    }
    free(copy);
}

static void read_process(struct reader *reader, struct contract *contract)
{
    static const char *const runtimes[] = {"crun", "runc", "chroot", NULL};
    unsigned long mask = 0022;
    const char *value;

    contract->runtime = choice(reader, "CVM_RUNTIME", "crun", runtimes);
    contract->argv = list(reader, "CVM_ARG");
    contract->envp = list(reader, "CVM_ENV");
    if (contract->argv && !contract->argv[0])
        bad(reader, "CVM_ARGC: no command to run");
    contract->cwd = string(reader, "CVM_CWD", "/");
    if (contract->cwd[0] != '/')
        bad(reader, "CVM_CWD='%.80s' is not absolute", contract->cwd);
    /* The highest id means "no change" to the kernel. */
    contract->uid = (uid_t)number(reader, "CVM_UID", 0, UINT_MAX - 1);
    contract->gid = (gid_t)number(reader, "CVM_GID", 0, UINT_MAX - 1);
    read_groups(reader, contract);
    value = string(reader, "CVM_UMASK", "0022");
    if (text_to_ulong(value, 8, 0777, &mask) < 0)
        bad(reader, "CVM_UMASK='%.80s' is not a file mode", value);
    contract->umask = (mode_t)mask;
    /* Without it, what docker leaves a container: see capabilities(7). */
    value = string(reader, "CVM_CAPS", "00000000a80425fb");
    if (strspn(value, "0123456789abcdef") != strlen(value) ||
        strlen(value) > 16 || !*value)
        bad(reader, "CVM_CAPS='%.80s' is not a set of bits", value);
    else
        contract->capabilities = strtoull(value, NULL, 16);
    contract->tty = flag(reader, "CVM_TTY");
    contract->readonly = flag(reader, "CVM_READONLY");
    contract->privileged = flag(reader, "CVM_PRIVILEGED");
    contract->cgroup_writable = flag(reader, "CVM_CGROUP_WRITABLE");
    contract->shm_size = number(reader, "CVM_SHM_SIZE", 64UL << 20, LONG_MAX);
    contract->tmpfs = list(reader, "CVM_TMPFS");
    contract->rlimits = list(reader, "CVM_RLIMIT");
    contract->init = flag(reader, "CVM_INIT");
}

/* "<id> ro|rw <path>" */
static void read_volumes(struct reader *reader, struct contract *contract)
{
    char **entries = list(reader, "CVM_VOLUME");
    size_t count = 0;

    while (entries && entries[count])
        count++;
    contract->volumes = calloc(count + 1, sizeof(struct volume));
    for (size_t i = 0; contract->volumes && i < count; i++) {
        struct volume *volume = &contract->volumes[i];
        char *rest = entries[i] + strcspn(entries[i], " ");
        volume->readonly = strncmp(rest, " ro /", 5) == 0;
        if (rest == entries[i] || strchr(entries[i], '/') != rest + 4 ||
            (!volume->readonly && strncmp(rest, " rw /", 5) != 0)) {
            bad(reader, "CVM_VOLUME_%zu='%.80s' is malformed", i,
                entries[i]);
            break;
        }
        /* The contract's strings are its own to cut up. */
        *rest = '\0';
        volume->id = entries[i];
        volume->path = rest + 4;
        contract->volume_count++;
    }
    contract->volume_wait =
        (unsigned)number(reader, "CVM_VOLUME_WAIT", 120, 86400);
    free(entries);
}

static void read_health(struct reader *reader, struct health *health)
{
    static const struct health defaults = {
        NULL, 30000, 30000, 0, 5000, 3};

    health->command = list(reader, "CVM_HEALTH");
#define MS(member, name)                                                     \
    health->member =                                                         \
        (unsigned)number(reader, "CVM_HEALTH_" name, defaults.member, INT_MAX)
    MS(interval_ms, "INTERVAL_MS");
    MS(timeout_ms, "TIMEOUT_MS");
    MS(start_period_ms, "START_PERIOD_MS");
    MS(start_interval_ms, "START_INTERVAL_MS");
    MS(retries, "RETRIES");
#undef MS
}

static void read_nic(struct reader *reader, struct nic *nic, size_t index)
{
    char name[64];

#define FIELD(suffix)                                                        \
    (snprintf(name, sizeof(name), "CVM_NIC_%zu_" suffix, index), name)
    nic->mac = string(reader, FIELD("MAC"), NULL);
    nic->mtu = (unsigned)number(reader, FIELD("MTU"), 0, 65535);
    nic->addrs = string(reader, FIELD("ADDRS"), "");
    nic->routes = string(reader, FIELD("ROUTES"), "");
    const char *dhcp = string(reader, FIELD("DHCP"), "");
#undef FIELD
    for (; *dhcp; dhcp++) {
        if (*dhcp == '4')
            nic->dhcp4 = true;
        else if (*dhcp == '6')
            nic->dhcp6 = true;
        else if (*dhcp != ' ')
            bad(reader, "%s: '%c' is not 4 or 6", name, *dhcp);
    }
}

int contract_read(struct contract *contract, const struct env *env,
                  char *error, size_t error_size)
{
    static const char *const transports[] = {"9p", "virtiofs", "block", NULL};
    static const char *const writables[] = {"disk", "share", NULL};
    static const char *const restarts[] = {"no", "on-failure", "always",
                                           "unless-stopped", NULL};
    struct reader reader = {
        .env = env, .error = error, .error_size = error_size};
    const char *version;
    int restart;

    memset(contract, 0, sizeof(*contract));
    version = string(&reader, "CVM_VERSION", NULL);
    if (!reader.failed && strcmp(version, "1") != 0)
        bad(&reader, "contract version '%.20s', this base image knows 1",
            version);
    contract->instance = string(&reader, "CVM_INSTANCE", "");
    contract->hostname = string(&reader, "CVM_HOSTNAME", "localhost");
    contract->domain = string(&reader, "CVM_DOMAIN", "");
    contract->channel = string(&reader, "CVM_CHANNEL", "");

    contract->transport = choice(&reader, "CVM_TRANSPORT", NULL, transports);
    contract->rootfs_tag = string(&reader, "CVM_ROOTFS_TAG",
                                  "containervm-rootfs");
    contract->rootfs_serial = string(&reader, "CVM_ROOTFS_SERIAL", "");
    contract->rootfs_options = string(&reader, "CVM_ROOTFS_OPTIONS", "");
    contract->writable = choice(&reader, "CVM_WRITABLE", "disk", writables);
    if (contract->transport == TRANSPORT_BLOCK &&
        contract->writable == WRITABLE_SHARE)
        bad(&reader, "CVM_WRITABLE='share' is no way to use a block device");

    read_process(&reader, contract);
    contract->swap = number(&reader, "CVM_SWAP", 0, 1);
    read_volumes(&reader, contract);
    read_health(&reader, &contract->health);
    contract->stop_signal =
        (int)number(&reader, "CVM_STOP_SIGNAL", SIGTERM, 64);
    if (contract->stop_signal == 0)
        bad(&reader, "CVM_STOP_SIGNAL='0' is no signal");
    contract->stop_timeout =
        (unsigned)number(&reader, "CVM_STOP_TIMEOUT", 10, INT_MAX / 1000);
    restart = choice(&reader, "CVM_RESTART", "no", restarts);
    /* In the guest there is no difference between the last two: who stops
     * the server also ends the guest. */
    contract->restart = restart > 2 ? RESTART_ALWAYS : (enum restart)restart;
    contract->restart_max =
        (unsigned)number(&reader, "CVM_RESTART_MAX", 0, INT_MAX);

    contract->sysctls = list(&reader, "CVM_SYSCTL");
    contract->file_caps = list(&reader, "CVM_FILECAP");
    contract->nic_count = number(&reader, "CVM_NICC", 0, 256);
    contract->nics = calloc(contract->nic_count + 1, sizeof(struct nic));
    for (size_t i = 0; contract->nics && i < contract->nic_count; i++)
        read_nic(&reader, &contract->nics[i], i);
    contract->dns = string(&reader, "CVM_DNS", "");
    contract->search = string(&reader, "CVM_SEARCH", "");
    if (!contract->nics || !contract->groups || !contract->volumes)
        bad(&reader, "out of memory");
    return reader.failed ? -1 : 0;
}

void contract_free(struct contract *contract)
{
    free(contract->argv);
    free(contract->envp);
    free(contract->groups);
    free(contract->tmpfs);
    free(contract->rlimits);
    free(contract->volumes);
    free(contract->health.command);
    free(contract->sysctls);
    free(contract->file_caps);
    free(contract->nics);
    memset(contract, 0, sizeof(*contract));
}
