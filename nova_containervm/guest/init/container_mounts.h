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

/* The mounts and devices of a container, as docker makes them. The steps
 * return 0, or -1 with errno and what failed in STEP. */
#ifndef CVM_CONTAINER_MOUNTS_H
#define CVM_CONTAINER_MOUNTS_H

#include <stddef.h>

#include "contract.h"

/*
 * In a new mount namespace: make ROOT the root directory, with /proc, /dev,
 * /sys, the tmpfs mounts of CONTRACT and the files of ETC_DIR in it.
 */
int container_mounts_enter(const struct contract *contract, const char *root,
                           char *step, size_t size);

/* Then, as the last thing that needs mount(): docker's masked and read-only
 * paths unless privileged, and the root itself read-only if it is to be. */
int container_mounts_protect(const struct contract *contract, char *step,
                             size_t size);

#endif
