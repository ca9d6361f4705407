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

#include "writable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blockdev.h"
#include "ext4.h"
#include "paths.h"
#include "report.h"
#include "text.h"

#define STAGE "disk"
#define WAIT_MS 10000
#define SECTOR 512ULL
#define BLOCK 4096 /* no disk has larger sectors */
#define ALIGNMENT 2048ULL /* sectors: partitions end on a MiB */

/* MBR: four entries of 16 bytes from 446 on; start and count at 8 and 12. */
#define MBR_TABLE 446
#define MBR_ENTRY 16
#define MBR_ENTRIES 4
#define MBR_START 8
#define MBR_COUNT 12

static unsigned long long sysfs_number(const char *device, const char *what)
{
    char path[PATH_MAX], text[32];
    unsigned long value;

    snprintf(path, sizeof(path), "/sys/class/block/%s/%s", device, what);
    if (text_read_line(path, text, sizeof(text)) < 0 ||
        text_to_ulong(text, 10, ULONG_MAX, &value) < 0)
        fail(STAGE, "%s is no number", path);
    return value;
}

/* Name of the disk that PARTITION is on ("vda" for "vda2"); false if it is a
 * disk itself. */
static bool parent_disk(const char *partition, char *disk, size_t size)
{
    char path[PATH_MAX], target[PATH_MAX];
    ssize_t length;
    char *slash;

    snprintf(path, sizeof(path), "/sys/class/block/%s/partition", partition);
    if (access(path, F_OK) < 0)
        return false;
    snprintf(path, sizeof(path), "/sys/class/block/%s", partition);
    /* ".../block/<disk>/<partition>" */
    length = readlink(path, target, sizeof(target) - 1);
    if (length < 0)
        return false;
    target[length] = '\0';
    if (!(slash = strrchr(target, '/')))
        return false;
    *slash = '\0';
    slash = strrchr(target, '/');
    if (!slash || strlen(slash + 1) >= size)
        return false;
    strcpy(disk, slash + 1);
    return true;
}

static uint32_t get32(const unsigned char *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> 8 * i);
}

/*
 * Change the length of the partition that starts at START in the table. DISK
 * is open for direct I/O, which spares the kernel a page cache of the disk
 * and its writing back, and wants whole blocks.
 */
static void rewrite_table(int disk, uint64_t start, uint32_t count)
{
    static unsigned char sector[BLOCK] __attribute__((aligned(BLOCK)));

    if (pread(disk, sector, sizeof(sector), 0) != sizeof(sector))
        fail_errno(STAGE, "cannot read the partition table");
    for (int i = 0; i < MBR_ENTRIES; i++) {
        unsigned char *entry = sector + MBR_TABLE + i * MBR_ENTRY;
        if (get32(entry + MBR_START) != start ||
            get32(entry + MBR_COUNT) == 0)
            continue;
        put32(entry + MBR_COUNT, count);
        if (pwrite(disk, sector, sizeof(sector), 0) != sizeof(sector) ||
            fsync(disk) < 0)
            fail_errno(STAGE, "cannot write the partition table");
        return;
    }
    fail(STAGE, "no partition at sector %llu in the table",
         (unsigned long long)start);
}

/*
 * Let the partition reach to the end of the disk. The table on the disk goes
 * first: should the power fail in between, the next boot finds a file system
 * that is smaller than its partition, which is the normal case here.
 */
static void grow_partition(const char *partition)
{
    char disk[64], path[80];
    struct blkpg_partition change = {0};
    struct blkpg_ioctl_arg argument = {.op = BLKPG_RESIZE_PARTITION,
                                       .datalen = sizeof(change),
                                       .data = &change};

    if (!parent_disk(partition, disk, sizeof(disk)))
        return;
    uint64_t end = sysfs_number(disk, "size") / ALIGNMENT * ALIGNMENT;
    uint64_t start = sysfs_number(partition, "start");
    if (end > UINT32_MAX)
        end = UINT32_MAX / ALIGNMENT * ALIGNMENT; /* what an MBR can say */
    if (end <= start + sysfs_number(partition, "size"))
        return;

    snprintf(path, sizeof(path), "/dev/%s", disk);
    int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd < 0)
        fail_errno(STAGE, "%s", path);
    rewrite_table(fd, start, (uint32_t)(end - start));
    change.start = (long long)(start * SECTOR);
    change.length = (long long)((end - start) * SECTOR);
    change.pno = (int)sysfs_number(partition, "partition");
    if (ioctl(fd, BLKPG, &argument) < 0)
        fail_errno(STAGE, "cannot resize partition %s", partition);
    close(fd);
    debug("%s grown to %llu sectors", partition,
          (unsigned long long)(end - start));
}

void writable_mount(const char *device)
{
    char found[64];

    if (!device) {
        if (blockdev_by_ext4_label(WRITABLE_LABEL, WAIT_MS, found,
                                   sizeof(found)) < 0)
            fail(STAGE, "no disk has an ext4 file system labelled %s",
                 WRITABLE_LABEL);
        device = found;
    }
    grow_partition(device + strlen("/dev/"));
    if (mkdir(WRITABLE_DIR, 0700) < 0 && errno != EEXIST)
        fail_errno(STAGE, "%s", WRITABLE_DIR);
    ext4_mount(STAGE, device, WRITABLE_DIR, MS_NOATIME, true);
}
