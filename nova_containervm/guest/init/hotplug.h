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

/* What comes to the machine while the container runs. */
#ifndef CVM_HOTPLUG_H
#define CVM_HOTPLUG_H

#include "contract.h"

/*
 * Configure an interface that is being attached, as network_up() does at the
 * start; NUMBER is its place among the server's. Waits for the kernel to find
 * it. Returns 0, or -1 with what is wrong in ERROR.
 */
int hotplug_nic(const struct nic *nic, unsigned number, char *error,
                size_t size);

#endif
