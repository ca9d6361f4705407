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

/* Writes the members of a layer, one after the other. */
#ifndef CVM_LAYER_H
#define CVM_LAYER_H

#include <limits.h>

#include "hardlinks.h"
#include "tar.h"
#include "xattrs.h"

/* Names that begin so say what an upper layer does to a lower one. */
#define LAYER_WHITEOUT ".wh."

struct layer {
    struct tar *tar;
    /* Of what is being written, without a slash at the start; where a failure
     * happened it stays. */
    char path[PATH_MAX];
    size_t length;
    struct hardlinks links;
    char *chunk;
    /* What went wrong, and with which file. */
    char *error;
    size_t error_size;
};

/* 0, or -1 with an error. */
int layer_open(struct layer *layer, struct tar *tar, char *error,
               size_t error_size);
void layer_close(struct layer *layer);

/* Go on to NAME in the directory of the path; back to a path so long. */
int layer_enter(struct layer *layer, const char *name);
void layer_leave(struct layer *layer, size_t length);

/* Each of these: 0, or -1 with an error. */

/* The directory that is the first LENGTH bytes of the path. */
int layer_directory(struct layer *layer, size_t length,
                    const struct stat *info, const struct xattrs *xattrs);
/* Anything else: NAME in PARENT. Two names of the file that IDENTITY tells
 * are two names in the layer, too. A socket is left out. */
int layer_file(struct layer *layer, int parent, const char *name,
               const struct stat *identity);
/* An empty member PREFIX + NAME, which says something about others. */
int layer_mark(struct layer *layer, const char *prefix, const char *name);

/* What errno says of the file at the path. Always -1. */
int layer_failed(struct layer *layer, const char *what);

#endif
