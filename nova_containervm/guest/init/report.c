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

#include "report.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "power.h"

bool report_debug;
void (*report_also)(const char *stage, const char *text);
void (*report_instead)(const char *stage, const char *text);

/*
 * One write() a line, so that lines of the container never get in between.
 * The carriage return is ours: the console is in raw mode once the container
 * may write to it.
 */
static void console_line(const char *kind, const char *stage, const char *text)
{
    char line[1200];
    int length = snprintf(line, sizeof(line), "containervm: %s%s%s: %s\r\n",
                          kind, stage ? ": " : "", stage ? stage : "", text);
    if (length >= (int)sizeof(line))
        length = sizeof(line) - 1;
    /* A reason is one line, whatever somebody's error message holds. */
    for (int i = 0; i < length - 2; i++)
        if (line[i] == '\n' || line[i] == '\r')
            line[i] = ' ';
    if (write(STDERR_FILENO, line, length) < 0)
        return; /* nowhere left to say so */
}

void debug(const char *format, ...)
{
    char text[1000], stamp[32];
    struct timespec now;
    va_list args;

    if (!report_debug)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    clock_gettime(CLOCK_BOOTTIME, &now);
    snprintf(stamp, sizeof(stamp), "%ld.%03ld", (long)now.tv_sec,
             now.tv_nsec / 1000000);
    console_line("debug", stamp, text);
}

void warn(const char *stage, const char *format, ...)
{
    char text[1000];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    console_line("warning", stage, text);
}

void report_failure(const char *stage, const char *text)
{
    console_line("failed", stage, text);
    channel_failed(stage, text);
    if (report_also)
        report_also(stage, text);
}

static void __attribute__((noreturn)) end(const char *stage,
                                          const char *text)
{
    if (report_instead)
        report_instead(stage, text);
    report_failure(stage, text);
    power_off();
}

void fail(const char *stage, const char *format, ...)
{
    char text[1000];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    end(stage, text);
}

void fail_errno(const char *stage, const char *format, ...)
{
    char text[1000];
    int error = errno;
    va_list args;

    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (length < (int)sizeof(text))
        snprintf(text + length, sizeof(text) - length, ": %s",
                 strerror(error));
    end(stage, text);
}

/*
 * PID 1 that dies takes the kernel with it, with a screenful of registers.
 * Only async-signal-safe calls here, and no clean-up: memory is not to be
 * trusted any more; the file systems have journals.
 */
static void on_crash(int number)
{
    static const char head[] = "containervm: failed: init: crashed, signal ";
    char line[80];
    size_t length = sizeof(head) - 1;

    memcpy(line, head, length);
    line[length++] = (char)('0' + number / 10);
    line[length++] = (char)('0' + number % 10);
    line[length++] = '\r';
    line[length++] = '\n';
    if (write(STDERR_FILENO, line, length) >= 0)
        sync();
    reboot(RB_POWER_OFF);
    _exit(EXIT_OURS);
}

void report_catch_crashes(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    struct sigaction action = {.sa_handler = on_crash,
                               .sa_flags = (int)SA_RESETHAND};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaction(numbers[i], &action, NULL);
}
