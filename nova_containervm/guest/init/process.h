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

/* Starts helper programs. */
#ifndef CVM_PROCESS_H
#define CVM_PROCESS_H

#include <sys/types.h>

/*
 * Block the signals that the init reads from a file descriptor, and ignore
 * SIGPIPE. Returns that file descriptor. Children get back the defaults.
 */
int process_signals(void);

/* In a child: empty signal mask, default dispositions. */
void process_reset_signals(void);

/* Add VARIABLE ("NAME=value", kept as it is) to the environment of programs
 * that are started from now on. */
void process_environment(char *variable);

/*
 * Start argv[0] in a session of its own, with /dev/null as standard input
 * and OUTPUT (or /dev/null if -1) as output. Its pid, or -1 with errno.
 */
pid_t process_spawn(char *const argv[], int output);

/* As above, and wait for its end: its wait status, or -1 with errno. */
int process_run(char *const argv[], int output);

#endif
