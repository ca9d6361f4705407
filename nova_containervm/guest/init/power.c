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

#include "power.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "console.h"
#include "report.h"
#include "rootfs.h"
#include "text.h"
#include "volumes.h"

static int button_fd = -1;

void power_button_open(void)
{
    char path[300], name[64];
    struct dirent *entry;
    DIR *inputs = opendir("/sys/class/input");

    while (inputs && (entry = readdir(inputs))) {
        if (strncmp(entry->d_name, "event", 5) != 0)
            continue;
        snprintf(path, sizeof(path), "/sys/class/input/%s/device/name",
                 entry->d_name);
        if (text_read_line(path, name, sizeof(name)) < 0 ||
            strcmp(name, "Power Button") != 0)
            continue;
        snprintf(path, sizeof(path), "/dev/input/%s", entry->d_name);
        button_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (button_fd >= 0)
            break;
    }
    if (inputs)
        closedir(inputs);
    if (button_fd < 0)
        debug("no power button");
}

int power_button_fd(void)
{
    return button_fd;
}

bool power_button_pressed(void)
{
    struct input_event event;
    bool pressed = false;

    while (button_fd >= 0 &&
           read(button_fd, &event, sizeof(event)) == sizeof(event))
        if (event.type == EV_KEY && event.code == KEY_POWER &&
            event.value == 1)
            pressed = true;
    return pressed;
}

void power_off(void)
{
    console_drain();
    sync();
    volumes_unmount();
    rootfs_unmount();
    debug("power-off");
    /* The console's last word is the container's, not "reboot: Power down". */
    if (!report_debug)
        text_write_file("/proc/sys/kernel/printk", "0");
    /* Returns only if the machine has no way to power off. */
    reboot(RB_POWER_OFF);
    reboot(RB_HALT_SYSTEM);
    for (;;)
        pause();
}
