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

/* A disk that boots by itself, on a host that has no contract for its guest:
 * "nova-containervm-image convert --bootable" makes it. */
#ifndef CVM_BOOTABLE_H
#define CVM_BOOTABLE_H

#include "contract.h"

/*
 * Have the disk's own program make a contract of what Nova says on the config
 * drive, or in the metadata service, and read that. Fails on any error.
 */
void bootable_read(struct contract *contract);

#endif
