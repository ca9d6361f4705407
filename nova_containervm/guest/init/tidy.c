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

#include "tidy.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

#define LIST "/etc/containervm/boot-only"
#define BUSYBOX "/bin/busybox"

void tidy(bool keep_busybox)
{
    size_t length;
    char *list = text_read_whole(LIST, 1 << 20, &length);
    char *save = NULL;

    for (char *path = list ? strtok_r(list, "\n", &save) : NULL; path;
         path = strtok_r(NULL, "\n", &save))
        unlink(path);
    free(list);
    if (!keep_busybox)
        unlink(BUSYBOX);
}
