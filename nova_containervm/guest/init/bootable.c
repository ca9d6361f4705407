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

#include "bootable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blockdev.h"
#include "configdrive.h"
#include "modules.h"
#include "network.h"
#include "paths.h"
#include "process.h"
#include "report.h"
#include "text.h"

#define STAGE "setup"
#define SETUP_DIR RUN_DIR "/setup"
/* In there: where the config drive is mounted, and what the program makes. */
#define DRIVE "/drive"
#define OUTPUT "/output"
#define LOG SETUP_DIR OUTPUT "/log"

/* baseimage/bootable.py numbers them, and writes this into the boot sector. */
#define DISK_SIGNATURE 0xC0A7B007
#define SETUP_PARTITION 2
#define ROOTFS_PARTITION 3
#define WRITABLE_PARTITION 4
#define DISK_WAIT_MS 10000
/* Drives have been looked for when their driver is loaded. */
#define DRIVE_WAIT_MS 500

static void mount_setup(void)
{
    static char device[64];

    if (blockdev_partition(DISK_SIGNATURE, SETUP_PARTITION, DISK_WAIT_MS,
                           device, sizeof(device)) < 0)
        fail(STAGE, "the disk that this machine boots from is not there: it "
                    "has to be virtio, virtio's SCSI, SATA or IDE");
    if (mkdir(SETUP_DIR, 0700) < 0 && errno != EEXIST)
        fail_errno(STAGE, "%s", SETUP_DIR);
    if (mount(device, SETUP_DIR, "squashfs",
              MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
        fail_errno(STAGE, "cannot mount %s", device);
    if (mount("devtmpfs", SETUP_DIR "/dev", "devtmpfs",
              MS_NOSUID | MS_NOEXEC, NULL) < 0 ||
        mount("tmpfs", SETUP_DIR OUTPUT, "tmpfs",
              MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700,size=16m") < 0)
        fail_errno(STAGE, "cannot mount below %s", SETUP_DIR);
}

/* Where the program finds what Nova says; see guest/stock/main.py. */
static char *open_source(void)
{
    char device[64];

    if (blockdev_by_iso_label("config-2", DRIVE_WAIT_MS, device,
                              sizeof(device)) == 0) {
        if (mount(device, SETUP_DIR DRIVE, "iso9660",
                  MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
            fail_errno(STAGE, "cannot mount the config drive %s", device);
        return "drive:" DRIVE;
    }
    modules_load("net");
    return network_ask() ? "service" : "none";
}

/* The last line that the program has said. */
static const char *last_words(void)
{
    static char text[4096];
    ssize_t length = text_read_file(LOG, text, sizeof(text));
    char *line;

    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
    if (length <= 0)
        return "it has said nothing";
    line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

static void run_program(char *device, char *source)
{
    char *argv[] = {"/bin/busybox", "chroot", SETUP_DIR, "/usr/bin/python3",
                    "-ISB", "-X", "utf8", "-m",
                    "nova_containervm.guest.stock.main", device, OUTPUT,
                    source, NULL};
    int log = open(LOG, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (log < 0)
        fail_errno(STAGE, "%s", LOG);
    int status = process_run(argv, log);
    close(log);
    if (status != 0)
        fail(STAGE, "%s", last_words());
}

static void unmount(const char *path)
{
    if (umount2(path, 0) < 0 && errno != EINVAL)
        fail_errno(STAGE, "cannot unmount %s", path);
}

void bootable_read(struct contract *contract)
{
    static char rootfs[64], writable[64];

    modules_load("stock");
    modules_load("block");
    mount_setup();
    if (blockdev_partition(DISK_SIGNATURE, ROOTFS_PARTITION, 0, rootfs,
                           sizeof(rootfs)) < 0 ||
        blockdev_partition(DISK_SIGNATURE, WRITABLE_PARTITION, 0, writable,
                           sizeof(writable)) < 0)
        fail(STAGE, "the disk lacks a partition");
    run_program(rootfs, open_source());
    configdrive_contract(contract, SETUP_DIR OUTPUT);
    contract->rootfs_device = rootfs;
    contract->writable_device = writable;
    unmount(SETUP_DIR DRIVE);
    unmount(SETUP_DIR OUTPUT);
    unmount(SETUP_DIR "/dev");
    unmount(SETUP_DIR);
}
