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

/* The control group of a container without an OCI runtime, which keeps it
 * from devices that are not its own: the disk of the contract, the channel to
 * the host, the server's raw disk. */
#ifndef CVM_CGROUP_H
#define CVM_CGROUP_H

#include <stdbool.h>

/*
 * Make the group, unless it is there, with docker's device rules; with none
 * if OPEN_DEVICES. Returns a descriptor of it, close-on-exec, or -1 with errno.
 */
int cgroup_open(bool open_devices);

/* Move this process into it. 0, or -1 with errno. */
int cgroup_enter(void);

#endif
