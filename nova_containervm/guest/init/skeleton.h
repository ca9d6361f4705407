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

/* Works inside a root file system made by somebody else. */
#ifndef CVM_SKELETON_H
#define CVM_SKELETON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/*
 * Make the mount points and files that docker's "init layer" has, where the
 * image lacks them. Best effort: an image may be read-only, or have other
 * ideas of /etc; whoever needs one of them says so.
 */
void skeleton_make(const char *root);

/* Whether a file at PATH, without a slash at its start, that the image does not
 * have is as skeleton_make() makes it. */
bool skeleton_has_made(const char *path, const struct stat *info);

/*
 * open() PATH below ROOT, where every symbolic link and ".." stays below
 * ROOT. The descriptor, close-on-exec, or -1 with errno.
 */
int skeleton_open(const char *root, const char *path, int flags);

/*
 * Open the directory PATH below ROOT in the same way, and make what is missing
 * of it.
 */
int skeleton_make_directory(const char *root, const char *path);

/*
 * setxattr() on PATH below ROOT, where no symbolic link on the way leads out
 * of ROOT. 0, or -1 with errno.
 */
int skeleton_setxattr(const char *root, const char *path, const char *name,
                      const void *value, size_t size);

#endif
