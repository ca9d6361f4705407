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

#include "ext4.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "paths.h"
#include "process.h"
#include "report.h"
#include "text.h"

#define MAKE_LOG RUN_DIR "/mke2fs.log"

/* Blocks: a block group of the usual size. */
#define WORTH_GROWING 32768

/* What e2fsprogs' resize2fs uses on a mounted file system: the kernel does
 * the whole job (fs/ext4/ext4.h of the kernel; no public header has it). */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

static uint32_t get32(const unsigned char *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Size of device PATH in blocks of BLOCK_SIZE bytes. */
static uint64_t device_blocks(const char *stage, const char *path,
                              uint64_t block_size)
{
    uint64_t bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0)
        fail_errno(stage, "%s", path);
    close(fd);
    return bytes / block_size;
}

/* Blocks of the file system, all overhead included, from its superblock. */
static uint64_t fs_blocks(const char *stage, const char *path,
                          uint64_t *block_size)
{
    unsigned char superblock[1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || pread(fd, superblock, sizeof(superblock), 1024) !=
                      sizeof(superblock))
        fail_errno(stage, "%s", path);
    close(fd);
    *block_size = 1024ULL << (get32(superblock + 0x18) & 15);
    return get32(superblock + 0x04) |
           (uint64_t)get32(superblock + 0x150) << 32;
}

static void grow_to(const char *stage, const char *target, uint64_t blocks)
{
    int fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || ioctl(fd, EXT4_IOC_RESIZE_FS, &blocks) < 0)
        fail_errno(stage, "cannot grow the file system to %llu blocks",
                   (unsigned long long)blocks);
    close(fd);
    debug("%s grown to %llu blocks", target, (unsigned long long)blocks);
}

bool ext4_has_room(const char *stage, const char *device)
{
    uint64_t block_size;
    uint64_t blocks = fs_blocks(stage, device, &block_size);

    /* mke2fs itself leaves out an end that is too short for its tables. */
    return device_blocks(stage, device, block_size) >=
           blocks + WORTH_GROWING;
}

void ext4_mount(const char *stage, const char *device, const char *target,
                unsigned long flags, bool grow)
{
    uint64_t block_size, room = 0;

    if (grow) {
        uint64_t blocks = fs_blocks(stage, device, &block_size);
        room = device_blocks(stage, device, block_size);
        grow = room > blocks;
    }
    /*
     * noinit_itable: no thread that writes zeros to all inode tables in the
     * background, which would fill the host's qcow2 with them. During
     * growth, though, that option makes the kernel write them at once: the
     * file system is grown without it, and the thread stopped before it
     * starts.
     */
    if (mount(device, target, "ext4", flags,
              grow ? "errors=remount-ro"
                   : "errors=remount-ro,noinit_itable") < 0)
        fail_errno(stage, "cannot mount %s", device);
    if (!grow)
        return;
    grow_to(stage, target, room);
    if (mount(NULL, target, NULL, MS_REMOUNT | flags,
              "errors=remount-ro,noinit_itable") < 0)
        fail_errno(stage, "cannot remount %s", device);
}

void ext4_make(const char *stage, const char *device)
{
    /* Nothing on it is worth asking about, and a virtual disk that has never
     * been written to has nothing to discard. */
    char *argv[] = {"/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-m", "0",
                    "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1",
                    (char *)device, NULL};
    char reason[300] = "";
    int log = open(MAKE_LOG, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    int status = process_run(argv, log);

    if (log >= 0)
        close(log);
    if (status == 0) {
        unlink(MAKE_LOG);
        return;
    }
    text_read_file(MAKE_LOG, reason, sizeof(reason));
    fail(stage, "cannot make a file system on %s: %s", device, reason);
}
