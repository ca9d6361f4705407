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

#include "dirlist.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

DIR *dirlist_open(int directory)
{
    int own = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own < 0 ? NULL : fdopendir(own);

    if (own >= 0 && !stream)
        close(own);
    return stream;
}

struct dirent *dirlist_next(DIR *stream)
{
    struct dirent *entry;

    do {
        errno = 0;
        entry = readdir(stream);
    } while (entry && (strcmp(entry->d_name, ".") == 0 ||
                       strcmp(entry->d_name, "..") == 0));
    return entry;
}

char **dirlist_read(int directory)
{
    DIR *stream = dirlist_open(directory);
    size_t count = 0, size = 64;
    char **names = stream ? calloc(size, sizeof(*names)) : NULL;
    struct dirent *entry;

    while (names && (entry = dirlist_next(stream))) {
        if (count + 2 > size) {
            char **grown = realloc(names, (size *= 2) * sizeof(*names));
            if (!grown)
                break;
            names = grown;
        }
        names[count] = strdup(entry->d_name);
        if (!names[count])
            break;
        names[++count] = NULL;
    }
    int error = errno;
    if (stream)
        closedir(stream);
    if (names && error) {
        dirlist_free(names);
        names = NULL;
    }
    if (names)
        qsort(names, count, sizeof(*names), compare);
    errno = error;
    return names;
}

void dirlist_free(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}
