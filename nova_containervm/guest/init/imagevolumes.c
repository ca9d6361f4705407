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

#include "imagevolumes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "copytree.h"
#include "paths.h"
#include "report.h"
#include "skeleton.h"

#define STAGE "volume"
#define ID "image"

/* Becomes the directory of a volume. */
#define NEW_DIR WRITABLE_DIR "/new-volume"

/* What an overlay has on a directory that hides the lower one's, and on one
 * that has another one below it than its name says. */
#define OPAQUE "trusted.overlay.opaque"
#define REDIRECT "trusted.overlay.redirect"

/* Of a path in the container: with a directory of ours before it, it must
 * still be one that the kernel takes. */
#define PLACE_MAX (PATH_MAX - 64)

bool imagevolumes_has(const struct volume *volume)
{
    return strncmp(volume->id, ID, strlen(ID)) == 0;
}

/* Open the directory of the container at PATH, made if it is missing, with
 * its place below ROOTFS_DIR, where no symbolic links are left, in PLACE. */
static int open_place(const char *path, char place[static PLACE_MAX])
{
    char link[64], real[PATH_MAX];
    int fd = skeleton_make_directory(ROOTFS_DIR, path);

    if (fd < 0)
        fail_errno(STAGE, "%s, a VOLUME of the image", path);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, real, sizeof(real) - 1);
    if (length < (ssize_t)strlen(ROOTFS_DIR))
        fail_errno(STAGE, "%s", link);
    real[length] = '\0';
    if (snprintf(place, PLACE_MAX, "%s", real + strlen(ROOTFS_DIR)) >=
        PLACE_MAX)
        fail(STAGE, "%s: the path is too long", path);
    return fd;
}

static bool is_opaque(const char *path)
{
    char value;

    return lgetxattr(path, OPAQUE, &value, 1) == 1 && value == 'y';
}

/* Whether the upper directory has all of PLACE. Its parents count, too: a
 * volume may be in another one. */
static bool is_whole(const char *place)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), UPPER_DIR "%.*s", PLACE_MAX, place);
    for (;;) {
        if (is_opaque(path))
            return true;
        if (lgetxattr(path, REDIRECT, NULL, 0) >= 0)
            return false;
        char *slash = strrchr(path, '/');
        if (slash < path + strlen(UPPER_DIR))
            return false;
        *slash = '\0';
    }
}

static int make_new(void)
{
    if (mkdir(NEW_DIR, 0700) < 0 && errno != EEXIST)
        fail_errno(STAGE, "%s", NEW_DIR);
    int directory = open(NEW_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Of a start that a power cut has ended */
    if (directory < 0 || copytree_clear(directory) < 0)
        fail_errno(STAGE, "%s", NEW_DIR);
    return directory;
}

/* rename(), of which the times of TARGET's parent are to show nothing. */
static int put(const char *directory, const char *target)
{
    char parent[PATH_MAX];
    struct stat info;

    snprintf(parent, sizeof(parent), "%s", target);
    *strrchr(parent, '/') = '\0';
    if (stat(parent, &info) < 0 || rename(directory, target) < 0)
        return -1;
    const struct timespec times[] = {info.st_atim, info.st_mtim};
    return utimensat(AT_FDCWD, parent, times, 0);
}

/* Copy what SOURCE has, which is at PLACE. */
static void fill(int source, const char *path, const char *place)
{
    char where[PATH_MAX], target[PATH_MAX];
    struct stat info;
    int directory = make_new();

    if (copytree(source, directory, where, sizeof(where)) < 0)
        fail_errno(STAGE, "cannot copy the image's %s/%s", path, where);
    /* Has the overlay make the directory in the upper one, and all above. */
    if (fstat(source, &info) < 0 || fchmod(source, info.st_mode & 07777) < 0)
        fail_errno(STAGE, "%s", path);
    /* A power cut must leave nothing that is called whole and is not. */
    if (fsetxattr(directory, OPAQUE, "y", 1, 0) < 0 || syncfs(directory) < 0)
        fail_errno(STAGE, "%s", NEW_DIR);
    close(directory);
    snprintf(target, sizeof(target), UPPER_DIR "%.*s", PLACE_MAX, place);
    if (put(NEW_DIR, target) == 0)
        return;
    if (errno != ENOTEMPTY && errno != EEXIST)
        fail_errno(STAGE, "%s", target);
    /* The container has changed something there while it was no volume, for
     * the user had another one that is not there now. */
    debug("%s stays in the overlay", path);
}

bool imagevolumes_prepare(const struct contract *contract)
{
    bool changed = false;

    for (size_t i = 0; i < contract->volume_count; i++) {
        const struct volume *volume = &contract->volumes[i];
        char place[PLACE_MAX];

        if (!imagevolumes_has(volume))
            continue;
        int directory = open_place(volume->path, place);
        if (!is_whole(place)) {
            fill(directory, volume->path, place);
            changed = true;
        }
        close(directory);
    }
    return changed;
}

void imagevolumes_mount(const struct contract *contract,
                        const struct volume *volume, const char *target)
{
    char place[PLACE_MAX], source[PATH_MAX];
    bool apart;

    close(open_place(volume->path, place));
    apart = contract->writable == WRITABLE_DISK && is_whole(place);
    snprintf(source, sizeof(source), "%s%.*s",
             apart ? UPPER_DIR : ROOTFS_DIR, PLACE_MAX, place);
    /* The access times are as those of the overlay; for itself, this init
     * does without them on its disk. */
    if (mount(source, target, NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_RELATIME, NULL) <
            0)
        fail_errno(STAGE, "cannot mount %s", volume->path);
}
