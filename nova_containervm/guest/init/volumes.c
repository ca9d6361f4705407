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

#include "volumes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "blockdev.h"
#include "clock.h"
#include "copytree.h"
#include "ext4.h"
#include "imagevolumes.h"
#include "modules.h"
#include "paths.h"
#include "power.h"
#include "report.h"
#include "skeleton.h"

#define STAGE "volume"
#define EPHEMERAL "ephemeral"

/* How long to wait without a word. */
#define QUIET_MS 2000
#define POLL_MS 50

/*
 * On the root directory of a volume that this init has filled, or is just
 * filling: what a power cut leaves is then known as ours. A container cannot
 * change it.
 */
#define MARK "trusted.containervm"
#define FILLING "filling"
#define FILLED "filled"

/* How many of a contract's have been mounted, and where. */
static char **mounted;
static size_t mounted_count;

void volumes_directory(const struct volume *volume, char *path, size_t size)
{
    snprintf(path, size, VOLUMES_DIR "/%s", volume->id);
}

static void find(const struct contract *contract,
                 const struct volume *volume, char *device, size_t size)
{
    long long start = clock_ms();
    long long deadline = start + contract->volume_wait * 1000LL;
    bool told = false;

    while (blockdev_by_serial(volume->id, 0, device, size) < 0) {
        if (clock_ms() >= deadline)
            fail(STAGE, "%s is not attached; waited %u s for it", volume->id,
                 contract->volume_wait);
        if (!told && clock_ms() - start >= QUIET_MS) {
            warn(STAGE, "%s is not attached yet; waiting up to %u s",
                 volume->id, contract->volume_wait);
            told = true;
        }
        if (power_button_pressed())
            fail(STAGE, "stopped before %s was attached", volume->id);
        clock_sleep_ms(POLL_MS);
    }
}

/* Whether DIRECTORY has nothing in it but what mke2fs puts there. */
static bool is_empty(int directory)
{
    int own = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own < 0 ? NULL : fdopendir(own);
    struct dirent *entry;
    bool empty = stream != NULL;

    while (empty && (entry = readdir(stream)))
        empty = strcmp(entry->d_name, ".") == 0 ||
                strcmp(entry->d_name, "..") == 0 ||
                strcmp(entry->d_name, "lost+found") == 0;
    if (stream)
        closedir(stream);
    return empty;
}

static bool has_mark(int directory, const char *wanted)
{
    char value[32];
    ssize_t length = fgetxattr(directory, MARK, value, sizeof(value));

    return length == (ssize_t)strlen(wanted) &&
           memcmp(value, wanted, (size_t)length) == 0;
}

static void set_mark(int directory, const char *value)
{
    /* What follows must not reach the disk before it. */
    if (fsetxattr(directory, MARK, value, strlen(value), 0) < 0 ||
        syncfs(directory) < 0)
        fail_errno(STAGE, "cannot mark the volume");
}

/*
 * What the image has at the volume's path, as docker does it for a new
 * volume. An image without such a directory leaves the volume as it is.
 */
static void fill(const struct volume *volume, int directory)
{
    char where[PATH_MAX];
    int source;

    set_mark(directory, FILLING);
    if (copytree_clear(directory) < 0)
        fail_errno(STAGE, "cannot clear %s", volume->id);
    source = skeleton_open(ROOTFS_DIR, volume->path, O_RDONLY | O_DIRECTORY);
    if (source < 0 && errno != ENOENT)
        fail_errno(STAGE, "%s in the image", volume->path);
    if (source >= 0 &&
        copytree(source, directory, where, sizeof(where)) < 0)
        fail_errno(STAGE, "cannot copy the image's %s/%s to %s",
                   volume->path, where, volume->id);
    if (source >= 0)
        close(source);
    set_mark(directory, FILLED);
}

/* A flavor's ephemeral disk, as Nova makes it: with an empty FAT, unless the
 * operator says otherwise. */
static bool is_fresh(const struct volume *volume, const char *content)
{
    return strncmp(volume->id, EPHEMERAL, strlen(EPHEMERAL)) == 0 &&
           strcmp(content, "vfat") == 0;
}

static void prepare(const struct volume *volume, const char *device)
{
    const char *content;

    if (blockdev_is_empty(device)) {
        ext4_make(STAGE, device);
        return;
    }
    content = blockdev_content(device);
    if (!content)
        fail(STAGE, "%s holds data, but no file system that is known here; "
                    "only a volume that is all zeros is formatted",
             volume->id);
    if (is_fresh(volume, content)) {
        ext4_make(STAGE, device);
        return;
    }
    if (strcmp(content, "ext4") != 0)
        fail(STAGE, "%s holds %s; only ext4 can be mounted", volume->id,
             content);
}

static int open_root(const char *target)
{
    int directory = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (directory < 0)
        fail_errno(STAGE, "%s", target);
    return directory;
}

/* A volume that this init has made a file system on is larger by now: who
 * uses it through a container has no other way to make that larger, too. */
static void grow(const char *device, const char *target)
{
    int directory = open_root(target);
    bool ours = has_mark(directory, FILLED);

    close(directory);
    if (!ours || !ext4_has_room(STAGE, device))
        return;
    if (umount2(target, 0) < 0)
        fail_errno(STAGE, "cannot unmount %s", device);
    ext4_mount(STAGE, device, target, 0, true);
}

static void mount_writable(const struct volume *volume, const char *device,
                           const char *target)
{
    prepare(volume, device);
    ext4_mount(STAGE, device, target, 0, false);
    grow(device, target);

    int directory = open_root(target);
    if (has_mark(directory, FILLING) ||
        (!has_mark(directory, FILLED) && is_empty(directory)))
        fill(volume, directory);
    close(directory);
    if (volume->readonly &&
        mount(NULL, target, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
        fail_errno(STAGE, "cannot make %s read-only", volume->id);
}

static void mount_disk(const struct contract *contract,
                       const struct volume *volume, const char *target)
{
    char device[64];

    find(contract, volume, device, sizeof(device));
    if (volume->readonly && blockdev_is_readonly(device))
        ext4_mount(STAGE, device, target, MS_RDONLY, false);
    else
        mount_writable(volume, device, target);
    debug("volume %s is %s", volume->id, device);
}

static void mount_volume(const struct contract *contract,
                         const struct volume *volume)
{
    char target[PATH_MAX];

    volumes_directory(volume, target, sizeof(target));
    for (size_t i = 0; i < mounted_count; i++)
        if (strcmp(mounted[i], target) == 0)
            return; /* at a second path */
    if (mkdir(target, 0755) < 0 && errno != EEXIST)
        fail_errno(STAGE, "%s", target);
    if (imagevolumes_has(volume))
        imagevolumes_mount(contract, volume, target);
    else
        mount_disk(contract, volume, target);
    mounted[mounted_count] = strdup(target);
    if (!mounted[mounted_count++])
        fail_errno(STAGE, "%s", target);
}

void volumes_mount(const struct contract *contract)
{
    if (!contract->volume_count)
        return;
    mounted = calloc(contract->volume_count, sizeof(*mounted));
    if (!mounted)
        fail_errno(STAGE, "%zu volumes", contract->volume_count);
    modules_load("disk");
    if (mkdir(VOLUMES_DIR, 0700) < 0 && errno != EEXIST)
        fail_errno(STAGE, "%s", VOLUMES_DIR);
    for (size_t i = 0; i < contract->volume_count; i++)
        mount_volume(contract, &contract->volumes[i]);
}

void volumes_unmount(void)
{
    while (mounted_count) {
        const char *target = mounted[--mounted_count];
        if (umount2(target, 0) == 0)
            continue;
        debug("unmount %s: %s", target, strerror(errno));
        mount(NULL, target, NULL, MS_REMOUNT | MS_RDONLY, NULL);
        umount2(target, MNT_DETACH);
    }
}
