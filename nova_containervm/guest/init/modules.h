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

/* Loads kernel modules by the groups of /etc/containervm/modules. */
#ifndef CVM_MODULES_H
#define CVM_MODULES_H

/* Load all modules of GROUP, in the list's order. Fails on an error. */
void modules_load(const char *group);

/* Have the kernel refuse any more, now that programs from outside are about
 * to run. */
void modules_finish(void);

#endif
