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

#include "container_mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "mountopts.h"
#include "paths.h"
#include "volumes.h"

#define COMMON (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* moby: daemon/pkg/oci/defaults.go; in this order. */
static const struct {
    const char *type;
    const char *target;
    unsigned long flags;
    const char *data;
} mounts[] = {
    {"proc", "/proc", COMMON, NULL},
    {"tmpfs", "/dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,
     "newinstance,ptmxmode=0666,mode=0620,gid=5"},
    {"sysfs", "/sys", COMMON | MS_RDONLY, NULL},
    {"cgroup2", "/sys/fs/cgroup", COMMON | MS_RDONLY, NULL},
    {"mqueue", "/dev/mqueue", COMMON, NULL},
};

static const struct {
    const char *path;
    unsigned major;
    unsigned minor;
} nodes[] = {
    {"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
    {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0},
};

static const struct {
    const char *path;
    const char *target;
} links[] = {
    {"/dev/fd", "/proc/self/fd"},       {"/dev/stdin", "/proc/self/fd/0"},
    {"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"},
    {"/dev/ptmx", "pts/ptmx"},          {"/dev/core", "/proc/kcore"},
};

static const char *const masked[] = {
    "/proc/acpi",          "/proc/asound",      "/proc/interrupts",
    "/proc/kcore",         "/proc/keys",        "/proc/latency_stats",
    "/proc/sched_debug",   "/proc/scsi",        "/proc/timer_list",
    "/proc/timer_stats",   "/sys/devices/virtual/powercap",
    "/sys/firmware",
};

static const char *const readonly_paths[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

/* A path of the kernel's greatest length has no more. */
#define MAX_DEPTH 2048

static const char *const etc_files[] = {"hosts", "hostname", "resolv.conf"};
#define ETC_COUNT (sizeof(etc_files) / sizeof(etc_files[0]))

static int failed(char *step, size_t size, const char *what,
                  const char *path)
{
    int error = errno;

    snprintf(step, size, "%s %s", what, path);
    errno = error;
    return -1;
}

/*
 * Everything mounted from here on is looked up below the new root, so that
 * symbolic links of the image cannot lead anywhere else; what comes from
 * outside is opened before, as detached mounts.
 */
static int change_root(const char *root, char *step, size_t size)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return failed(step, size, "make private", "/");
    if (mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0)
        return failed(step, size, "bind", root);
    /* Both arguments the same: the old root comes to lie on top of the new
     * one, and is taken off by the next line. See pivot_root(2). */
    if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
        umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return failed(step, size, "change root to", root);
    return 0;
}

static int make_devices(char *step, size_t size)
{
    mode_t mask = umask(0);

    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        if (mknod(nodes[i].path, S_IFCHR | 0666,
                  makedev(nodes[i].major, nodes[i].minor)) < 0)
            return failed(step, size, "make", nodes[i].path);
    umask(mask);
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        if (symlink(links[i].target, links[i].path) < 0)
            return failed(step, size, "make", links[i].path);
    return 0;
}

/* docker makes missing mount points. */
static void make_path(const char *path)
{
    char copy[4096];

    if (strlen(path) >= sizeof(copy))
        return;
    strcpy(copy, path);
    for (char *at = copy + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        mkdir(copy, 0755);
        *at = '/';
    }
    mkdir(copy, 0755);
}

static int mount_tmpfs(const char *target, const char *options, char *step,
                       size_t size)
{
    unsigned long flags;
    char data[512];

    make_path(target);
    if (mountopts_parse(options, &flags, data, sizeof(data)) < 0 ||
        mount("tmpfs", target, "tmpfs", flags, data) < 0)
        return failed(step, size, "mount", target);
    return 0;
}

static int mount_shm(const struct contract *contract, char *step,
                     size_t size)
{
    char options[128];

    snprintf(options, sizeof(options),
             "nosuid,nodev,noexec,mode=1777,size=%lu", contract->shm_size);
    return mount_tmpfs("/dev/shm", options, step, size);
}

/* ENTRY is "<options> <path>". */
static int mount_tmpfs_entry(const char *entry, char *step, size_t size)
{
    size_t length = strcspn(entry, " ");
    char options[512];

    if (entry[length] != ' ' || length >= sizeof(options)) {
        errno = EINVAL;
        return failed(step, size, "tmpfs", entry);
    }
    memcpy(options, entry, length);
    options[length] = '\0';
    return mount_tmpfs(entry + length + 1, options, step, size);
}

static int mount_volume(const struct volume *volume, int tree, char *step,
                        size_t size)
{
    unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY;

    make_path(volume->path);
    if (syscall(SYS_move_mount, tree, "", AT_FDCWD, volume->path,
                MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
        (volume->readonly &&
         mount(NULL, volume->path, NULL, flags, NULL) < 0))
        return failed(step, size, "mount", volume->path);
    return 0;
}

static unsigned depth(const char *path)
{
    unsigned count = 0;

    for (; *path; path++)
        count += *path == '/' && path[1] && path[1] != '/';
    return count;
}

/* What the user asked for; what is nearer to the root first, so that it does
 * not hide the others. TREES are the detached mounts of the volumes. */
static int mount_requested(const struct contract *contract, const int *trees,
                           char *step, size_t size)
{
    for (unsigned level = 0; level < MAX_DEPTH; level++) {
        for (char **entry = contract->tmpfs; *entry; entry++)
            if (depth(*entry + strcspn(*entry, " ")) == level &&
                mount_tmpfs_entry(*entry, step, size) < 0)
                return -1;
        for (size_t i = 0; i < contract->volume_count; i++)
            if (depth(contract->volumes[i].path) == level &&
                mount_volume(&contract->volumes[i], trees[i], step, size) <
                    0)
                return -1;
    }
    return 0;
}

/*
 * Mount one entry of the table. A privileged container gets the VM's own
 * devices, opened as DEVICES before the change of root, and may write to
 * /sys; an operating system's own init at least makes control groups.
 */
static int mount_entry(size_t i, const struct contract *contract, int devices,
                       char *step, size_t size)
{
    const char *target = mounts[i].target;
    unsigned long flags = mounts[i].flags;
    bool dev = strcmp(target, "/dev") == 0;

    mkdir(target, 0755); /* below /dev, or there already */
    if (dev && devices >= 0) {
        if (syscall(SYS_move_mount, devices, "", AT_FDCWD, target,
                    MOVE_MOUNT_F_EMPTY_PATH) < 0)
            return failed(step, size, "mount", target);
        return 0;
    }
    if (contract->privileged ||
        (contract->cgroup_writable &&
         strcmp(mounts[i].type, "cgroup2") == 0))
        flags &= ~(unsigned long)MS_RDONLY;
    if (mount(mounts[i].type, target, mounts[i].type, flags,
              mounts[i].data) < 0)
        return failed(step, size, "mount", target);
    return dev ? make_devices(step, size) : 0;
}

/* A mount of PATH that is nowhere yet; -1 as all functions here. */
static int detached(const char *path, char *step, size_t size)
{
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, path,
                            OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    return tree < 0 ? failed(step, size, "open", path) : tree;
}

int container_mounts_enter(const struct contract *contract, const char *root,
                           char *step, size_t size)
{
    int etc[ETC_COUNT], volumes[contract->volume_count + 1], devices = -1;
    char path[PATH_MAX];

    for (size_t i = 0; i < ETC_COUNT; i++) {
        snprintf(path, sizeof(path), ETC_DIR "/%s", etc_files[i]);
        if ((etc[i] = detached(path, step, size)) < 0)
            return -1;
    }
    for (size_t i = 0; i < contract->volume_count; i++) {
        volumes_directory(&contract->volumes[i], path, sizeof(path));
        if ((volumes[i] = detached(path, step, size)) < 0)
            return -1;
    }
    if (contract->privileged &&
        (devices = detached("/dev", step, size)) < 0)
        return -1;
    if (change_root(root, step, size) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++)
        if (mount_entry(i, contract, devices, step, size) < 0)
            return -1;
    if (mount_shm(contract, step, size) < 0 ||
        mount_requested(contract, volumes, step, size) < 0)
        return -1;
    for (size_t i = 0; i < ETC_COUNT; i++) {
        snprintf(path, sizeof(path), "/etc/%s", etc_files[i]);
        /* Best effort: an image may have no /etc to mount on. */
        syscall(SYS_move_mount, etc[i], "", AT_FDCWD, path,
                MOVE_MOUNT_F_EMPTY_PATH);
        close(etc[i]);
    }
    return 0;
}

static int mask(const char *path)
{
    struct stat info;

    if (stat(path, &info) < 0)
        return 0;
    if (S_ISDIR(info.st_mode))
        return mount("tmpfs", path, "tmpfs", COMMON | MS_RDONLY, "size=4k");
    return mount("/dev/null", path, NULL, MS_BIND, NULL);
}

static int make_readonly(const char *path)
{
    struct statfs info;

    if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
        return errno == ENOENT ? 0 : -1;
    /* A remount that leaves out a flag would take it away; the kernel's
     * ST_ constants have the values of the MS_ ones here. */
    if (statfs(path, &info) < 0)
        return -1;
    unsigned long flags = (unsigned long)info.f_flags & COMMON;
    return mount(NULL, path, NULL,
                 MS_BIND | MS_REMOUNT | MS_RDONLY | flags, NULL);
}

int container_mounts_protect(const struct contract *contract, char *step,
                             size_t size)
{
    bool open = contract->privileged;

    make_path(contract->cwd); /* as root, as docker does */
    for (size_t i = 0; !open && i < sizeof(masked) / sizeof(masked[0]); i++)
        if (mask(masked[i]) < 0)
            return failed(step, size, "mask", masked[i]);
    for (size_t i = 0;
         !open && i < sizeof(readonly_paths) / sizeof(*readonly_paths); i++)
        if (make_readonly(readonly_paths[i]) < 0)
            return failed(step, size, "protect", readonly_paths[i]);
    if (contract->readonly && mount(NULL, "/", NULL,
                          MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0)
        return failed(step, size, "protect", "/");
    return 0;
}
