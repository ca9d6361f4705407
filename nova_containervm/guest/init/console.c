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

#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "clock.h"
#include "report.h"

/* A console nobody reads (a full pipe on the host) is given up on. */
#define STUCK_MS 5000

static int console_fd = -1;
static int pipe_fd = -1;

static char buffer[32768];
static size_t buffer_start, buffer_end;

void console_open(void)
{
    struct termios mode;

    /* Not the standard files' open file: non-blocking is for this one. */
    console_fd = open("/dev/console",
                      O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (console_fd < 0)
        return; /* a machine without a serial port: output is dropped */
    if (tcgetattr(console_fd, &mode) == 0) {
        cfmakeraw(&mode);
        mode.c_cflag |= CLOCAL;
        tcsetattr(console_fd, TCSANOW, &mode);
    }
}

int console_pipe(uid_t uid, gid_t gid)
{
    int ends[2];

    if (pipe_fd >= 0)
        close(pipe_fd);
    pipe_fd = -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    /* Opening /dev/stdout opens the pipe anew, by its owner and mode. */
    if (fchown(ends[1], uid, gid) < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        errno = error;
        return -1;
    }
    pipe_fd = ends[0];
    return ends[1];
}

void console_discard(void)
{
    if (pipe_fd >= 0)
        close(pipe_fd);
    pipe_fd = -1;
}

void console_prepare(struct pollfd polls[CONSOLE_POLLS])
{
    bool full = buffer_start < buffer_end;

    /* One at a time: a slow console then stops the pipe, and that the
     * container, instead of losing output. */
    polls[0] = (struct pollfd){.fd = full ? -1 : pipe_fd, .events = POLLIN};
    polls[1] =
        (struct pollfd){.fd = full ? console_fd : -1, .events = POLLOUT};
}

/* Returns false at the end of the input. */
static bool fill(void)
{
    ssize_t got = read(pipe_fd, buffer, sizeof(buffer));

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0) {
        close(pipe_fd);
        pipe_fd = -1;
        return false;
    }
    buffer_start = 0;
    buffer_end = console_fd < 0 ? 0 : (size_t)got;
    return true;
}

static bool flush(void)
{
    ssize_t put =
        write(console_fd, buffer + buffer_start, buffer_end - buffer_start);

    if (put > 0)
        buffer_start += (size_t)put;
    else if (put < 0 && errno != EAGAIN && errno != EINTR)
        buffer_start = buffer_end; /* hung up: nobody is there */
    return put > 0;
}

void console_handle(const struct pollfd polls[CONSOLE_POLLS])
{
    if (polls[0].fd >= 0 && polls[0].revents)
        fill();
    if (buffer_start < buffer_end)
        flush();
}

void console_drain(void)
{
    long long deadline = clock_ms() + STUCK_MS;

    while (pipe_fd >= 0 || buffer_start < buffer_end) {
        struct pollfd polls[CONSOLE_POLLS];

        console_prepare(polls);
        /* All writers are dead: a pipe that is empty stays so. */
        if (polls[0].fd >= 0 && poll(polls, 1, 0) <= 0)
            break;
        if (polls[1].fd >= 0)
            poll(polls + 1, 1, 100);
        size_t before = buffer_start;
        console_handle(polls);
        if (buffer_start != before)
            deadline = clock_ms() + STUCK_MS;
        else if (clock_ms() > deadline)
            return;
    }
    /* The driver's buffer comes next, then the chip's. tcdrain() alone
     * could wait for ever. */
    int last = -1, queued;
    while (console_fd >= 0 && ioctl(console_fd, TIOCOUTQ, &queued) == 0 &&
           queued > 0 && clock_ms() <= deadline) {
        if (queued != last)
            deadline = clock_ms() + STUCK_MS;
        last = queued;
        clock_sleep_ms(1);
    }
    if (console_fd >= 0 && clock_ms() <= deadline)
        tcdrain(console_fd);
}
