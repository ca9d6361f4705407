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

#include "skeleton.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "report.h"

enum kind { DIRECTORY, FILE_EMPTY, LINK };

/* As moby's initlayer; parents before children. */
static const struct {
    const char *parent;
    const char *name;
    enum kind kind;
    const char *target;
} entries[] = {
    {"/", "dev", DIRECTORY, NULL},
    {"/dev", "pts", DIRECTORY, NULL},
    {"/dev", "shm", DIRECTORY, NULL},
    {"/dev", "console", FILE_EMPTY, NULL},
    {"/", "proc", DIRECTORY, NULL},
    {"/", "sys", DIRECTORY, NULL},
    {"/", "etc", DIRECTORY, NULL},
    {"/etc", "resolv.conf", FILE_EMPTY, NULL},
    {"/etc", "hosts", FILE_EMPTY, NULL},
    {"/etc", "hostname", FILE_EMPTY, NULL},
    {"/etc", "mtab", LINK, "/proc/mounts"},
    {"/", ".dockerenv", FILE_EMPTY, NULL},
};

/* open() where ROOT is "/" for every symbolic link and "..". */
static int open_in_root(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT |
                                      RESOLVE_NO_MAGICLINKS};

    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

static int make_entry(int parent, const char *name, enum kind kind,
                      const char *target)
{
    int fd;

    switch (kind) {
    case DIRECTORY:
        return mkdirat(parent, name, 0755);
    case LINK:
        return symlinkat(target, parent, name);
    default:
        fd = openat(parent, name,
                    O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
                    0755);
        if (fd >= 0)
            close(fd);
        return fd;
    }
}

void skeleton_make(const char *root)
{
    int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        int parent = open_in_root(root_fd, entries[i].parent,
                                  O_PATH | O_DIRECTORY);
        struct stat info;

        if (parent < 0)
            continue;
        if (fstatat(parent, entries[i].name, &info, AT_SYMLINK_NOFOLLOW) <
                0 &&
            make_entry(parent, entries[i].name, entries[i].kind,
                       entries[i].target) < 0)
            debug("%s in %s: %s", entries[i].name, entries[i].parent,
                  strerror(errno));
        close(parent);
    }
    close(root_fd);
}

int skeleton_open(const char *root, const char *path, int flags)
{
    int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = open_in_root(root_fd, path, flags);
    int error = errno;

    close(root_fd);
    errno = error;
    return fd;
}

/* A step of the way: PATH, which is made in PARENT if it is not there. */
static int enter(int root, int parent, const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    int fd = open_in_root(root, path, O_RDONLY | O_DIRECTORY);

    if (fd < 0 && errno == ENOENT && mkdirat(parent, name, 0755) == 0)
        fd = openat(parent, name,
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd;
}

int skeleton_make_directory(const char *root, const char *path)
{
    char part[PATH_MAX];

    if (strlen(path) >= sizeof(part)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = open_in_root(root_fd, "/", O_RDONLY | O_DIRECTORY);

    for (size_t end = 1; fd >= 0 && path[end - 1]; end++) {
        if (path[end] && path[end] != '/')
            continue;
        memcpy(part, path, end);
        part[end] = '\0';
        int parent = fd;
        fd = enter(root_fd, parent, part);
        int error = errno;
        close(parent);
        errno = error;
    }
    int error = errno;
    close(root_fd);
    errno = error;
    return fd;
}

bool skeleton_has_made(const char *path, const struct stat *info)
{
    static const mode_t types[] = {S_IFDIR, S_IFREG, S_IFLNK};
    char whole[64];

    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        snprintf(whole, sizeof(whole), "%s/%s", entries[i].parent + 1,
                 entries[i].name);
        if (strcmp(whole + (whole[0] == '/'), path) == 0)
            return (info->st_mode & S_IFMT) == types[entries[i].kind] &&
                   info->st_uid == 0 && info->st_gid == 0 &&
                   (entries[i].kind != FILE_EMPTY || info->st_size == 0);
    }
    return false;
}

int skeleton_setxattr(const char *root, const char *path, const char *name,
                      const void *value, size_t size)
{
    int fd = skeleton_open(root, path, O_RDONLY | O_NONBLOCK);
    int result = fd < 0 ? -1 : fsetxattr(fd, name, value, size, 0);
    int error = errno;

    if (fd >= 0)
        close(fd);
    errno = error;
    return result;
}
