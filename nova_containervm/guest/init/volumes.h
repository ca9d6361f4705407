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

/* Volumes: disks that the container sees as directories. */
#ifndef CVM_VOLUMES_H
#define CVM_VOLUMES_H

#include "contract.h"

/*
 * Mount the volumes of CONTRACT below VOLUMES_DIR. An empty one gets a file
 * system, and what the image has at its path. Waits for one that is not
 * attached, up to the contract's limit; fails on any error.
 */
void volumes_mount(const struct contract *contract);

/* Directory that the volume is mounted on, into PATH. */
void volumes_directory(const struct volume *volume, char *path, size_t size);

void volumes_unmount(void);

#endif
