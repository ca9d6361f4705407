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

#include "copytree.h"

#include "dirlist.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* One sendfile() moves no more than 2 GiB. */
#define CHUNK (1 << 30)

/* A file with several names, and the one that it has been copied to. */
struct link {
    dev_t dev;
    ino_t ino;
    char *path; /* below the target */
};

struct copy {
    int target;
    struct link *links;
    size_t link_count;
    char *where; /* below FROM and the target; room for PATH_MAX */
};

static int copy_directory(struct copy *copy, int from, int to);

static bool unsupported(int error)
{
    return error == ENOTSUP || error == EPERM;
}

/*
 * Extended attributes: ACLs, file capabilities, the user's own. Not
 * "trusted.", which belongs to overlay file systems.
 */
static int copy_attributes(int from, int to)
{
    char *names = NULL, *value = NULL;
    ssize_t length = flistxattr(from, NULL, 0);
    int result = -1;

    if (length <= 0)
        return length < 0 && !unsupported(errno) ? -1 : 0;
    names = malloc((size_t)length);
    value = malloc(XATTR_SIZE_MAX);
    if (names && value)
        length = flistxattr(from, names, (size_t)length);
    if (!names || !value || length < 0)
        goto out;
    for (char *name = names; name < names + length;
         name += strlen(name) + 1) {
        if (strncmp(name, "trusted.", 8) == 0)
            continue;
        ssize_t size = fgetxattr(from, name, value, XATTR_SIZE_MAX);
        if (size < 0 || (fsetxattr(to, name, value, (size_t)size, 0) < 0 &&
                         !unsupported(errno)))
            goto out;
    }
    result = 0;
out:
    free(names);
    free(value);
    return result;
}

/* In this order: a change of owner takes setuid bits and capabilities away,
 * and each of these is a change that the times must not show. */
static int copy_metadata(int from, int to, const struct stat *info)
{
    const struct timespec times[] = {info->st_atim, info->st_mtim};

    if (fchown(to, info->st_uid, info->st_gid) < 0 ||
        fchmod(to, info->st_mode & 07777) < 0 ||
        copy_attributes(from, to) < 0)
        return -1;
    return futimens(to, times);
}

static int copy_content(int from, int to)
{
    ssize_t put;

    while ((put = sendfile(to, from, NULL, CHUNK)) > 0)
        ;
    return put < 0 ? -1 : 0;
}

/* A regular file or a directory, which have to be opened. */
static int copy_opened(struct copy *copy, int from_parent, int to_parent,
                       const char *name, const struct stat *info)
{
    bool directory = S_ISDIR(info->st_mode);
    int kind = directory ? O_DIRECTORY : O_CREAT | O_EXCL;
    int from = openat(from_parent, name,
                      O_RDONLY | O_NOFOLLOW | O_CLOEXEC |
                          (directory ? O_DIRECTORY : 0));
    int to = -1, result = -1;

    if (from >= 0 &&
        (!directory || mkdirat(to_parent, name, 0700) == 0))
        to = openat(to_parent, name,
                    (directory ? O_RDONLY : O_WRONLY) | kind | O_NOFOLLOW |
                        O_CLOEXEC, 0600);
    if (to >= 0)
        result = directory ? copy_directory(copy, from, to)
                           : copy_content(from, to);
    if (result == 0)
        result = copy_metadata(from, to, info);
    int error = errno;
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    errno = error;
    return result;
}

/* A symbolic link, device or fifo. */
static int copy_special(int from_parent, int to_parent, const char *name,
                        const struct stat *info)
{
    const struct timespec times[] = {info->st_atim, info->st_mtim};
    char target[PATH_MAX];

    if (S_ISLNK(info->st_mode)) {
        ssize_t length =
            readlinkat(from_parent, name, target, sizeof(target) - 1);
        if (length < 0)
            return -1;
        target[length] = '\0';
        if (symlinkat(target, to_parent, name) < 0)
            return -1;
    } else if (mknodat(to_parent, name, info->st_mode, info->st_rdev) < 0) {
        return -1;
    }
    if (fchownat(to_parent, name, info->st_uid, info->st_gid,
                 AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    /* The umask had its say in mknod(). */
    if (!S_ISLNK(info->st_mode) &&
        fchmodat(to_parent, name, info->st_mode & 07777, 0) < 0)
        return -1;
    return utimensat(to_parent, name, times, AT_SYMLINK_NOFOLLOW);
}

/* 1 if the file was copied under another name before, and now has this one
 * too; 0 if not. */
static int copy_link(struct copy *copy, int to_parent, const char *name,
                     const struct stat *info)
{
    void *grown;

    for (size_t i = 0; i < copy->link_count; i++)
        if (copy->links[i].dev == info->st_dev &&
            copy->links[i].ino == info->st_ino)
            return linkat(copy->target, copy->links[i].path, to_parent, name,
                          0) < 0 ? -1 : 1;
    grown = realloc(copy->links,
                    (copy->link_count + 1) * sizeof(struct link));
    if (!grown)
        return -1;
    copy->links = grown;
    copy->links[copy->link_count] = (struct link){
        .dev = info->st_dev, .ino = info->st_ino,
        .path = strdup(copy->where)};
    return copy->links[copy->link_count++].path ? 0 : -1;
}

static int copy_entry(struct copy *copy, int from, int to, const char *name)
{
    struct stat info;

    if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (S_ISSOCK(info.st_mode))
        return 0;
    if (S_ISDIR(info.st_mode))
        return copy_opened(copy, from, to, name, &info);
    if (info.st_nlink > 1) {
        int linked = copy_link(copy, to, name, &info);
        if (linked)
            return linked < 0 ? -1 : 0;
    }
    if (S_ISREG(info.st_mode))
        return copy_opened(copy, from, to, name, &info);
    return copy_special(from, to, name, &info);
}

static int copy_directory(struct copy *copy, int from, int to)
{
    size_t length = strlen(copy->where);
    DIR *stream = dirlist_open(from);
    struct dirent *entry;
    int result = stream ? 0 : -1;

    while (result == 0 && (entry = dirlist_next(stream))) {
        if (length + strlen(entry->d_name) + 2 > PATH_MAX) {
            errno = ENAMETOOLONG;
            result = -1;
            break;
        }
        sprintf(copy->where + length, "%s%s", length ? "/" : "",
                entry->d_name);
        result = copy_entry(copy, from, to, entry->d_name);
        /* Where it failed is told to the caller. */
        if (result == 0)
            copy->where[length] = '\0';
    }
    if (result == 0 && errno)
        result = -1;
    int error = errno;
    if (stream)
        closedir(stream);
    errno = error;
    return result;
}

int copytree(int from, int to, char *where, size_t size)
{
    char path[PATH_MAX] = "";
    struct copy copy = {.target = to, .where = path};
    struct stat info;
    int result = fstat(from, &info);

    if (result == 0)
        result = copy_directory(&copy, from, to);
    if (result == 0)
        result = copy_metadata(from, to, &info);
    int error = errno;
    snprintf(where, size, "%s", path);
    for (size_t i = 0; i < copy.link_count; i++)
        free(copy.links[i].path);
    free(copy.links);
    errno = error;
    return result;
}

int copytree_clear(int directory)
{
    DIR *stream = dirlist_open(directory);
    struct dirent *entry;
    int result = stream ? 0 : -1;

    while (result == 0 && (entry = dirlist_next(stream))) {
        result = unlinkat(directory, entry->d_name, 0);
        if (result < 0 && errno == EISDIR) {
            int inner = openat(directory, entry->d_name,
                               O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
                                   O_CLOEXEC);
            result = inner < 0 ? -1 : copytree_clear(inner);
            if (inner >= 0)
                close(inner);
            if (result == 0)
                result = unlinkat(directory, entry->d_name, AT_REMOVEDIR);
        }
    }
    if (result == 0 && errno)
        result = -1;
    int error = errno;
    if (stream)
        closedir(stream);
    errno = error;
    return result;
}
