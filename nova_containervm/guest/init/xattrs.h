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

/* Extended attributes of a file, as far as an image keeps them. */
#ifndef CVM_XATTRS_H
#define CVM_XATTRS_H

#include <stdbool.h>

#include "tar.h"

struct xattrs {
    struct tar_xattr *items; /* sorted by name */
    size_t count;
    char *names; /* what the items point into */
    char *values;
};

/*
 * Those of the open file FD: the user's, capabilities and ACLs, without what
 * overlay file systems keep there. 0, or -1 with errno.
 */
int xattrs_read(struct xattrs *xattrs, int fd);
void xattrs_free(struct xattrs *xattrs);

/* The one called NAME, or NULL. */
const struct tar_xattr *xattrs_find(const struct xattrs *xattrs,
                                    const char *name);
void xattrs_remove(struct xattrs *xattrs, const char *name);
bool xattrs_equal(const struct xattrs *a, const struct xattrs *b);

#endif
