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

/* Runs the container until it is over for good. */
#ifndef CVM_SUPERVISE_H
#define CVM_SUPERVISE_H

#include "contract.h"

/*
 * SIGNAL_FD: of process_signals(). STARTED is called once, when the container
 * has been started: what can wait until then does not hold up its first line.
 * Returns when the VM is to power off.
 */
void supervise(const struct contract *contract, int signal_fd,
               void (*started)(void));

#endif
