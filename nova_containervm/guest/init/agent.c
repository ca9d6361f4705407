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

#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent_commands.h"
#include "channel.h"
#include "clock.h"
#include "jsonread.h"
#include "process.h"
#include "report.h"
#include "text.h"

#define PORT "org.qemu.guest_agent.0"
#define WAIT_MS 3000

/* How often to look whether the host has opened its end again. */
#define CLOSED_MS 1000

/* A host that does not read is none that waits for an answer. */
#define WRITE_MS 5000

/* Clients send it to end whatever somebody else has begun to send. */
#define RESET '\xff'

struct agent {
    int fd;
    char line[4096];
    size_t length;
    bool overflow; /* the line has not had room */
};

static void put(int fd, const char *text, size_t length)
{
    while (length) {
        ssize_t done = write(fd, text, length);
        if (done > 0) {
            text += done;
            length -= (size_t)done;
        } else if (done < 0 && errno == EAGAIN) {
            struct pollfd poller = {.fd = fd, .events = POLLOUT};
            if (poll(&poller, 1, WRITE_MS) <= 0)
                return;
        } else if (errno != EINTR) {
            return;
        }
    }
}

static void handle_line(struct agent *agent)
{
    char answer[2048];

    if (agent->overflow)
        snprintf(answer, sizeof(answer), "%s",
                 AGENT_ERROR("GenericError", "the request is too long"));
    else if (agent->length)
        agent_answer(agent->line, agent->length, answer, sizeof(answer));
    else
        answer[0] = '\0';
    put(agent->fd, answer, strlen(answer));
    agent->length = 0;
    agent->overflow = false;
}

/* Whether there was any. */
static bool handle_input(struct agent *agent)
{
    char input[512];
    ssize_t got;
    bool any = false;

    while ((got = read(agent->fd, input, sizeof(input))) > 0) {
        any = true;
        for (ssize_t i = 0; i < got; i++) {
            if (input[i] == RESET) {
                agent->length = 0;
                agent->overflow = false;
            } else if (input[i] == '\n') {
                handle_line(agent);
            } else if (agent->length == sizeof(agent->line)) {
                agent->overflow = true;
            } else {
                agent->line[agent->length++] = input[i];
            }
        }
    }
    return any;
}

static void run(struct agent *agent)
{
    for (;;) {
        struct pollfd poller = {.fd = agent->fd, .events = POLLIN};

        poll(&poller, 1, agent_commands_timeout());
        agent_commands_tick();
        /* A port that nobody has open on the host is readable, too. */
        if (!handle_input(agent) && poller.revents & (POLLHUP | POLLERR))
            clock_sleep_ms(CLOSED_MS); /* which poll() would not wait for */
    }
}

void agent_start(void)
{
    struct agent agent = {0};
    long long deadline = clock_ms() + WAIT_MS;

    /*
     * Not in PID 1, which may come to wait for a file system: who would thaw
     * it then?
     */
    if (fork() != 0)
        return;
    process_reset_signals();
    syscall(SYS_close_range, 3u, ~0u, 0u);
    text_write_file("/proc/self/oom_score_adj", "-1000");
    while ((agent.fd = channel_port(PORT)) < 0) {
        if (clock_ms() > deadline)
            _exit(0);
        clock_sleep_ms(20);
    }
    run(&agent);
}
