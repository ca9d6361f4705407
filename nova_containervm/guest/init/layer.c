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

#include "layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "extents.h"

#define CHUNK (256 * 1024)

static int __attribute__((format(printf, 2, 3)))
bad(struct layer *layer, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(layer->error, layer->error_size, format, args);
    va_end(args);
    return -1;
}

int layer_failed(struct layer *layer, const char *what)
{
    return bad(layer, "/%.300s: %s: %s", layer->path, what, strerror(errno));
}

int layer_open(struct layer *layer, struct tar *tar, char *error,
               size_t error_size)
{
    memset(layer, 0, sizeof(*layer));
    layer->tar = tar;
    layer->error = error;
    layer->error_size = error_size;
    layer->chunk = malloc(CHUNK);
    return layer->chunk ? 0 : bad(layer, "out of memory");
}

void layer_close(struct layer *layer)
{
    hardlinks_free(&layer->links);
    free(layer->chunk);
}

static int enter(struct layer *layer, const char *name)
{
    size_t length = strlen(name);

    /* Who reads the archive takes no longer ones either. */
    if (layer->length + length + 2 > sizeof(layer->path))
        return bad(layer, "/%.300s...: the path is longer than %d bytes",
                   layer->path, PATH_MAX - 1);
    if (layer->length)
        layer->path[layer->length++] = '/';
    memcpy(layer->path + layer->length, name, length + 1);
    layer->length += length;
    return 0;
}

int layer_enter(struct layer *layer, const char *name)
{
    if (strncmp(name, LAYER_WHITEOUT, strlen(LAYER_WHITEOUT)) == 0)
        return bad(layer, "/%.300s/%s: an image cannot have a file of that "
                          "name; remove or rename it", layer->path, name);
    return enter(layer, name);
}

void layer_leave(struct layer *layer, size_t length)
{
    layer->length = length;
    layer->path[length] = '\0';
}

static int write_member(struct layer *layer, const struct tar_entry *entry)
{
    if (tar_header(layer->tar, entry) < 0)
        return layer_failed(layer, "cannot write");
    return 0;
}

int layer_directory(struct layer *layer, size_t length,
                    const struct stat *info, const struct xattrs *xattrs)
{
    char path[PATH_MAX];
    struct tar_entry entry = {.type = '5', .path = path, .info = *info,
                              .xattrs = xattrs->items,
                              .xattr_count = xattrs->count};

    memcpy(path, layer->path, length);
    path[length] = '\0';
    return write_member(layer, &entry);
}

int layer_mark(struct layer *layer, const char *prefix, const char *name)
{
    struct tar_entry entry = {.path = layer->path, .type = '0'};
    size_t length = layer->length;
    char mark[NAME_MAX + 16];
    int result;

    snprintf(mark, sizeof(mark), "%s%s", prefix, name);
    if (enter(layer, mark) < 0)
        return -1;
    result = write_member(layer, &entry);
    layer_leave(layer, length);
    return result;
}

static int copy_range(struct layer *layer, int fd, uint64_t offset,
                      uint64_t length)
{
    while (length) {
        size_t wanted = length < CHUNK ? (size_t)length : CHUNK;
        ssize_t got = pread(fd, layer->chunk, wanted, (off_t)offset);

        if (got < 0)
            return layer_failed(layer, "cannot read");
        if (got == 0)
            return bad(layer, "/%.300s: is shorter than it says",
                       layer->path);
        if (tar_write(layer->tar, layer->chunk, (size_t)got) < 0)
            return layer_failed(layer, "cannot write");
        offset += (uint64_t)got;
        length -= (uint64_t)got;
    }
    return 0;
}

static int write_content(struct layer *layer, int fd,
                         const struct tar_entry *entry)
{
    const struct tar_extent whole = {0, (uint64_t)entry->info.st_size};
    const struct tar_extent *extents = entry->extents ? entry->extents
                                                      : &whole;
    size_t count = entry->extents ? entry->extent_count : 1;
    uint64_t length = tar_data_length(entry);

    if (!layer->tar->sink)
        layer->tar->length += length;
    else
        for (size_t i = 0; i < count; i++)
            if (copy_range(layer, fd, extents[i].offset,
                           extents[i].length) < 0)
                return -1;
    return tar_pad(layer->tar, length) < 0
               ? layer_failed(layer, "cannot write") : 0;
}

static int write_regular(struct layer *layer, int parent, const char *name,
                         struct tar_entry *entry)
{
    struct tar_extent *extents = NULL;
    struct xattrs xattrs = {0};
    int fd = openat(parent, name,
                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int result = -1;

    if (fd < 0 || fstat(fd, &entry->info) < 0 ||
        xattrs_read(&xattrs, fd) < 0 ||
        extents_find(fd, &entry->info, &extents, &entry->extent_count) < 0) {
        layer_failed(layer, "cannot read");
    } else {
        entry->extents = extents;
        entry->xattrs = xattrs.items;
        entry->xattr_count = xattrs.count;
        if (write_member(layer, entry) == 0)
            result = write_content(layer, fd, entry);
    }
    xattrs_free(&xattrs);
    free(extents);
    if (fd >= 0)
        close(fd);
    return result;
}

/* Type of a member, 0 for a socket: no archive keeps those. */
static char type_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return '0';
    case S_IFLNK:
        return '2';
    case S_IFCHR:
        return '3';
    case S_IFBLK:
        return '4';
    case S_IFIFO:
        return '6';
    default:
        return 0;
    }
}

int layer_file(struct layer *layer, int parent, const char *name,
               const struct stat *identity)
{
    struct tar_entry entry = {.path = layer->path,
                              .type = type_of(identity->st_mode)};
    const char *earlier = NULL;
    char target[PATH_MAX];

    if (!entry.type)
        return 0;
    if (fstatat(parent, name, &entry.info, AT_SYMLINK_NOFOLLOW) < 0)
        return layer_failed(layer, "cannot read");
    if (identity->st_nlink > 1 &&
        hardlinks_find(&layer->links, identity, layer->path, &earlier) < 0)
        return layer_failed(layer, "cannot remember");
    if (earlier) {
        entry.type = '1';
        entry.target = earlier;
    } else if (entry.type == '0') {
        return write_regular(layer, parent, name, &entry);
    } else if (entry.type == '2') {
        ssize_t length =
            readlinkat(parent, name, target, sizeof(target) - 1);
        if (length < 0)
            return layer_failed(layer, "cannot read");
        target[length] = '\0';
        entry.target = target;
    }
    return write_member(layer, &entry);
}
