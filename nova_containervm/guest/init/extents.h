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

/* Where a file has data, and where holes. */
#ifndef CVM_EXTENTS_H
#define CVM_EXTENTS_H

#include "tar.h"

/*
 * The parts of the open file FD that are data, for free(). EXTENTS is NULL if
 * it has next to no holes, or its file system does not tell. The last one
 * ends where the file ends. 0, or -1 with errno.
 */
int extents_find(int fd, const struct stat *info,
                 struct tar_extent **extents, size_t *count);

#endif
