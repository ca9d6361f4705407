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

#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

int process_signals(void)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);  /* Ctrl-Alt-Del, once it is disabled */
    sigaddset(&set, SIGTERM); /* from inside the VM */
    sigprocmask(SIG_SETMASK, &set, NULL);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

void process_reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t set;

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL);
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
}

static char *extra_variable;

void process_environment(char *variable)
{
    extra_variable = variable;
}

pid_t process_spawn(char *const argv[], int output)
{
    char *environment[] = {"PATH=/bin:/sbin", "LC_ALL=C", extra_variable,
                           NULL};
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    setsid();
    process_reset_signals();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (output < 0)
        output = null;
    if (dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        _exit(127);
    execve(argv[0], argv, environment);
    _exit(127);
}

int process_run(char *const argv[], int output)
{
    pid_t pid = process_spawn(argv, output);
    int status;

    if (pid < 0)
        return -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}
