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

/*
 * Writes a tar archive: ustar headers, with PAX records for what has no room
 * in them (POSIX.1-2001, pax), extended attributes as SCHILY.xattr records,
 * and sparse files in GNU's PAX form 1.0. Two archives of the same files are
 * the same, byte for byte; nova_containervm/snapshot/tarwrite.py writes it so
 * too.
 */
#ifndef CVM_TAR_H
#define CVM_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define TAR_BLOCK 512
#define TAR_END_LENGTH (2 * TAR_BLOCK)

/* Takes the next bytes of the archive. 0, or -1 with errno. */
typedef int tar_sink(void *context, const void *data, size_t length);

struct tar {
    tar_sink *sink; /* NULL: only count */
    void *context;
    uint64_t length; /* of what has been written */
};

struct tar_xattr {
    const char *name;
    const void *value;
    size_t size;
};

/* A part of a sparse file that holds data. */
struct tar_extent {
    uint64_t offset;
    uint64_t length;
};

struct tar_entry {
    const char *path; /* relative; "" for the root directory */
    char type;        /* of the header: '0' to '6', but not '7' */
    struct stat info;
    const char *target; /* of a link of either kind, else NULL */
    const struct tar_xattr *xattrs; /* sorted by name */
    size_t xattr_count;
    const struct tar_extent *extents; /* NULL: all of it is data */
    size_t extent_count;
};

/*
 * Write the header of ENTRY, for a sparse file its map too. A regular file's
 * data follows: tar_data_length() bytes by tar_write(), then tar_pad(). 0, or
 * -1 with errno.
 */
int tar_header(struct tar *tar, const struct tar_entry *entry);
uint64_t tar_data_length(const struct tar_entry *entry);
int tar_write(struct tar *tar, const void *data, size_t length);
/* Fill up to a whole block what LENGTH bytes have left of the last one. */
int tar_pad(struct tar *tar, uint64_t length);
/* The end of the archive. */
int tar_end(struct tar *tar);

#endif
