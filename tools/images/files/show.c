/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may
 * not use this file except in compliance with the License. You may obtain
 * a copy of the License at
 *
 *     https://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 * WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 * License for the specific language governing permissions and limitations
 * under the License.
 *
 * Prints its arguments, environment, directory and user, one a line; then
 * waits for a signal, prints its number, and ends with status 0. With the
 * arguments "exit N" it ends at once with status N.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
    char directory[4096];
    sigset_t set;
    int i, number = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (i = 0; i < argc; i++)
        printf("arg %d: %s\n", i, argv[i]);
    for (i = 0; environ[i]; i++)
        printf("env: %s\n", environ[i]);
    printf("uid: %u gid: %u\n", (unsigned)getuid(), (unsigned)getgid());
    if (getcwd(directory, sizeof directory))
        printf("cwd: %s\n", directory);
    printf("pid: %d\n", (int)getpid());
    if (argc == 3 && strcmp(argv[1], "exit") == 0)
        return atoi(argv[2]);
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    printf("waiting\n");
    sigwait(&set, &number);
    printf("signal: %d\n", number);
    return 0;
}
