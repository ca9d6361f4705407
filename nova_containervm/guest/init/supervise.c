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

#include "supervise.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "clock.h"
#include "console.h"
#include "health.h"
#include "power.h"
#include "report.h"
#include "restart.h"
#include "runtime.h"
#include "text.h"
#include "timesync.h"

struct supervisor {
    const struct contract *contract;
    int signal_fd;
    pid_t pid;            /* of the container, 0 if none runs */
    int status;           /* wait status of the last one */
    char comm[32];        /* and its name at the end */
    bool ended;           /* status is news */
    bool stopping;        /* asked to stop: no restart */
    long long kill_at;    /* clock_ms() of SIGKILL, 0 if not to come */
    long long started_at;
    unsigned long oom_kills; /* kernel's count at the start */
};

/* Processes that the kernel has killed for want of memory. The VM has one
 * container: all of them are its own. */
static unsigned long count_oom_kills(void)
{
    char text[16384];
    const char *at;

    if (text_read_file("/proc/vmstat", text, sizeof(text)) < 0)
        return 0;
    at = strstr(text, "\noom_kill ");
    return at ? strtoul(at + strlen("\noom_kill "), NULL, 10) : 0;
}

static void reap(struct supervisor *self)
{
    siginfo_t info = {0};
    char path[64];
    int status;

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid > 0) {
        pid_t pid = info.si_pid;
        bool container = pid == self->pid;

        /* A dead process has its name until it is reaped. */
        snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
        if (container &&
            text_read_line(path, self->comm, sizeof(self->comm)) < 0)
            self->comm[0] = '\0';
        if (waitpid(pid, &status, 0) != pid)
            return;
        if (container) {
            self->pid = 0;
            self->status = status;
            self->ended = true;
        } else {
            health_reaped(pid, status);
        }
        info.si_pid = 0;
    }
}

static void request_stop(struct supervisor *self)
{
    if (self->stopping)
        return;
    self->stopping = true;
    if (!self->pid)
        return;
    debug("stop: signal %d to %d", self->contract->stop_signal,
          (int)self->pid);
    kill(self->pid, self->contract->stop_signal);
    self->kill_at = clock_ms() + self->contract->stop_timeout * 1000LL;
}

static void handle_signals(struct supervisor *self)
{
    struct signalfd_siginfo info;

    while (read(self->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        request_stop(self);
    }
    reap(self);
}

/* Of two times, 0 for "never". */
static long long earlier(long long a, long long b)
{
    return !a || (b && b < a) ? b : a;
}

/* Wait for one thing to happen, until DEADLINE (clock_ms(); 0: none). */
static void wait_event(struct supervisor *self, long long deadline)
{
    struct pollfd polls[3 + CONSOLE_POLLS];
    int timeout = -1;

    deadline = earlier(deadline, self->kill_at);
    deadline = earlier(deadline, health_deadline());
    deadline = earlier(deadline, timesync_deadline());
    if (deadline) {
        long long left = deadline - clock_ms();
        timeout = left < 0 ? 0 : (int)left;
    }
    polls[0] = (struct pollfd){.fd = self->signal_fd, .events = POLLIN};
    polls[1] = (struct pollfd){.fd = power_button_fd(), .events = POLLIN};
    health_prepare(&polls[2]);
    console_prepare(polls + 3);
    if (poll(polls, 3 + CONSOLE_POLLS, timeout) < 0)
        return;
    console_handle(polls + 3);
    health_work();
    timesync_work();
    if (polls[1].revents && power_button_pressed())
        request_stop(self);
    handle_signals(self);
    if (self->kill_at && self->pid && clock_ms() >= self->kill_at) {
        debug("stop: SIGKILL");
        kill(self->pid, SIGKILL);
        self->kill_at = 0;
    }
}

/* Start the container; false, with CODE, if it cannot be started. */
static bool start(struct supervisor *self, int *code)
{
    struct started started;
    int output = console_pipe(self->contract->uid, self->contract->gid);

    if (output < 0)
        fail_errno("run", "pipe");
    self->oom_kills = count_oom_kills();
    self->started_at = clock_ms();
    self->ended = false;
    bool good = runtime_start(self->contract, output, &started) == 0;
    close(output);
    if (good) {
        if (started.terminal >= 0)
            console_terminal(started.terminal);
        self->pid = started.pid;
        return true;
    }
    /* Not our failure as a rule: a wrong command. So the line that says
     * why is followed by the event with docker's exit code. */
    console_discard();
    report_failure("run", started.reason);
    *code = started.code;
    return false;
}

/*
 * The end of the container as docker tells it: *CODE, and the signal that
 * ended it if one did.
 */
static void read_status(const struct supervisor *self, int *code,
                        int *signal_number)
{
    char reason[700];

    *signal_number = WIFSIGNALED(self->status) ? WTERMSIG(self->status) : 0;
    *code = *signal_number ? 128 + *signal_number
                           : WEXITSTATUS(self->status);
    /* The runtime's own words about it are on the console already. */
    if (self->contract->runtime != RUNTIME_CHROOT &&
        runtime_never_ran(self->comm, console_last_line(), code, reason,
                          sizeof(reason)))
        channel_failed("run", reason);
}

void supervise(const struct contract *contract, int signal_fd,
               void (*started)(void))
{
    struct supervisor self = {.contract = contract, .signal_fd = signal_fd};
    struct restart_state restart = {0};

    timesync_begin(contract);
    for (;;) {
        int code = 0, signal_number = 0;
        bool oom = false, again = false;

        if (start(&self, &code)) {
            channel_running(restart.count);
            if (started)
                started();
            started = NULL;
            health_begin(contract, self.pid);
            while (!self.ended)
                wait_event(&self, 0);
            health_end();
            self.kill_at = 0;
            console_drain();
            read_status(&self, &code, &signal_number);
            oom = count_oom_kills() > self.oom_kills;
            again = !self.stopping &&
                    restart_wanted(&restart, contract->restart,
                                   contract->restart_max, code,
                                   clock_ms() - self.started_at);
        }
        channel_exited(code, signal_number, oom, !again);
    debug("exit code %d, signal %d, comm %s", code, signal_number, self.comm);
        if (!again)
            return;
        runtime_cleanup(contract);
        channel_restarting(restart.delay_ms, restart.count);
        long long start_at = clock_ms() + restart.delay_ms;
        while (!self.stopping && clock_ms() < start_at)
            wait_event(&self, start_at);
        if (self.stopping) {
            channel_exited(code, signal_number, oom, true);
            return;
        }
    }
}
