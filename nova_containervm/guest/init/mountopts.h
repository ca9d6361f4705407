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

/* Splits a mount option string into flags and file system data. */
#ifndef CVM_MOUNTOPTS_H
#define CVM_MOUNTOPTS_H

#include <stddef.h>

/*
 * "ro,nodev,cache=loose" -> MS_RDONLY | MS_NODEV, "cache=loose". Returns 0,
 * or -1 if DATA is too small.
 */
int mountopts_parse(const char *options, unsigned long *flags, char *data,
                    size_t size);

#endif
