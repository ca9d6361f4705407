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

/* Mounts ext4, and makes and grows such file systems. All fail, in the STAGE
 * given, on any error. */
#ifndef CVM_EXT4_H
#define CVM_EXT4_H

#include <stdbool.h>

/*
 * Mount DEVICE on the directory TARGET. GROW: to the end of the device, if
 * there is room.
 */
void ext4_mount(const char *stage, const char *device, const char *target,
                unsigned long flags, bool grow);

/* Whether the file system on DEVICE leaves out a good part of it: the device
 * has grown since. */
bool ext4_has_room(const char *stage, const char *device);

/* Make a file system on all of DEVICE; what was there is lost. */
void ext4_make(const char *stage, const char *device);

#endif
