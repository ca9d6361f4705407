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

/* Copies what is in a directory, with everything that files have. */
#ifndef CVM_COPYTREE_H
#define CVM_COPYTREE_H

#include <stddef.h>

/*
 * Copy all that is in the directory FROM into the empty directory TO, and
 * give TO the owner, mode, times and attributes of FROM. Hard links among
 * the files stay such; sockets are left out. 0, or -1 with errno and the
 * path below FROM in WHERE.
 */
int copytree(int from, int to, char *where, size_t size);

/* Remove all that is in DIRECTORY. 0, or -1 with errno. */
int copytree_clear(int directory);

#endif
