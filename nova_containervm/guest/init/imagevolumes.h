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
 * VOLUME of an image: directories that are not part of the overlay, as
 * docker's anonymous volumes are not part of its own. What an overlay cannot
 * do works there (another overlay, above all), and they can be written to
 * when the root file system cannot.
 *
 * They are kept where the overlay would have them: a directory of the upper
 * one that hides what the image has there is all that the overlay has of it,
 * too. So whoever mounts the overlay of a server that is down, for a snapshot
 * of it, finds them in their places. While the server runs, nobody sees a
 * volume through the overlay, for it is covered by the mount of itself.
 */
#ifndef CVM_IMAGEVOLUMES_H
#define CVM_IMAGEVOLUMES_H

#include <stdbool.h>
#include <stddef.h>

#include "contract.h"

/*
 * With the overlay mounted: give each of the image's volumes of CONTRACT its
 * directory, with what the image has there. Returns whether the overlay has
 * to be mounted anew. Fails on any error.
 */
bool imagevolumes_prepare(const struct contract *contract);

/* Whether VOLUME is one of the image's. */
bool imagevolumes_has(const struct volume *volume);

/* Mount it on TARGET. Fails on any error. */
void imagevolumes_mount(const struct contract *contract,
                        const struct volume *volume, const char *target);

#endif
