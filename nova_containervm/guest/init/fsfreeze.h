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

/* Holds writes to the disks up, so that the host may copy these. */
#ifndef CVM_FSFREEZE_H
#define CVM_FSFREEZE_H

/*
 * Write out what is in memory, and let nothing be written to any disk until
 * fsfreeze_thaw(). Returns the number of file systems frozen; shares cannot
 * be, they are only written out. -1 with errno, and nothing is frozen.
 */
int fsfreeze_freeze(void);

/* Returns the number of file systems thawed. */
int fsfreeze_thaw(void);

#endif
