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

#include "miniinit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "runtime.h"

/* Ends when CHILD does, with its code; by then all others are reaped too, or
 * die with this process's PID namespace. */
static void __attribute__((noreturn)) serve(pid_t child)
{
    sigset_t all;
    int status, number;
    pid_t pid;

    /* Whoever waits for these to close waits for the command, not for us. */
    close_range(3, ~0U, 0);
    sigfillset(&all);
    for (;;) {
        number = sigwaitinfo(&all, NULL);
        if (number > 0 && number != SIGCHLD)
            kill(child, number);
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == child)
                _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                          : WEXITSTATUS(status));
    }
}

void miniinit_split(void)
{
    sigset_t all;
    pid_t child;

    /* Before the fork, so that no signal falls in between. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    child = fork();
    if (child > 0)
        serve(child);
    if (child < 0)
        _exit(EXIT_NOT_EXECUTABLE);
    setsid();
    process_reset_signals();
}

int miniinit_main(int argc, char **argv)
{
    int first = 1;

    if (argc > 1 && strcmp(argv[1], "--") == 0)
        first = 2;
    if (first >= argc) {
        fputs("docker-init: no command\n", stderr);
        return EXIT_NOT_FOUND;
    }
    miniinit_split();
    execvp(argv[first], argv + first);
    int error = errno;
    fprintf(stderr, "exec: \"%s\": %s\n", argv[first], strerror(error));
    return error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}
