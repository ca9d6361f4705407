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

#include "fsfreeze.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "report.h"
#include "text.h"

#define MAX_FROZEN 64

/* Their root directories, in the order in which they were frozen. */
static int frozen[MAX_FROZEN];
static int frozen_count;

/*
 * The mount point of a line of mountinfo (proc(5)) that is on a disk, or
 * NULL; LINE is changed.
 */
static char *mount_point(char *line)
{
    char *source = strstr(line, " - ");
    char *point = line;

    for (int field = 0; field < 4 && point; field++)
        if ((point = strchr(point, ' ')))
            point++;
    if (!source || !point || !(source = strchr(source + 3, ' ')) ||
        strncmp(source + 1, "/dev/", 5) != 0)
        return NULL;
    point[strcspn(point, " ")] = '\0';
    return point;
}

/* 0, also for one that needs no freezing; -1 with errno. */
static int freeze(const char *point)
{
    int fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return 0; /* bound over a file, or covered by another mount */
    if (frozen_count < MAX_FROZEN && ioctl(fd, FIFREEZE, 0) == 0) {
        frozen[frozen_count++] = fd;
        debug("%s is frozen", point);
        return 0;
    }
    int error = frozen_count < MAX_FROZEN ? errno : EMFILE;
    close(fd);
    errno = error;
    /* Busy: frozen already, for it is mounted twice. */
    return error == EBUSY || error == EOPNOTSUPP ? 0 : -1;
}

int fsfreeze_freeze(void)
{
    static char mounts[64 * 1024];
    ssize_t length = text_read_file("/proc/self/mountinfo", mounts,
                                    sizeof(mounts));
    char *end = mounts + length;
    int result = 0;

    if (length < 0)
        return -1;
    /* What is written out now does not have to be while all is held up. */
    sync();
    /* The last one mounted goes first: it may lie on another. */
    while (end > mounts && result == 0) {
        char *point;

        *--end = '\0';
        while (end > mounts && end[-1] != '\n')
            end--;
        if ((point = mount_point(end)))
            result = freeze(point);
    }
    int error = errno;
    if (result < 0)
        fsfreeze_thaw();
    errno = error;
    return result < 0 ? -1 : frozen_count;
}

int fsfreeze_thaw(void)
{
    int count = 0;

    while (frozen_count) {
        int fd = frozen[--frozen_count];
        if (ioctl(fd, FITHAW, 0) == 0)
            count++;
        close(fd);
    }
    return count;
}
