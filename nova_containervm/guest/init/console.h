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

/* The console: the container's output goes there, byte for byte. */
#ifndef CVM_CONSOLE_H
#define CVM_CONSOLE_H

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

/* Open the console and switch off all its output processing. */
void console_open(void);

/*
 * A new pipe to the console for a container that runs as UID and GID.
 * Returns the end to write to, which the caller closes once the container
 * has it; -1 with errno.
 */
int console_pipe(uid_t uid, gid_t gid);

/*
 * From now on the container has the terminal whose other side MASTER is,
 * instead of a pipe: its output goes to the console, and what comes in there
 * to it.
 */
void console_terminal(int master);

/* What to wait for: fills two entries; unused ones have fd -1. */
#define CONSOLE_POLLS 2
void console_prepare(struct pollfd polls[CONSOLE_POLLS]);
/* Move what can be moved without waiting. */
void console_handle(const struct pollfd polls[CONSOLE_POLLS]);

/* Bring out all there is, once no container writes any more. Bounded: gives
 * up when the console takes nothing for some seconds. */
void console_drain(void);

/* The last line that has gone to the console, its start if it is long; valid
 * until more is moved. */
const char *console_last_line(void);

/* Forget what is in the pipe: a runtime's own words about a failed start,
 * which are in its log too. */
void console_discard(void);

#endif
