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

/*
 * Runs the parts of the guest init that make layers, and its guest agent, on
 * this host; for test_layer.py and test_agent.py.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "changes.h"
#include "fsfreeze.h"
#include "hotplug.h"
#include "jsonread.h"
#include "report.h"

/* What this host is to be spared. */

static int frozen;

int fsfreeze_freeze(void)
{
    return frozen = 2;
}

int fsfreeze_thaw(void)
{
    int count = frozen;

    frozen = 0;
    return count;
}

int kill(pid_t pid, int number)
{
    printf("kill %d %d\n", (int)pid, number);
    return 0;
}

int clock_settime(clockid_t clock, const struct timespec *time)
{
    printf("clock %d %lld.%09ld\n", (int)clock, (long long)time->tv_sec,
           time->tv_nsec);
    return 0;
}

int hotplug_nic(const struct nic *nic, unsigned number, char *error,
                size_t size)
{
    printf("nic %u %s %u [%s] [%s] %d%d\n", number, nic->mac, nic->mtu,
           nic->addrs, nic->routes, nic->dhcp4, nic->dhcp6);
    snprintf(error, size, "no \"such\"\n\\");
    return number == 9 ? -1 : 0;
}

void debug(const char *format, ...)
{
    (void)format;
}

void warn(const char *stage, const char *format, ...)
{
    (void)stage;
    (void)format;
}

static int to_stdout(void *context, const void *data, size_t length)
{
    (void)context;
    return fwrite(data, 1, length, stdout) == length ? 0 : -1;
}

static int open_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY);

    if (fd < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

/* changes UPPER MERGED LOWER [CAPABILITY...] */
static int run_changes(char **arguments)
{
    struct changes changes = {
        .upper = open_directory(arguments[0]),
        .merged = open_directory(arguments[1]),
        .lower = open_directory(arguments[2]),
        .overlay = getenv("OVERLAY"), .file_caps = arguments + 3};
    struct tar counted = {0}, tar = {.sink = to_stdout};

    if (changes_write(&changes, &counted) < 0 ||
        changes_write(&changes, &tar) < 0) {
        printf("%s\n", changes.error);
        return 1;
    }
    close(changes.upper);
    close(changes.merged);
    close(changes.lower);
    return counted.length == tar.length ? 0 : 2;
}

/* Each line of the input is a request. */
static int run_agent(void)
{
    char *line = NULL, answer[2048];
    size_t size = 0;
    ssize_t length;

    while ((length = getline(&line, &size, stdin)) > 0) {
        /* Exactly as large as the content, for the sanitizer to watch. */
        char *exact = malloc((size_t)length);
        memcpy(exact, line, (size_t)length - 1);
        agent_answer(exact, (size_t)length - 1, answer, sizeof(answer));
        fputs(answer, stdout);
        free(exact);
    }
    free(line);
    return 0;
}

/* Random changes of the input, as requests: none must do harm. */
static int run_fuzz(const char *seed, const char *rounds)
{
    char text[2048], answer[2048];
    size_t length = fread(text, 1, sizeof(text), stdin);

    srand((unsigned)atoi(seed));
    for (int round = 0; round < atoi(rounds); round++) {
        size_t cut = (size_t)rand() % (length + 1);
        char *exact = malloc(cut + 1);
        memcpy(exact, text, cut);
        for (int i = rand() % 4; i > 0 && cut; i--)
            exact[(size_t)rand() % cut] = (char)rand();
        exact = realloc(exact, cut ? cut : 1);
        agent_answer(exact, cut, answer, sizeof(answer));
        free(exact);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 5 && strcmp(argv[1], "changes") == 0)
        return run_changes(argv + 2);
    if (argc == 2 && strcmp(argv[1], "agent") == 0)
        return run_agent();
    if (argc == 4 && strcmp(argv[1], "fuzz") == 0)
        return run_fuzz(argv[2], argv[3]);
    return 3;
}
