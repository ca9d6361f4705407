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

#include "blockdev.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "report.h"
#include "signature.h"
#include "text.h"

/* What must be zero on a disk that counts as empty: whatever keeps data on a
 * disk has some of it at the start, or a label at the very end. */
#define EMPTY_START (4 << 20)
#define EMPTY_END (1 << 20)

#define BLOCK "/sys/class/block"
#define POLL_MS 5

/* ISO 9660: the primary volume descriptor is sector 16; type 1, "CD001",
 * volume identifier of 32 bytes at 40 (ECMA-119, 8.4). */
#define ISO_DESCRIPTOR 32768
#define ISO_VOLUME_ID 40
#define ISO_VOLUME_ID_SIZE 32

/* ext4 superblock at 1024: magic at 0x38, volume name at 0x78. */
#define EXT4_SUPERBLOCK 1024
#define EXT4_MAGIC 0x38
#define EXT4_NAME 0x78
#define EXT4_NAME_SIZE 16

/* A virtio disk has room for so much of a serial number (virtio 1.1,
 * 5.2.6.1); longer ones are cut by the host. */
#define SERIAL_SIZE 20

/* The boot sector of a disk with a partition table, and the signature that
 * the disk has there. */
#define MBR_SIZE 512
#define MBR_SIGNATURE 440

typedef bool (*matcher)(const char *name, const char *wanted);

static bool read_at(const char *device, off_t offset, void *buffer,
                    size_t size)
{
    int fd = open(device, O_RDONLY | O_CLOEXEC);
    bool whole;

    if (fd < 0)
        return false;
    whole = pread(fd, buffer, size, offset) == (ssize_t)size;
    close(fd);
    return whole;
}

/* Compare a field of fixed size, padded by PAD, with a string. */
static bool field_is(const unsigned char *field, size_t size, char pad,
                     const char *wanted)
{
    size_t length = strlen(wanted);

    if (length > size || memcmp(field, wanted, length) != 0)
        return false;
    for (size_t i = length; i < size; i++)
        if (field[i] != (unsigned char)pad && field[i] != '\0')
            return false;
    return true;
}

static bool has_iso_label(const char *name, const char *wanted)
{
    unsigned char sector[2048];
    char device[300];

    snprintf(device, sizeof(device), "/dev/%s", name);
    return read_at(device, ISO_DESCRIPTOR, sector, sizeof(sector)) &&
           memcmp(sector, "\1CD001", 6) == 0 &&
           field_is(sector + ISO_VOLUME_ID, ISO_VOLUME_ID_SIZE, ' ', wanted);
}

static bool is_ext4(const unsigned char *superblock)
{
    return superblock[EXT4_MAGIC] == 0x53 &&
           superblock[EXT4_MAGIC + 1] == 0xef;
}

static bool has_ext4_label(const char *name, const char *wanted)
{
    unsigned char superblock[1024];
    char device[300];

    snprintf(device, sizeof(device), "/dev/%s", name);
    return read_at(device, EXT4_SUPERBLOCK, superblock,
                   sizeof(superblock)) &&
           is_ext4(superblock) &&
           field_is(superblock + EXT4_NAME, EXT4_NAME_SIZE, '\0', wanted);
}

static bool has_serial(const char *name, const char *wanted)
{
    char path[300], serial[64];

    snprintf(path, sizeof(path), BLOCK "/%s/serial", name);
    return text_read_line(path, serial, sizeof(serial)) == 0 &&
           strncmp(serial, wanted, SERIAL_SIZE) == 0;
}

/*
 * Only disks of the virtual machine are looked at. Names in /sys have '!'
 * for '/', which none of these has.
 */
static bool is_candidate(const char *name)
{
    return strncmp(name, "vd", 2) == 0 || strncmp(name, "sd", 2) == 0 ||
           strncmp(name, "sr", 2) == 0 || strncmp(name, "nvme", 4) == 0;
}

static int find(matcher matches, const char *wanted, unsigned wait_ms,
                char *path, size_t size)
{
    long long deadline = clock_ms() + wait_ms;

    for (;;) {
        DIR *devices = opendir(BLOCK);
        struct dirent *entry;
        bool found = false;

        while (devices && !found && (entry = readdir(devices))) {
            if (!is_candidate(entry->d_name))
                continue;
            found = matches(entry->d_name, wanted);
            if (found)
                snprintf(path, size, "/dev/%s", entry->d_name);
        }
        if (devices)
            closedir(devices);
        if (found) {
            debug("%s is on %s", wanted, path);
            return 0;
        }
        /* Usually all is there at the first look: the drivers find their
         * devices before finit_module() returns. */
        if (clock_ms() >= deadline)
            return -1;
        clock_sleep_ms(POLL_MS);
    }
}

int blockdev_by_iso_label(const char *label, unsigned wait_ms, char *path,
                          size_t size)
{
    return find(has_iso_label, label, wait_ms, path, size);
}

int blockdev_by_ext4_label(const char *label, unsigned wait_ms, char *path,
                           size_t size)
{
    return find(has_ext4_label, label, wait_ms, path, size);
}

int blockdev_by_serial(const char *serial, unsigned wait_ms, char *path,
                       size_t size)
{
    return find(has_serial, serial, wait_ms, path, size);
}

static bool has_signature(const char *name, uint32_t wanted)
{
    unsigned char sector[MBR_SIZE];
    char path[300];

    snprintf(path, sizeof(path), BLOCK "/%s/partition", name);
    if (access(path, F_OK) == 0)
        return false;
    snprintf(path, sizeof(path), "/dev/%s", name);
    if (!read_at(path, 0, sector, sizeof(sector)) ||
        sector[MBR_SIZE - 2] != 0x55 || sector[MBR_SIZE - 1] != 0xaa)
        return false;
    for (int i = 0; i < 4; i++)
        if (sector[MBR_SIGNATURE + i] != (unsigned char)(wanted >> 8 * i))
            return false;
    return true;
}

/* vda, vdb, ..., vdz, vdaa */
static bool is_before(const char *name, const char *other)
{
    size_t length = strlen(name), others = strlen(other);

    return length != others ? length < others : strcmp(name, other) < 0;
}

static bool first_disk(uint32_t signature, char *name, size_t size)
{
    DIR *devices = opendir(BLOCK);
    struct dirent *entry;

    name[0] = '\0';
    while (devices && (entry = readdir(devices)))
        if (is_candidate(entry->d_name) && strlen(entry->d_name) < size &&
            (!name[0] || is_before(entry->d_name, name)) &&
            has_signature(entry->d_name, signature))
            strcpy(name, entry->d_name);
    if (devices)
        closedir(devices);
    return name[0];
}

int blockdev_partition(uint32_t signature, unsigned number, unsigned wait_ms,
                       char *path, size_t size)
{
    long long deadline = clock_ms() + wait_ms;
    char name[32];

    for (;;) {
        if (first_disk(signature, name, sizeof(name))) {
            bool digit = strchr("0123456789", name[strlen(name) - 1]);
            snprintf(path, size, "/dev/%s%s%u", name, digit ? "p" : "",
                     number);
            if (access(path, F_OK) == 0)
                return 0;
        }
        if (clock_ms() >= deadline)
            return -1;
        clock_sleep_ms(POLL_MS);
    }
}

const char *blockdev_content(const char *path)
{
    static unsigned char start[SIGNATURE_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : pread(fd, start, sizeof(start), 0);

    if (fd >= 0)
        close(fd);
    return got < 0 ? NULL : signature_find(start, (size_t)got);
}

/* Whether SIZE bytes from OFFSET on are all zero. */
static bool all_zero(int fd, off_t offset, off_t size)
{
    static unsigned char block[1 << 16];

    while (size > 0) {
        size_t want = size < (off_t)sizeof(block) ? (size_t)size
                                                  : sizeof(block);
        ssize_t got = pread(fd, block, want, offset);
        if (got <= 0 || block[0] ||
            memcmp(block, block + 1, (size_t)got - 1) != 0)
            return false;
        offset += got;
        size -= got;
    }
    return true;
}

bool blockdev_is_readonly(const char *path)
{
    char file[300], text[8];

    snprintf(file, sizeof(file), BLOCK "/%s/ro", path + strlen("/dev/"));
    return text_read_line(file, text, sizeof(text)) == 0 &&
           strcmp(text, "1") == 0;
}

bool blockdev_is_empty(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    bool empty = false;

    if (size > 0) {
        off_t start = size < EMPTY_START ? size : EMPTY_START;
        off_t end = size < EMPTY_END ? size : EMPTY_END;
        empty = all_zero(fd, 0, start) && all_zero(fd, size - end, end);
    }
    if (fd >= 0)
        close(fd);
    return empty;
}
