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

/* Where the init keeps its things. */
#ifndef CVM_PATHS_H
#define CVM_PATHS_H

#define RUN_DIR "/run/containervm"
/* OCI bundle: config.json and rootfs. */
#define BUNDLE_DIR RUN_DIR "/bundle"
#define ROOTFS_DIR BUNDLE_DIR "/rootfs"
/* Sources of the bind mounts of config.json: hosts, hostname, resolv.conf. */
#define ETC_DIR RUN_DIR "/etc"
/* The image's files, read-only, below the overlay. */
#define LOWER_DIR RUN_DIR "/lower"
/* Where volumes are mounted, each on a directory named by its id: the sources
 * of their bind mounts in config.json. */
#define VOLUMES_DIR RUN_DIR "/volumes"
/* The server's own disk. */
#define WRITABLE_DIR RUN_DIR "/writable"
#define WRITABLE_LABEL "containervm-rw"
/* Programs that the base image has there, not in the initramfs. */
#define PROGRAMS_DIR WRITABLE_DIR "/programs"
/* What the container has changed: the overlay's upper directory. */
#define UPPER_DIR WRITABLE_DIR "/upper"

#endif
