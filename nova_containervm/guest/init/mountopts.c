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

#include "mountopts.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

static const struct {
    const char *name;
    unsigned long set;
    unsigned long clear;
} flag_options[] = {
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0},
    {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},
    {"exec", 0, MS_NOEXEC},
    {"noatime", MS_NOATIME, 0},
    {"nodiratime", MS_NODIRATIME, 0},
    {"relatime", MS_RELATIME, 0},
    {"strictatime", MS_STRICTATIME, 0},
    {"sync", MS_SYNCHRONOUS, 0},
    {"dirsync", MS_DIRSYNC, 0},
    {"defaults", 0, 0},
};

int mountopts_parse(const char *options, unsigned long *flags, char *data,
                    size_t size)
{
    size_t used = 0;

    *flags = 0;
    data[0] = '\0';
    while (*options) {
        size_t length = strcspn(options, ",");
        size_t i, count = sizeof(flag_options) / sizeof(flag_options[0]);

        for (i = 0; i < count; i++)
            if (strlen(flag_options[i].name) == length &&
                memcmp(flag_options[i].name, options, length) == 0)
                break;
        if (i < count) {
            *flags = (*flags | flag_options[i].set) & ~flag_options[i].clear;
        } else if (length) {
            if (used + length + 2 > size)
                return -1;
            if (used)
                data[used++] = ',';
            memcpy(data + used, options, length);
            used += length;
            data[used] = '\0';
        }
        options += length;
        if (*options)
            options++;
    }
    return 0;
}
