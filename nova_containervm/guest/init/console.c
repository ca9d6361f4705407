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
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "clock.h"
#include "report.h"

/* A console nobody reads (a full pipe on the host) is given up on. */
#define STUCK_MS 5000

/* What a program finds before anybody says otherwise; a serial line does not
 * tell how large the window at its other end is. */
#define ROWS 24
#define COLUMNS 80

static int console_fd = -1;
static int source_fd = -1;   /* a pipe, or the other side of a terminal */
static int terminal_fd = -1; /* the container's side, if it has one */

static char buffer[32768];
static size_t buffer_start, buffer_end;

static char last_line[512];
static bool last_line_open; /* more of it may come */

/* What was typed at the console; for the terminal. */
static char input[1024];
static size_t input_start, input_end;

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

static void close_source(void)
{
    if (source_fd >= 0)
        close(source_fd);
    if (terminal_fd >= 0)
        close(terminal_fd);
    source_fd = terminal_fd = -1;
    input_start = input_end = 0;
}

int console_pipe(uid_t uid, gid_t gid)
{
    int ends[2];

    close_source();
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
    source_fd = ends[0];
    return ends[1];
}

void console_terminal(int master)
{
    struct winsize size = {.ws_row = ROWS, .ws_col = COLUMNS};

    close_source();
    ioctl(master, TIOCSWINSZ, &size);
    fcntl(master, F_SETFL, O_NONBLOCK);
    /* Held open: a container may close its terminal and open it again, as
     * systemd does. */
    terminal_fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    source_fd = master;
}

void console_discard(void)
{
    close_source();
}

void console_prepare(struct pollfd polls[CONSOLE_POLLS])
{
    bool full = buffer_start < buffer_end;
    bool typed = input_start < input_end;
    short source = 0, console = 0;

    /* One at a time: a slow console then stops the pipe, and that the
     * container, instead of losing output. */
    if (full)
        console |= POLLOUT;
    else
        source |= POLLIN;
    if (typed)
        source |= POLLOUT;
    else if (terminal_fd >= 0)
        console |= POLLIN;
    polls[0] = (struct pollfd){.fd = source ? source_fd : -1,
                               .events = source};
    polls[1] = (struct pollfd){.fd = console ? console_fd : -1,
                               .events = console};
}

/* Keep the last line of LENGTH bytes at TEXT that are passed on. */
static void remember(const char *text, size_t length)
{
    const char *end = text + length, *start;
    bool open = length && end[-1] != '\n';
    size_t used;

    if (length && !open)
        end--;
    for (start = end; start > text && start[-1] != '\n'; start--)
        ;
    /* It may have begun in an earlier piece. */
    used = start == text && last_line_open ? strlen(last_line) : 0;
    length = (size_t)(end - start);
    if (length > sizeof(last_line) - 1 - used)
        length = sizeof(last_line) - 1 - used;
    memcpy(last_line + used, start, length);
    last_line[used + length] = '\0';
    last_line_open = open;
}

const char *console_last_line(void)
{
    return last_line;
}

/* Returns false at the end of the input. */
static bool fill(void)
{
    ssize_t got = read(source_fd, buffer, sizeof(buffer));

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0) {
        close_source();
        return false;
    }
    remember(buffer, (size_t)got);
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

/* Pass on what was typed. */
static void take_input(void)
{
    ssize_t moved;

    if (input_start == input_end) {
        moved = read(console_fd, input, sizeof(input));
        input_start = 0;
        input_end = moved > 0 ? (size_t)moved : 0;
    }
    if (input_start == input_end)
        return;
    moved = write(source_fd, input + input_start, input_end - input_start);
    if (moved > 0)
        input_start += (size_t)moved;
    else if (moved < 0 && errno != EAGAIN && errno != EINTR)
        input_start = input_end;
}

void console_handle(const struct pollfd polls[CONSOLE_POLLS])
{
    if (polls[0].fd >= 0 && polls[0].events & POLLIN && polls[0].revents)
        fill();
    if (buffer_start < buffer_end)
        flush();
    if (terminal_fd >= 0 && console_fd >= 0 &&
        (polls[0].revents & POLLOUT || polls[1].revents & POLLIN))
        take_input();
}

void console_drain(void)
{
    long long deadline = clock_ms() + STUCK_MS;

    /* Nobody reads any more what was typed. */
    if (terminal_fd >= 0)
        close(terminal_fd);
    terminal_fd = -1;
    input_start = input_end = 0;
    while (source_fd >= 0 || buffer_start < buffer_end) {
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
