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

/* Starts the container. Each runtime is one file behind this interface. */
#ifndef CVM_RUNTIME_H
#define CVM_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "contract.h"

/* docker's exit codes for a command that cannot be run. */
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

struct started {
    pid_t pid;        /* the container's PID 1, a child of this process */
    int terminal;     /* the other side of its terminal; -1 for none */
    int code;         /* if it did not start: the exit code that stands for it */
    char reason[800]; /* and why, for humans */
};

/*
 * Start the container with OUTPUT as standard output and error, or with a
 * terminal if the contract says so. 0, or -1 with code and reason set.
 */
int runtime_start(const struct contract *contract, int output,
                  struct started *started);

/*
 * Whether the program of the container, which has ended with CODE under the
 * name COMM (/proc/<pid>/comm), never was: its exec() failed after the
 * runtime had let go of it. LAST is its last line of output. If so, CODE is
 * put right, and REASON says why, for humans.
 */
bool runtime_never_ran(const char *comm, const char *last, int *code,
                       char *reason, size_t size);

/*
 * Start the contract's health check in the running CONTAINER, with OUTPUT as
 * standard output and error. 0 and its pid in STARTED, for waitpid(), or -1
 * with code and reason set.
 */
int runtime_check_start(const struct contract *contract, pid_t container,
                        int output, struct started *started);

/*
 * Kill a health check that was started as PID. False if it has not come so
 * far that one could: to be tried again. With FORCE whatever there is of it
 * is killed.
 */
bool runtime_check_kill(const struct contract *contract, pid_t pid,
                        bool force);

/* After the container's end: remove what the runtime keeps about it. */
void runtime_cleanup(const struct contract *contract);

/* The runtimes, for runtime.c. */
int runtime_oci_start(const struct contract *contract, int output,
                      struct started *started);
void runtime_oci_cleanup(const struct contract *contract);
int runtime_oci_check_start(const struct contract *contract, int output,
                            struct started *started);
bool runtime_oci_check_kill(pid_t pid, bool force);
int runtime_chroot_start(const struct contract *contract, int output,
                         struct started *started);
int runtime_chroot_check_start(const struct contract *contract,
                               pid_t container, int output,
                               struct started *started);

#endif
