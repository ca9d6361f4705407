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

/* Tells by its first bytes what a disk holds. */
#ifndef CVM_SIGNATURE_H
#define CVM_SIGNATURE_H

#include <stddef.h>

/* As much of a disk's start as the known signatures lie in. */
#define SIGNATURE_BYTES 0x11000

/*
 * Name of what starts in BYTES (LENGTH of them): a file system by its name
 * in mount(2) ("ext4" for its ancestors, too), or words for what else is
 * known ("a partition table"). NULL for anything else.
 */
const char *signature_find(const unsigned char *bytes, size_t length);

#endif
