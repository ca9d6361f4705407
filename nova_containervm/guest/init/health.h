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

/* Runs the container's health check, and reports what comes of it. */
#ifndef CVM_HEALTH_H
#define CVM_HEALTH_H

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#include "contract.h"

/* The container CONTRACT has started, with PID as its first process. */
void health_begin(const struct contract *contract, pid_t pid);

/* It has ended. */
void health_end(void);

/* clock_ms() at which health_work() has something to do; 0: never. */
long long health_deadline(void);

/* What to wait for; fd -1 for nothing. */
void health_prepare(struct pollfd *poll);

/* Do what is due: start a check, take its output, kill one that takes too
 * long. */
void health_work(void);

/* Whether PID, which has ended with STATUS, was a check. */
bool health_reaped(pid_t pid, int status);

#endif
