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

#include "signature.h"

#include <string.h>

/* Offsets and magic numbers: each system's own headers in the kernel's
 * source (include/uapi/linux/magic.h, fs), and its tools'. The more certain
 * come first: a boot sector's two bytes are in many things. */
static const struct {
    const char *name;
    size_t offset;
    size_t size;
    const char *bytes;
} known[] = {
    {"squashfs", 0, 4, "hsqs"},
    {"erofs", 0x400, 4, "\xe2\xe1\xf5\xe0"},
    {"xfs", 0, 4, "XFSB"},
    {"btrfs", 0x10040, 8, "_BHRfS_M"},
    {"f2fs", 0x400, 4, "\x10\x20\xf5\xf2"},
    {"ntfs", 3, 8, "NTFS    "},
    {"exfat", 3, 8, "EXFAT   "},
    {"vfat", 0x52, 8, "FAT32   "},
    {"vfat", 0x36, 4, "FAT1"},
    {"iso9660", 0x8001, 5, "CD001"},
    {"ext4", 0x438, 2, "\x53\xef"},
    {"encrypted data (LUKS)", 0, 6, "LUKS\xba\xbe"},
    {"a part of a volume group (LVM)", 0x218, 8, "LVM2 001"},
    {"a part of a RAID", 0x1000, 4, "\xfc\x4e\x2b\xa9"},
    {"a part of a RAID", 0, 4, "\xfc\x4e\x2b\xa9"},
    {"a bcache device", 0x1018, 4, "\xc6\x85\x73\xf6"},
    {"swap space", 0xff6, 10, "SWAPSPACE2"},
    {"a qcow2 image", 0, 4, "QFI\xfb"},
    {"a partition table", 0x200, 8, "EFI PART"},
    {"a partition table", 0x1fe, 2, "\x55\xaa"},
};

const char *signature_find(const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].offset + known[i].size <= length &&
            memcmp(bytes + known[i].offset, known[i].bytes, known[i].size) ==
                0)
            return known[i].name;
    return NULL;
}
