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

/* The contract of guest.env, version 1, checked and in C's terms. */
#ifndef CVM_CONTRACT_H
#define CVM_CONTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "env.h"

enum transport { TRANSPORT_9P, TRANSPORT_VIRTIOFS, TRANSPORT_BLOCK };
enum writable { WRITABLE_DISK, WRITABLE_SHARE };
enum runtime { RUNTIME_CRUN, RUNTIME_RUNC, RUNTIME_CHROOT };
enum restart { RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS };

struct nic {
    const char *mac;    /* lower case, with colons */
    unsigned mtu;       /* 0: the device's own */
    const char *addrs;  /* "10.0.0.5/24 fd00::5/64" */
    const char *routes; /* "0.0.0.0/0,10.0.0.1 ..." */
    bool dhcp4;
    bool dhcp6; /* stateless or stateful: SLAAC by the kernel */
};

/* A volume of the container: a disk with a serial number. */
struct volume {
    const char *id;   /* the volume's; a disk's serial is the start of it */
    const char *path; /* in the container */
    bool readonly;
};

/* A command that says whether the container is well; docker's HEALTHCHECK. */
struct health {
    char **command; /* NULL-terminated; empty: there is no check */
    unsigned interval_ms;
    unsigned timeout_ms;
    unsigned start_period_ms;
    unsigned start_interval_ms;
    unsigned retries;
};

struct contract {
    const char *instance;
    const char *hostname;
    const char *domain;
    const char *channel; /* "" for none */

    enum transport transport;
    const char *rootfs_tag;
    const char *rootfs_serial;
    const char *rootfs_options;
    /* Of a bootable disk: partitions, in place of what is looked for
     * otherwise. NULL for none; not from guest.env. */
    const char *rootfs_device;
    const char *writable_device;
    enum writable writable;

    enum runtime runtime;
    char **argv; /* NULL-terminated, as is envp */
    char **envp;
    const char *cwd;
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    size_t group_count;
    mode_t umask;
    unsigned long long capabilities; /* bounding set; chroot runtime only */
    bool tty;
    bool readonly;
    bool privileged;
    bool cgroup_writable;
    unsigned long shm_size; /* bytes */
    char **tmpfs;           /* "<options> <path>", NULL-terminated */
    char **rlimits;         /* "nofile 1024 524288", NULL-terminated */
    bool init;

    bool swap; /* the machine has a disk for it */
    struct volume *volumes;
    size_t volume_count;
    unsigned volume_wait; /* seconds to wait for one that is not attached */
    struct health health;

    int stop_signal;
    unsigned stop_timeout; /* seconds */
    enum restart restart;
    unsigned restart_max; /* 0: no limit */

    char **sysctls;   /* "name=value", NULL-terminated */
    char **file_caps; /* "<hex> <path>", NULL-terminated */

    struct nic *nics;
    size_t nic_count;
    const char *dns;    /* addresses, space-separated */
    const char *search; /* domains, space-separated */
};

/*
 * Fill CONTRACT from ENV, whose strings it keeps pointing to. Returns 0, or
 * -1 with a message that names the variable in ERROR.
 */
int contract_read(struct contract *contract, const struct env *env,
                  char *error, size_t error_size);
void contract_free(struct contract *contract);

#endif
