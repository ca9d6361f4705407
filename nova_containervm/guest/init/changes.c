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

#include "changes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "dirlist.h"
#include "layer.h"
#include "skeleton.h"
#include "text.h"

#define OPAQUE ".wh..wh..opq"
#define CAPABILITY "security.capability"

struct walk {
    const struct changes *changes;
    struct layer layer;
};

/*
 * A directory under way. One that is unchanged itself is written when
 * something in it is.
 */
struct level {
    struct level *parent;
    const struct stat *info;
    const struct xattrs *xattrs;
    size_t length; /* of its path */
    bool written;
};

static int open_below(int directory, const char *name, int flags)
{
    return openat(directory, name,
                  O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags);
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* The attribute NAME of overlayfs. Its length, or -1. */
static ssize_t overlay_attribute(const struct changes *changes, int fd,
                                 const char *name, char *value, size_t size)
{
    char whole[64];

    snprintf(whole, sizeof(whole), "%s%s", changes->overlay, name);
    return fgetxattr(fd, whole, value, size);
}

static bool has_attribute(const struct changes *changes, int fd,
                          const char *name)
{
    return overlay_attribute(changes, fd, name, NULL, 0) >= 0;
}

static bool is_opaque(const struct changes *changes, int fd)
{
    char value = 0;

    return overlay_attribute(changes, fd, "opaque", &value, 1) == 1 &&
           value == 'y';
}

static bool is_whiteout(const struct changes *changes, int parent,
                        const char *name, const struct stat *info)
{
    bool found = false;
    int fd;

    if (S_ISCHR(info->st_mode))
        return info->st_rdev == 0;
    /* The form for overlays on overlays */
    if (!S_ISREG(info->st_mode) || info->st_size)
        return false;
    fd = open_below(parent, name, 0);
    if (fd >= 0) {
        found = has_attribute(changes, fd, "whiteout");
        close(fd);
    }
    return found;
}

static bool same(const struct stat *a, const struct xattrs *a_xattrs,
                 const struct stat *b, const struct xattrs *b_xattrs)
{
    return a->st_mode == b->st_mode && a->st_uid == b->st_uid &&
           a->st_gid == b->st_gid &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           xattrs_equal(a_xattrs, b_xattrs);
}

/* Write a directory, and those that it lies in, as far as not done. */
static int write_level(struct walk *walk, struct level *level)
{
    if (!level || level->written)
        return 0;
    if (write_level(walk, level->parent) < 0)
        return -1;
    level->written = true;
    return layer_directory(&walk->layer, level->length, level->info,
                           level->xattrs);
}

static int write_mark(struct walk *walk, struct level *level,
                      const char *prefix, const char *name)
{
    if (write_level(walk, level) < 0)
        return -1;
    return layer_mark(&walk->layer, prefix, name);
}

static int write_file(struct walk *walk, struct level *level, int parent,
                      const char *name, const struct stat *identity)
{
    if (!S_ISSOCK(identity->st_mode) && write_level(walk, level) < 0)
        return -1;
    return layer_file(&walk->layer, parent, name, identity);
}

/* Whether the image gives the file at the path this capability. */
static bool is_of_image(const struct walk *walk,
                        const struct tar_xattr *capability)
{
    unsigned char value[32];

    for (char **cap = walk->changes->file_caps; *cap; cap++) {
        size_t digits = strcspn(*cap, " ");
        const char *path = *cap + digits;

        path += strspn(path, " /");
        if (strcmp(path, walk->layer.path) != 0)
            continue;
        ssize_t length = text_from_hex(*cap, digits, value, sizeof(value));
        return length >= 0 && (size_t)length == capability->size &&
               memcmp(value, capability->value, (size_t)length) == 0;
    }
    return false;
}

/* Whether two open files differ in nothing but that the first has got the
 * capability that the image wants it to have. */
static bool differs_in_capability(const struct walk *walk, int now,
                                  int before)
{
    struct xattrs now_xattrs = {0}, before_xattrs = {0};
    struct stat now_info, before_info;
    const struct tar_xattr *capability;
    bool result = false;

    if (fstat(now, &now_info) == 0 && fstat(before, &before_info) == 0 &&
        xattrs_read(&now_xattrs, now) == 0 &&
        xattrs_read(&before_xattrs, before) == 0) {
        capability = xattrs_find(&now_xattrs, CAPABILITY);
        if (capability && is_of_image(walk, capability)) {
            xattrs_remove(&now_xattrs, CAPABILITY);
            xattrs_remove(&before_xattrs, CAPABILITY);
            result = now_info.st_size == before_info.st_size &&
                     same(&now_info, &now_xattrs, &before_info,
                          &before_xattrs);
        }
    }
    xattrs_free(&now_xattrs);
    xattrs_free(&before_xattrs);
    return result;
}

/* Whether all that happened to a file of the image is that the init gave it
 * its capability. */
static bool only_capability(const struct walk *walk, int upper, int merged,
                            int lower, const char *name)
{
    int fds[] = {-1, -1, -1};
    bool result = false;

    if (!walk->changes->file_caps)
        return false;
    fds[0] = open_below(upper, name, 0);
    /* Metadata only, so nobody has written to it */
    if (fds[0] >= 0 && has_attribute(walk->changes, fds[0], "metacopy") &&
        !has_attribute(walk->changes, fds[0], "redirect")) {
        fds[1] = open_below(merged, name, 0);
        fds[2] = open_below(lower, name, 0);
        result = fds[1] >= 0 && fds[2] >= 0 &&
                 differs_in_capability(walk, fds[1], fds[2]);
    }
    close_all(fds, 3);
    return result;
}

/* Whether the init has done to a file all that has been done to it. */
static bool is_the_inits(const struct walk *walk, int upper, int merged,
                         int lower, const char *name, const struct stat *info)
{
    if (lower < 0 || faccessat(lower, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return skeleton_has_made(walk->layer.path, info);
    return S_ISREG(info->st_mode) &&
           only_capability(walk, upper, merged, lower, name);
}

static int walk_all(struct walk *walk, struct level *level, int merged);
static int walk_changes(struct walk *walk, struct level *level, int upper,
                        int merged, int lower);

/* LOWER is the directory of the image at the same path, -1 for none. */
static int change_directory(struct walk *walk, struct level *parent,
                            int upper, int merged, int lower)
{
    struct xattrs xattrs = {0}, before_xattrs = {0};
    struct stat info, before;
    struct level own = {.parent = parent, .info = &info, .xattrs = &xattrs,
                        .length = walk->layer.length};
    /* Its contents are elsewhere in the image. */
    bool moved = has_attribute(walk->changes, upper, "redirect");
    /* overlayfs also marks new directories so, where nothing is below. */
    bool replaced = moved || (lower >= 0 && is_opaque(walk->changes, upper));
    int result = 0;

    if (fstat(merged, &info) < 0 || xattrs_read(&xattrs, merged) < 0 ||
        (lower >= 0 && (fstat(lower, &before) < 0 ||
                        xattrs_read(&before_xattrs, lower) < 0)))
        result = layer_failed(&walk->layer, "cannot read");
    else if (replaced ||
             (lower < 0 ? !skeleton_has_made(walk->layer.path, &info)
                        : !same(&info, &xattrs, &before, &before_xattrs)))
        result = write_level(walk, &own);
    if (result == 0 && replaced && lower >= 0)
        result = write_mark(walk, &own, OPAQUE, "");
    if (result == 0)
        result = moved ? walk_all(walk, &own, merged)
                       : walk_changes(walk, &own, upper, merged,
                                      replaced ? -1 : lower);
    xattrs_free(&xattrs);
    xattrs_free(&before_xattrs);
    return result;
}

static int change_entry(struct walk *walk, struct level *level, int upper,
                        int merged, int lower, const char *name,
                        const struct stat *info)
{
    int fds[] = {-1, -1, -1};
    int result;

    if (!S_ISDIR(info->st_mode)) {
        if (is_the_inits(walk, upper, merged, lower, name, info))
            return 0;
        return write_file(walk, level, merged, name, info);
    }
    fds[0] = open_below(upper, name, O_DIRECTORY);
    fds[1] = open_below(merged, name, O_DIRECTORY);
    if (fds[0] < 0 || fds[1] < 0) {
        result = layer_failed(&walk->layer, "cannot read");
    } else {
        if (lower >= 0)
            fds[2] = open_below(lower, name, O_DIRECTORY);
        result = change_directory(walk, level, fds[0], fds[1], fds[2]);
    }
    close_all(fds, 3);
    return result;
}

/* What a directory of the upper directory has. LOWER is -1 where nothing is
 * below it. */
static int walk_changes(struct walk *walk, struct level *level, int upper,
                        int merged, int lower)
{
    size_t length = walk->layer.length;
    char **names = dirlist_read(upper);
    int result = names ? 0 : layer_failed(&walk->layer, "cannot list");

    for (char **name = names; name && *name && result == 0; name++) {
        struct stat info;

        result = layer_enter(&walk->layer, *name);
        if (result < 0)
            break;
        if (fstatat(upper, *name, &info, AT_SYMLINK_NOFOLLOW) < 0) {
            result = layer_failed(&walk->layer, "cannot read");
        } else if (is_whiteout(walk->changes, upper, *name, &info)) {
            layer_leave(&walk->layer, length);
            if (lower >= 0)
                result = write_mark(walk, level, LAYER_WHITEOUT, *name);
        } else {
            result = change_entry(walk, level, upper, merged, lower, *name,
                                  &info);
        }
        if (result == 0)
            layer_leave(&walk->layer, length);
    }
    dirlist_free(names);
    return result;
}

static int all_entry(struct walk *walk, struct level *level, int merged,
                     const char *name)
{
    struct xattrs xattrs = {0};
    struct stat info;
    struct level own = {.parent = level, .info = &info, .xattrs = &xattrs,
                        .length = walk->layer.length};
    int result, fd;

    if (fstatat(merged, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return layer_failed(&walk->layer, "cannot read");
    if (!S_ISDIR(info.st_mode))
        return write_file(walk, level, merged, name, &info);
    fd = open_below(merged, name, O_DIRECTORY);
    if (fd < 0 || xattrs_read(&xattrs, fd) < 0)
        result = layer_failed(&walk->layer, "cannot read");
    else if ((result = write_level(walk, &own)) == 0)
        result = walk_all(walk, &own, fd);
    xattrs_free(&xattrs);
    if (fd >= 0)
        close(fd);
    return result;
}

/* All that the overlay shows in a directory. */
static int walk_all(struct walk *walk, struct level *level, int merged)
{
    size_t length = walk->layer.length;
    char **names = dirlist_read(merged);
    int result = names ? 0 : layer_failed(&walk->layer, "cannot list");

    for (char **name = names; name && *name && result == 0; name++) {
        result = layer_enter(&walk->layer, *name);
        if (result == 0)
            result = all_entry(walk, level, merged, *name);
        if (result == 0)
            layer_leave(&walk->layer, length);
    }
    dirlist_free(names);
    return result;
}

/* The root directory, and all that the overlay shows in it. */
static int write_everything(struct walk *walk)
{
    struct xattrs xattrs = {0};
    struct stat info;
    struct level own = {.info = &info, .xattrs = &xattrs};
    int result = -1;

    if (fstat(walk->changes->merged, &info) < 0 ||
        xattrs_read(&xattrs, walk->changes->merged) < 0)
        layer_failed(&walk->layer, "cannot read");
    else if (write_level(walk, &own) == 0)
        result = walk_all(walk, &own, walk->changes->merged);
    xattrs_free(&xattrs);
    return result;
}

int changes_write(struct changes *changes, struct tar *tar)
{
    struct walk walk = {.changes = changes};
    int result = layer_open(&walk.layer, tar, changes->error,
                            sizeof(changes->error));

    if (result == 0)
        result = changes->everything
                     ? write_everything(&walk)
                     : change_directory(&walk, NULL, changes->upper,
                                        changes->merged, changes->lower);
    if (result == 0 && tar_end(tar) < 0)
        result = layer_failed(&walk.layer, "cannot write");
    layer_close(&walk.layer);
    return result;
}
