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

#include "health.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "clock.h"
#include "health_state.h"
#include "report.h"
#include "runtime.h"

/* Of a check's output, what is reported when it has failed. */
#define OUTPUT_MAX 200

/* After its time a check is tried to be killed so often, and after so long a
 * time with its runtime. */
#define KILL_AGAIN_MS 50
#define KILL_FORCE_MS 30000

static struct {
    const struct contract *contract;
    struct health_state state;
    pid_t container;      /* 0: none runs, or it has no check */
    long long started_at; /* the container */
    long long next_at;    /* the next check, if none runs */

    pid_t check;        /* 0: none runs */
    long long began_at; /* the check */
    bool timed_out;     /* it is to be killed, or has been */
    long long kill_at;  /* 0: it has been */
    int output_fd;
    char output[OUTPUT_MAX + 1];
    size_t output_length;
} self = {.output_fd = -1};

static void close_output(void)
{
    if (self.output_fd >= 0)
        close(self.output_fd);
    self.output_fd = -1;
}

/* Take what has been written, keeping the start of it. */
static void read_output(void)
{
    char block[4096];
    ssize_t got;

    while (self.output_fd >= 0 &&
           (got = read(self.output_fd, block, sizeof(block))) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return;
        size_t room = OUTPUT_MAX - self.output_length;
        size_t length = (size_t)got < room ? (size_t)got : room;
        memcpy(self.output + self.output_length, block, length);
        self.output_length += length;
        self.output[self.output_length] = '\0';
    }
    close_output();
}

static void schedule(void)
{
    long long now = clock_ms();

    self.next_at = now + health_state_interval(
        &self.state, &self.contract->health, now - self.started_at);
}

void health_begin(const struct contract *contract, pid_t pid)
{
    if (!contract->health.command || !contract->health.command[0])
        return;
    self.contract = contract;
    self.state = (struct health_state){0};
    self.container = pid;
    self.started_at = clock_ms();
    schedule();
    channel_health(health_status_name(self.state.status), "");
}

void health_end(void)
{
    /* A check that runs in the container ends with it. */
    self.container = 0;
    self.check = 0;
    close_output();
}

static void finish_check(bool good, const char *why)
{
    bool changed = health_state_update(&self.state, &self.contract->health,
                                       good, self.began_at -
                                                 self.started_at);

    debug("health: %s: %s", why, self.output);
    if (changed)
        channel_health(health_status_name(self.state.status),
                       good ? ""
                       : self.output_length ? self.output : why);
    self.check = 0;
    close_output();
    schedule();
}

static void start_check(void)
{
    struct started started;
    int ends[2];

    self.output_length = 0;
    self.output[0] = '\0';
    self.began_at = clock_ms();
    self.timed_out = false;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        finish_check(false, "pipe");
        return;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    /* The check's user may open /dev/stdout. */
    if (fchown(ends[1], self.contract->uid, self.contract->gid) < 0)
        debug("health: %s", strerror(errno));
    self.output_fd = ends[0];
    int result = runtime_check_start(self.contract, self.container, ends[1],
                                     &started);
    close(ends[1]);
    if (result < 0) {
        finish_check(false, started.reason);
        return;
    }
    self.check = started.pid;
    self.kill_at = self.began_at + self.contract->health.timeout_ms;
}

long long health_deadline(void)
{
    if (!self.container)
        return 0;
    return self.check ? self.kill_at : self.next_at;
}

void health_prepare(struct pollfd *poll)
{
    *poll = (struct pollfd){.fd = self.output_fd, .events = POLLIN};
}

static void kill_check(void)
{
    long long now = clock_ms();
    long long late =
        now - self.began_at - self.contract->health.timeout_ms;

    self.timed_out = true;
    self.kill_at = runtime_check_kill(self.contract, self.check,
                                      late >= KILL_FORCE_MS)
                       ? 0
                       : now + KILL_AGAIN_MS;
}

void health_work(void)
{
    read_output();
    if (!self.container || clock_ms() < health_deadline())
        return;
    if (!self.check)
        start_check();
    else if (self.kill_at)
        kill_check();
}

bool health_reaped(pid_t pid, int status)
{
    char why[80];

    if (!self.check || pid != self.check)
        return false;
    read_output();
    if (self.timed_out)
        snprintf(why, sizeof(why), "took longer than %u ms",
                 self.contract->health.timeout_ms);
    else if (WIFSIGNALED(status))
        snprintf(why, sizeof(why), "killed by signal %d", WTERMSIG(status));
    else
        snprintf(why, sizeof(why), "exit code %d", WEXITSTATUS(status));
    finish_check(!self.timed_out && WIFEXITED(status) &&
                 WEXITSTATUS(status) == 0, why);
    return true;
}
