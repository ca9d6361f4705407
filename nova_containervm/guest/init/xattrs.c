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

#include "xattrs.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static bool is_kept(const char *name)
{
    static const char *const exact[] = {
        "security.capability", "system.posix_acl_access",
        "system.posix_acl_default"};

    for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++)
        if (strcmp(name, exact[i]) == 0)
            return true;
    /* user.overlay: of an overlay inside of a user namespace */
    return strncmp(name, "user.", 5) == 0 &&
           strncmp(name, "user.overlay.", 13) != 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct tar_xattr *)a)->name,
                  ((const struct tar_xattr *)b)->name);
}

/* Values of all items, one after the other; then the items point there. */
static int read_values(struct xattrs *xattrs, int fd)
{
    size_t used = 0;

    for (size_t i = 0; i < xattrs->count; i++) {
        char *grown = realloc(xattrs->values, used + XATTR_SIZE_MAX);
        ssize_t size;

        if (!grown)
            return -1;
        xattrs->values = grown;
        size = fgetxattr(fd, xattrs->items[i].name, grown + used,
                         XATTR_SIZE_MAX);
        if (size < 0)
            return -1;
        xattrs->items[i].size = (size_t)size;
        used += (size_t)size;
    }
    used = 0;
    for (size_t i = 0; i < xattrs->count; i++) {
        xattrs->items[i].value = xattrs->values + used;
        used += xattrs->items[i].size;
    }
    return 0;
}

int xattrs_read(struct xattrs *xattrs, int fd)
{
    ssize_t length = flistxattr(fd, NULL, 0);
    size_t names = 0;

    memset(xattrs, 0, sizeof(*xattrs));
    if (length <= 0)
        return length < 0 && errno != ENOTSUP ? -1 : 0;
    xattrs->names = malloc((size_t)length);
    if (!xattrs->names ||
        (length = flistxattr(fd, xattrs->names, (size_t)length)) < 0)
        return -1;
    for (char *name = xattrs->names; name < xattrs->names + length;
         name += strlen(name) + 1)
        names++;
    xattrs->items = calloc(names + 1, sizeof(*xattrs->items));
    if (!xattrs->items)
        return -1;
    for (char *name = xattrs->names; name < xattrs->names + length;
         name += strlen(name) + 1)
        if (is_kept(name))
            xattrs->items[xattrs->count++].name = name;
    qsort(xattrs->items, xattrs->count, sizeof(*xattrs->items), compare);
    return read_values(xattrs, fd);
}

void xattrs_free(struct xattrs *xattrs)
{
    free(xattrs->items);
    free(xattrs->names);
    free(xattrs->values);
    memset(xattrs, 0, sizeof(*xattrs));
}

const struct tar_xattr *xattrs_find(const struct xattrs *xattrs,
                                    const char *name)
{
    for (size_t i = 0; i < xattrs->count; i++)
        if (strcmp(xattrs->items[i].name, name) == 0)
            return &xattrs->items[i];
    return NULL;
}

void xattrs_remove(struct xattrs *xattrs, const char *name)
{
    const struct tar_xattr *found = xattrs_find(xattrs, name);
    size_t index;

    if (!found)
        return;
    index = (size_t)(found - xattrs->items);
    memmove(xattrs->items + index, xattrs->items + index + 1,
            (--xattrs->count - index) * sizeof(*xattrs->items));
}

bool xattrs_equal(const struct xattrs *a, const struct xattrs *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i].name, b->items[i].name) != 0 ||
            a->items[i].size != b->items[i].size ||
            memcmp(a->items[i].value, b->items[i].value,
                   a->items[i].size) != 0)
            return false;
    return true;
}
