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

/* Finds block devices by what is on them, never by their names. */
#ifndef CVM_BLOCKDEV_H
#define CVM_BLOCKDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Each fills PATH ("/dev/vda2") and returns 0, or waits up to WAIT_MS for
 * the device to appear and returns -1.
 */
int blockdev_by_iso_label(const char *label, unsigned wait_ms, char *path,
                          size_t size);
int blockdev_by_ext4_label(const char *label, unsigned wait_ms, char *path,
                           size_t size);
/* By the serial number that the host gave the virtio disk; of a longer one,
 * by its first 20 characters. */
int blockdev_by_serial(const char *serial, unsigned wait_ms, char *path,
                       size_t size);
/* Partition NUMBER of the disk with this signature in its boot sector. If
 * there are several, as of a volume made of the same image, the first: the
 * host puts the one that it boots there. */
int blockdev_partition(uint32_t signature, unsigned number, unsigned wait_ms,
                       char *path, size_t size);

/* What device PATH holds, as signature_find() names it. */
const char *blockdev_content(const char *path);

/* Whether the host lets PATH be read only. */
bool blockdev_is_readonly(const char *path);

/* Whether nobody can have stored anything on PATH yet: it starts and ends
 * with zeros. Not so for one that cannot be read. */
bool blockdev_is_empty(const char *path);

#endif
