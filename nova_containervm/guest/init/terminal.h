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

/* Terminals of containers, and how they get from one process to another. */
#ifndef CVM_TERMINAL_H
#define CVM_TERMINAL_H

#include <stddef.h>
#include <sys/types.h>

/*
 * In a container's mount namespace, in a new session: make a pseudoterminal
 * that belongs to UID, standard files of this process and its controlling
 * terminal, and /dev/console. Its other side goes to SOCKET. 0, or -1 with
 * errno and what failed in STEP.
 */
int terminal_take(int socket, uid_t uid, char *step, size_t size);

/* A socket at PATH for one program to leave a terminal at; -1 with errno. */
int terminal_listen(const char *path);

/* Take the terminal that was left at LISTENER; -1 with errno. */
int terminal_accept(int listener);

/* Receive a file descriptor from SOCKET; -1 with errno. */
int terminal_receive(int socket);

#endif
