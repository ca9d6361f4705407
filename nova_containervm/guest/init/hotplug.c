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

#include "hotplug.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dhcp.h"
#include "netlink.h"
#include "network.h"
#include "report.h"

#define STAGE "network"

/* A PCI Express port lets 5 s pass before it turns its slot on. */
#define WAIT_MS 15000

static int answer_fd;

static void say(const char *stage, const char *text)
{
    (void)stage;
    if (write(answer_fd, text, strlen(text)) < 0)
        _exit(2);
    _exit(1);
}

static void configure(const struct nic *nic, unsigned number)
{
    struct network_result result = {0};

    report_instead = say;
    /* It goes after the start of a container that does not need it. */
    if (nic->dhcp4 && !dhcp_is_there())
        fail(STAGE, "there is no DHCP client any more");
    if (netlink_open() < 0)
        fail_errno(STAGE, "netlink");
    network_up_nic(nic, number, WAIT_MS, &result);
    _exit(0);
}

int hotplug_nic(const struct nic *nic, unsigned number, char *error,
                size_t size)
{
    size_t length = 0;
    int fds[2], status;
    ssize_t got;
    pid_t pid;

    error[0] = '\0';
    /* O_CLOEXEC: or a DHCP client would keep it open. */
    if (pipe2(fds, O_CLOEXEC) < 0) {
        snprintf(error, size, "pipe: %s", strerror(errno));
        return -1;
    }
    /* What goes wrong at a start is the end of it; here, of a process. */
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        answer_fd = fds[1];
        configure(nic, number);
    }
    close(fds[1]);
    while (pid > 0 && length + 1 < size &&
           (got = read(fds[0], error + length, size - 1 - length)) != 0) {
        if (got > 0)
            length += (size_t)got;
        else if (errno != EINTR)
            break;
    }
    error[length] = '\0';
    close(fds[0]);
    if (pid < 0) {
        snprintf(error, size, "fork: %s", strerror(errno));
        return -1;
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) {
            snprintf(error, size, "waitpid: %s", strerror(errno));
            return -1;
        }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (!length)
        snprintf(error, size, "status %#x", (unsigned)status);
    return -1;
}
