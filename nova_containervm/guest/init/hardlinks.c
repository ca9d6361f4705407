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

#include "hardlinks.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static struct hardlink *place(struct hardlink *table, size_t size, dev_t dev,
                              ino_t ino)
{
    /* Inode numbers that follow each other are to lie far apart. */
    size_t at = ((uint64_t)ino * 0x9e3779b97f4a7c15ull ^ dev) % size;

    while (table[at].path && (table[at].dev != dev || table[at].ino != ino))
        at = (at + 1) % size;
    return &table[at];
}

static int grow(struct hardlinks *links)
{
    size_t size = links->size * 2 + 61;
    struct hardlink *table = calloc(size, sizeof(*table));

    if (!table)
        return -1;
    for (size_t i = 0; i < links->size; i++)
        if (links->table[i].path)
            *place(table, size, links->table[i].dev, links->table[i].ino) =
                links->table[i];
    free(links->table);
    links->table = table;
    links->size = size;
    return 0;
}

int hardlinks_find(struct hardlinks *links, const struct stat *info,
                   const char *path, const char **earlier)
{
    struct hardlink *found;

    if (links->count * 2 >= links->size && grow(links) < 0)
        return -1;
    found = place(links->table, links->size, info->st_dev, info->st_ino);
    *earlier = found->path;
    if (found->path)
        return 0;
    found->dev = info->st_dev;
    found->ino = info->st_ino;
    found->path = strdup(path);
    if (!found->path)
        return -1;
    links->count++;
    return 0;
}

void hardlinks_free(struct hardlinks *links)
{
    for (size_t i = 0; i < links->size; i++)
        free(links->table[i].path);
    free(links->table);
    memset(links, 0, sizeof(*links));
}
