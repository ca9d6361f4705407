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

/*
 * Export mode: no container is run. What a server has written to its disk is
 * given to the host as a layer, so that nobody but this VM mounts that disk.
 */
#ifndef CVM_EXPORT_H
#define CVM_EXPORT_H

/*
 * The kernel's command line says containervm.export=DIRECTORY: where on the
 * disk the overlay's directories are. The rest is in a contract that the host
 * sends. Ends the VM.
 */
void export_run(const char *directory) __attribute__((noreturn));

#endif
