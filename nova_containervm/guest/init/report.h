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

/* How the init speaks: to the console, and what it does when it cannot go on. */
#ifndef CVM_REPORT_H
#define CVM_REPORT_H

#include <stdbool.h>

/* Exit code that stands for "our fault, not the container's", as docker's. */
#define EXIT_OURS 125

/* Print debug() lines (containervm.debug on the kernel command line). */
extern bool report_debug;

void debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * One line on the console, for what is wrong but can be lived with:
 * "containervm: warning: <stage>: <text>".
 */
void warn(const char *stage, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * The end: "containervm: failed: <stage>: <text>" on the console, the event
 * `failed` on the channel, power-off. fail_errno() appends the text of errno.
 */
void fail(const char *stage, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
void fail_errno(const char *stage, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/* Called by report_failure() with what it reports, if it is set. */
extern void (*report_also)(const char *stage, const char *text);

/* Called by fail() in place of all that, if it is set; it ends the process. */
extern void (*report_instead)(const char *stage, const char *text);

/* The console line and event of fail(), without the end. */
void report_failure(const char *stage, const char *text);

/* Turn a crash of the init itself into a fail(). */
void report_catch_crashes(void);

#endif
