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

#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "report.h"
#include "text.h"

#define LIST "/etc/containervm/modules"
#define DIRECTORY "/lib/modules"

static void load(const char *name)
{
    char path[300];
    int fd;

    snprintf(path, sizeof(path), DIRECTORY "/%s", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_errno("modules", "%s", path);
    /*
     * EEXIST: another group has loaded it. ENODEV: the module drives
     * something this CPU or machine lacks (crc32c_intel without SSE4.2;
     * EOPNOTSUPP: ptp_kvm without KVM), and there is another that does the
     * same, or whoever needs it will say so.
     */
    if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST &&
        errno != ENODEV && errno != EOPNOTSUPP)
        fail_errno("modules", "cannot load %s", name);
    close(fd);
    debug("module %s", name);
}

void modules_load(const char *group)
{
    size_t length;
    char *list = text_read_whole(LIST, 1 << 20, &length);
    char *save = NULL;

    if (!list)
        fail_errno("modules", "%s", LIST);
    for (char *line = strtok_r(list, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        char *space = strchr(line, ' ');
        if (!space)
            continue;
        *space = '\0';
        if (strcmp(line, group) == 0)
            load(space + 1);
    }
    free(list);
}

void modules_finish(void)
{
    if (text_write_file("/proc/sys/kernel/modules_disabled", "1") < 0)
        debug("modules_disabled: %s", strerror(errno));
}
