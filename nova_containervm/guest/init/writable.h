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

/* The server's own disk: grown to its real size and mounted. */
#ifndef CVM_WRITABLE_H
#define CVM_WRITABLE_H

/* Mount the ext4 file system on DEVICE, or if that is NULL the one labelled
 * containervm-rw, on WRITABLE_DIR, after growing it and its partition to the
 * end of the disk. Fails on any error. */
void writable_mount(const char *device);

#endif
