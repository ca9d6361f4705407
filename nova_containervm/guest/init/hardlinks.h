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

/* Which files of a tree are names of the same one. */
#ifndef CVM_HARDLINKS_H
#define CVM_HARDLINKS_H

#include <stddef.h>
#include <sys/stat.h>

struct hardlink {
    dev_t dev;
    ino_t ino;
    char *path; /* NULL: a free place */
};

struct hardlinks {
    struct hardlink *table; /* a hash table */
    size_t size;
    size_t count;
};

/*
 * The first name that the file of INFO was seen under, in EARLIER; NULL if it
 * is now, as PATH, which is remembered. 0, or -1 with errno.
 */
int hardlinks_find(struct hardlinks *links, const struct stat *info,
                   const char *path, const char **earlier);
void hardlinks_free(struct hardlinks *links);

#endif
