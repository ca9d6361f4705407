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

/* Reads the contract from the config drive. */
#ifndef CVM_CONFIGDRIVE_H
#define CVM_CONFIGDRIVE_H

#include "contract.h"

/*
 * Find the drive, copy what the runtime needs into the bundle, and fill
 * CONTRACT. The drive is not mounted any more when this returns: nothing in
 * the VM needs it then, and there are secrets on it. Fails on any error.
 */
void configdrive_read(struct contract *contract);

/* As above, from the files in DIRECTORY. */
void configdrive_contract(struct contract *contract, const char *directory);

#endif
