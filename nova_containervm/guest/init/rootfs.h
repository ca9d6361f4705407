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

/* The container's root file system, below BUNDLE_DIR. */
#ifndef CVM_ROOTFS_H
#define CVM_ROOTFS_H

#include "contract.h"

/* Mount it as CONTRACT says, ready for a runtime. Fails on any error. */
void rootfs_mount(const struct contract *contract);

/* Mount the image's files alone on TARGET: read-only unless the contract's
 * options say otherwise. Fails on any error. */
void rootfs_mount_image(const struct contract *contract, const char *target);

/* Unmount what rootfs_mount() has mounted, as far as possible. */
void rootfs_unmount(void);

#endif
