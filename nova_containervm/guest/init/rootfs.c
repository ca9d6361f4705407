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

#include "rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "blockdev.h"
#include "imagevolumes.h"
#include "modules.h"
#include "mountopts.h"
#include "paths.h"
#include "report.h"
#include "skeleton.h"
#include "text.h"
#include "writable.h"

#define STAGE "rootfs"
#define WAIT_MS 10000

/* On the server's own disk. */
#define WORK_DIR WRITABLE_DIR "/work"
#define CAPS_MARK WRITABLE_DIR "/file-capabilities-applied"

/* redirect_dir: renaming a directory of the image works (else EXDEV);
 * metacopy: chmod of a large file does not copy it. */
#define OVERLAY_OPTIONS                                                      \
    "lowerdir=" LOWER_DIR ",upperdir=" UPPER_DIR ",workdir=" WORK_DIR        \
    ",redirect_dir=on,metacopy=on"

static void make_directory(const char *path)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        fail_errno(STAGE, "%s", path);
}

void rootfs_mount_image(const struct contract *contract, const char *target)
{
    static const char *const groups[] = {"9p", "virtiofs", "block"};
    const char *source = contract->rootfs_tag;
    const char *type = groups[contract->transport];
    char device[64], data[1024];
    unsigned long flags;

    modules_load(groups[contract->transport]);
    if (contract->transport == TRANSPORT_BLOCK) {
        if (contract->rootfs_device)
            snprintf(device, sizeof(device), "%s", contract->rootfs_device);
        else if (blockdev_by_serial(contract->rootfs_serial, WAIT_MS, device,
                                    sizeof(device)) < 0)
            fail(STAGE, "no disk has the serial number '%s'",
                 contract->rootfs_serial);
        source = device;
        type = blockdev_content(device);
        if (!type)
            fail(STAGE, "%s has no file system that is known here", device);
    }
    if (mountopts_parse(contract->rootfs_options, &flags, data,
                        sizeof(data)) < 0)
        fail(STAGE, "mount options too long");
    if (strcmp(type, "ext4") == 0 && !data[0])
        /* Its journal may say that it was in use when it was copied. The
         * disk is read-only, so it could not be replayed. */
        snprintf(data, sizeof(data), "noload");
    if (contract->writable == WRITABLE_DISK)
        flags |= MS_RDONLY;
    if (mount(source, target, type, flags, data) < 0)
        fail_errno(STAGE, "cannot mount %s '%s' with options '%s'", type,
                   source, contract->rootfs_options);
    debug("%s %s mounted", type, source);
}

/*
 * A 9p share does not carry security.capability. Setting it through the
 * overlay copies up the file's metadata only. Once: a container may since
 * have changed or removed such a file.
 */
static void apply_file_caps(const struct contract *contract)
{
    if (!contract->file_caps[0] || access(CAPS_MARK, F_OK) == 0)
        return;
    for (char **cap = contract->file_caps; *cap; cap++) {
        unsigned char value[32];
        size_t digits = strcspn(*cap, " ");
        ssize_t length = text_from_hex(*cap, digits, value, sizeof(value));

        if (length < 0 || (*cap)[digits] != ' ')
            fail(STAGE, "file capability '%.100s' is malformed", *cap);
        const char *path = *cap + digits + 1;
        if (skeleton_setxattr(ROOTFS_DIR, path, "security.capability", value,
                              (size_t)length) < 0)
            warn(STAGE, "capability of %s: %s", path, strerror(errno));
    }
    if (text_create_file(CAPS_MARK, "", 0, 0600) < 0)
        fail_errno(STAGE, "%s", CAPS_MARK);
}

static void mount_overlay(void)
{
    if (mount("overlay", ROOTFS_DIR, "overlay", 0, OVERLAY_OPTIONS) < 0)
        fail_errno(STAGE, "cannot mount the overlay");
}

void rootfs_mount(const struct contract *contract)
{
    make_directory(ROOTFS_DIR);
    /* Some programs are there, too. */
    if (contract->writable == WRITABLE_DISK ||
        contract->runtime == RUNTIME_RUNC) {
        modules_load("disk");
        writable_mount(contract->writable_device);
    }
    if (contract->writable == WRITABLE_SHARE) {
        rootfs_mount_image(contract, ROOTFS_DIR);
    } else {
        make_directory(LOWER_DIR);
        rootfs_mount_image(contract, LOWER_DIR);
        make_directory(UPPER_DIR);
        make_directory(WORK_DIR);
        mount_overlay();
        if (imagevolumes_prepare(contract)) {
            /* It must not be in use while its directories are changed. */
            if (umount2(ROOTFS_DIR, 0) < 0)
                fail_errno(STAGE, "cannot unmount the overlay");
            mount_overlay();
        }
        /* After the volumes: these are files of theirs, too. */
        apply_file_caps(contract);
    }
    skeleton_make(ROOTFS_DIR);
}

void rootfs_unmount(void)
{
    static const char *const mounts[] = {ROOTFS_DIR, LOWER_DIR, WRITABLE_DIR};

    /* A runtime there is bound to itself. */
    umount2(PROGRAMS_DIR "/runc", MNT_DETACH);
    for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
        if (umount2(mounts[i], 0) == 0 || errno == EINVAL ||
            errno == ENOENT)
            continue;
        /* Something still holds it. Read-only is as good for what is on
         * the disk; detaching lets the next one go on. */
        debug("unmount %s: %s", mounts[i], strerror(errno));
        mount(NULL, mounts[i], NULL, MS_REMOUNT | MS_RDONLY, NULL);
        umount2(mounts[i], MNT_DETACH);
    }
}
