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

#include "export.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blockdev.h"
#include "changes.h"
#include "contract.h"
#include "dirlist.h"
#include "exportchannel.h"
#include "modules.h"
#include "paths.h"
#include "power.h"
#include "report.h"
#include "rootfs.h"

#define STAGE "export"
#define WAIT_MS 10000

/* Three for each directory on the way down, of which a path has 2048. */
#define MAX_FILES 16384

#define FLAGS (MS_NOATIME | MS_NODEV | MS_NOSUID | MS_NOEXEC)

/* Returns whether all of the files are wanted. */
static bool read_contract(struct contract *contract)
{
    static struct env env; /* the contract points into it for good */
    char error[300];
    size_t length;
    char *text = exportchannel_request(&length);

    if (env_parse(&env, text, length, error, sizeof(error)) < 0 ||
        contract_read(contract, &env, error, sizeof(error)) < 0)
        fail(STAGE, "the contract: %s", error);
    free(text);
    const char *what = env_get(&env, "CVM_EXPORT");
    return what && strcmp(what, "all") == 0;
}

static int open_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        fail_errno(STAGE, "%s", path);
    return fd;
}

static int mount_disk(const char *device)
{
    /* Writable, for its journal may have to be replayed: what the host gives
     * to this VM is a copy. */
    return mount(device, WRITABLE_DIR, "ext4", FLAGS,
                 "errors=remount-ro,noinit_itable");
}

/* The disk of a cloud image: of its file systems the one that has UPPER. */
static bool mount_one_with(const char *upper)
{
    int directory = open_directory("/sys/class/block");
    char **names = dirlist_read(directory);
    bool found = false;
    char device[300];

    for (char **name = names; name && *name && !found; name++) {
        snprintf(device, sizeof(device), "/dev/%s", *name);
        if (mount_disk(device) < 0)
            continue;
        found = access(upper, F_OK) == 0;
        if (!found)
            umount2(WRITABLE_DIR, 0);
    }
    dirlist_free(names);
    close(directory);
    return found;
}

static void find_disk(const char *directory, char *upper, size_t size)
{
    char device[64];

    snprintf(upper, size, WRITABLE_DIR "%s/upper", directory);
    if (mkdir(WRITABLE_DIR, 0700) < 0 && errno != EEXIST)
        fail_errno(STAGE, "%s", WRITABLE_DIR);
    if (!*directory) {
        if (blockdev_by_ext4_label(WRITABLE_LABEL, WAIT_MS, device,
                                   sizeof(device)) < 0)
            fail(STAGE, "no disk has an ext4 file system labelled %s",
                 WRITABLE_LABEL);
        if (mount_disk(device) < 0)
            fail_errno(STAGE, "cannot mount %s", device);
        return;
    }
    if (!mount_one_with(upper))
        fail(STAGE, "no ext4 file system has %s/upper", directory);
}

/* What the server sees, of the same directories in the same order; but
 * nothing is written any more. */
static void mount_overlay(const char *upper)
{
    char options[PATH_MAX + 100];

    snprintf(options, sizeof(options),
             "lowerdir=%s:" LOWER_DIR ",redirect_dir=follow,metacopy=on",
             upper);
    if (mkdir(ROOTFS_DIR, 0755) < 0 && errno != EEXIST)
        fail_errno(STAGE, "%s", ROOTFS_DIR);
    if (mount("overlay", ROOTFS_DIR, "overlay", FLAGS | MS_RDONLY, options) <
        0)
        fail_errno(STAGE, "cannot mount the overlay");
}

static void write_layer(struct changes *changes)
{
    struct tar counted = {0};
    struct tar tar = {.sink = exportchannel_data};

    if (changes_write(changes, &counted) < 0)
        fail(STAGE, "%s", changes->error);
    exportchannel_size(counted.length);
    if (changes_write(changes, &tar) < 0)
        fail(STAGE, "%s", changes->error);
    if (tar.length != counted.length)
        fail(STAGE, "%llu bytes instead of %llu: the disk has changed",
             (unsigned long long)tar.length,
             (unsigned long long)counted.length);
}

/* Of a server that has never been started. */
static void write_empty_layer(void)
{
    struct tar tar = {.sink = exportchannel_data};

    exportchannel_size(TAR_END_LENGTH);
    tar_end(&tar);
}

void export_run(const char *directory)
{
    static struct contract contract;
    struct rlimit files = {MAX_FILES, MAX_FILES};
    struct changes changes = {.overlay = "trusted.overlay."};
    char upper[PATH_MAX];

    exportchannel_open();
    changes.everything = read_contract(&contract);
    setrlimit(RLIMIT_NOFILE, &files);
    if (mkdir(LOWER_DIR, 0700) < 0 && errno != EEXIST)
        fail_errno(STAGE, "%s", LOWER_DIR);
    rootfs_mount_image(&contract, LOWER_DIR);
    modules_load("disk");
    find_disk(directory, upper, sizeof(upper));
    changes.lower = open_directory(LOWER_DIR);
    changes.file_caps = contract.file_caps;
    if (access(upper, F_OK) == 0) {
        mount_overlay(upper);
        changes.upper = open_directory(upper);
        changes.merged = open_directory(ROOTFS_DIR);
        write_layer(&changes);
    } else if (changes.everything) {
        changes.merged = changes.lower;
        write_layer(&changes);
    } else {
        write_empty_layer();
    }
    exportchannel_end();
    power_off();
}
