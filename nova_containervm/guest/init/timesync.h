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

/* Keeps the VM's clock at the host's time, also after a pause of the VM. */
#ifndef CVM_TIMESYNC_H
#define CVM_TIMESYNC_H

#include "contract.h"

/* Begin. A container that may set the clock itself keeps what it has set: the
 * clock is then only put forward by the time that the VM was paused. */
void timesync_begin(const struct contract *contract);

/* clock_ms() at which timesync_work() is to look at the time; 0: never. */
long long timesync_deadline(void);
void timesync_work(void);

#endif
