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

/*
 * What a server has changed in its image, as the layer of a container image:
 * a tar archive with whiteouts (OCI image-spec, layer.md).
 *
 * The upper directory of an overlay says what has changed; what it has become
 * is read from the overlay itself, for an upper directory may lack data and
 * directories that overlayfs only refers to (metacopy, redirect_dir).
 */
#ifndef CVM_CHANGES_H
#define CVM_CHANGES_H

#include <stdbool.h>

#include "tar.h"

struct changes {
    int upper;  /* the upper directory */
    int merged; /* the overlay */
    int lower;  /* the image */
    /* Of overlayfs' own attributes: "trusted.overlay." */
    const char *overlay;
    /*
     * "<hex> <path>", NULL-terminated: capabilities of the image's files that
     * its transport does not carry. The init has set them, so a file that
     * differs in nothing else has not been changed.
     */
    char **file_caps;
    bool everything; /* all that the overlay shows, not only the changes */
    /* What went wrong, and with which file. */
    char error[512];
};

/*
 * Write the layer to TAR; with no sink, count its bytes. Both times the same
 * number, as long as nobody changes the files. 0, or -1 with an error.
 */
int changes_write(struct changes *changes, struct tar *tar);

#endif
