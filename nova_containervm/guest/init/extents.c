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

#include "extents.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Holes that together are smaller are not worth a map. */
#define MIN_HOLES (64 * 1024)

static int add(struct tar_extent **extents, size_t *count, off_t start,
               off_t end)
{
    struct tar_extent *grown =
        realloc(*extents, (*count + 1) * sizeof(*grown));

    if (!grown)
        return -1;
    grown[(*count)++] =
        (struct tar_extent){(uint64_t)start, (uint64_t)(end - start)};
    *extents = grown;
    return 0;
}

static int find_all(int fd, off_t size, struct tar_extent **extents,
                    size_t *count, off_t *data)
{
    off_t at = 0, end = 0;

    while (at < size) {
        at = lseek(fd, at, SEEK_DATA);
        if (at < 0 && errno == ENXIO)
            break; /* no data from there on */
        end = at < 0 ? -1 : lseek(fd, at, SEEK_HOLE);
        if (end < 0)
            return -1;
        if (end > size)
            end = size;
        if (add(extents, count, at, end) < 0)
            return -1;
        *data += end - at;
        at = end;
    }
    /* GNU tar, too, says with an empty part where the file ends. */
    return end < size ? add(extents, count, size, size) : 0;
}

int extents_find(int fd, const struct stat *info,
                 struct tar_extent **extents, size_t *count)
{
    off_t data = 0;
    int result = 0;

    *extents = NULL;
    *count = 0;
    if ((off_t)info->st_blocks * 512 + MIN_HOLES > info->st_size)
        return 0;
    result = find_all(fd, info->st_size, extents, count, &data);
    if (result == 0 && data + MIN_HOLES <= info->st_size)
        return 0;
    free(*extents);
    *extents = NULL;
    *count = 0;
    return result;
}
