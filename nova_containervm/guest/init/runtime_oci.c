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

/* The container by an OCI runtime: crun, or runc where an image has it. */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "paths.h"
#include "process.h"
#include "report.h"
#include "terminal.h"
#include "text.h"

#define ID "container"
#define STATE_DIR "/run/oci"
#define LOG RUN_DIR "/runtime.log"
#define PID_FILE RUN_DIR "/container.pid"
#define CHECK_PID_FILE RUN_DIR "/health.pid"
#define SOCKET RUN_DIR "/console.sock"
#define MAX_PID (1 << 22)

static const char *program(const struct contract *contract)
{
    return contract->runtime == RUNTIME_RUNC ? PROGRAMS_DIR "/runc"
                                             : "/bin/crun";
}

/* crun names the command only where it has searched PATH for it. */
#define OPEN_FAILED "open executable: "

/* The message of a line of runc's: time="..." level=error msg="...". */
static const char *logfmt_message(char *line)
{
    char *message = strstr(line, " msg=\""), *out;

    if (!message)
        return line;
    message += strlen(" msg=\"");
    out = message;
    for (char *in = message; *in && *in != '"'; in++) {
        if (*in == '\\' && in[1])
            in++;
        *out++ = *in;
    }
    *out = '\0';
    return message;
}

/*
 * Last line of what the runtime has logged, without the time stamp that crun
 * puts before it ("2026-01-01T00:00:00.000000Z: "). False if there is none.
 */
static bool read_log(char *line, size_t size)
{
    char text[4096], *last;
    const char *start;

    if (text_read_file(LOG, text, sizeof(text)) <= 0)
        return false;
    while ((last = strrchr(text, '\n')) && !last[1])
        *last = '\0';
    last = last ? last + 1 : text;
    start = strstr(last, "Z: ");
    if (start && last[0] >= '0' && last[0] <= '9')
        start += 3;
    else
        start = logfmt_message(last);
    snprintf(line, size, "%.*s", (int)size - 1, start);
    return *line != '\0';
}

/*
 * crun and runc copy themselves into memory and start again, so that what
 * runs in a container cannot write to their file through /proc/<pid>/exe
 * (CVE-2019-5736). Where their file cannot be written to they need not: with
 * this variable set they look whether its mount is read-only. Saves 0.1 of
 * 2 CPU seconds under TCG. If the mount fails, they copy as ever; crun does,
 * too, where files can be sealed (minimal.py: rootfstype).
 */
static void protect(const char *path)
{
    static bool done;

    if (!done && mount(path, path, NULL, MS_BIND, NULL) == 0 &&
        mount(NULL, path, NULL,
              MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV,
              NULL) == 0)
        process_environment("_LIBCONTAINER_CLONED_BINARY=1");
    int fd = done || !report_debug ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (fcntl(fd, F_GET_SEALS) >= 0)
            debug("%s will copy itself", path);
        close(fd);
    }
    done = true;
}

/* As moby's translation of runc's errors (daemon/errors.go). */
static int code_for(const char *reason)
{
    static const struct {
        const char *text;
        int code;
    } known[] = {
        {"not found in $PATH", EXIT_NOT_FOUND},
        {"no such file or directory", EXIT_NOT_FOUND},
        {"permission denied", EXIT_NOT_EXECUTABLE},
        {"is a directory", EXIT_NOT_EXECUTABLE},
        {"not a directory", EXIT_NOT_EXECUTABLE},
        {"exec format error", EXIT_NOT_EXECUTABLE},
        /* crun's word for a directory; the next two are of crun 1.21, which
         * adds "Operation not permitted" to each. */
        {OPEN_FAILED "operation not permitted", EXIT_NOT_EXECUTABLE},
        {"exists but it is not executable", EXIT_NOT_EXECUTABLE},
        {"is not a regular file", EXIT_NOT_EXECUTABLE},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcasestr(reason, known[i].text))
            return known[i].code;
    return EXIT_OURS;
}

/* The runtime could not start the container: say why, naming the command
 * where crun does not. */
static void explain(const struct contract *contract, struct started *started)
{
    char line[700];

    if (!read_log(line, sizeof(line)))
        snprintf(line, sizeof(line), "the runtime gave no reason");
    started->code = code_for(line);
    if (strncmp(line, OPEN_FAILED, strlen(OPEN_FAILED)) == 0)
        snprintf(started->reason, sizeof(started->reason),
                 "exec: \"%.300s\": %.400s", contract->argv[0],
                 line + strlen(OPEN_FAILED));
    else
        snprintf(started->reason, sizeof(started->reason), "%s", line);
}

/* The number in FILE, 0 if there is none. */
static pid_t read_pid(const char *file)
{
    unsigned long pid;
    char text[32];

    if (text_read_line(file, text, sizeof(text)) < 0 ||
        text_to_ulong(text, 10, MAX_PID, &pid) < 0)
        return 0;
    return (pid_t)pid;
}

int runtime_oci_start(const struct contract *contract, int output,
                      struct started *started)
{
    char *argv[] = {(char *)program(contract), "--root", STATE_DIR, "--log",
                    LOG, "run", "--detach", "--bundle", BUNDLE_DIR,
                    "--pid-file", PID_FILE, ID, NULL, NULL, NULL};
    int status, listener = -1;

    unlink(LOG);
    unlink(PID_FILE);
    if (access(argv[0], X_OK) < 0) {
        snprintf(started->reason, sizeof(started->reason),
                 "this base image has no %s", argv[0]);
        started->code = EXIT_OURS;
        return -1;
    }
    if (contract->tty) {
        size_t end = sizeof(argv) / sizeof(argv[0]) - 4;
        argv[end] = "--console-socket";
        argv[end + 1] = SOCKET;
        argv[end + 2] = ID;
        listener = terminal_listen(SOCKET);
    }
    protect(argv[0]);
    /* Detached: the runtime goes away, its container becomes our child, and
     * waitpid() tells code and signal apart. */
    status = process_run(argv, output);
    int error = errno;
    if (listener >= 0) {
        started->terminal = terminal_accept(listener);
        close(listener);
    }
    if (status < 0) {
        snprintf(started->reason, sizeof(started->reason), "%s: %s", argv[0],
                 strerror(error));
        started->code = EXIT_OURS;
        return -1;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        started->pid = read_pid(PID_FILE);
    if (started->pid)
        return 0;
    explain(contract, started);
    runtime_oci_cleanup(contract);
    return -1;
}

bool runtime_never_ran(const char *comm, const char *last, int *code,
                       char *reason, size_t size)
{
    /* The kernel names a process by the file that it last executed: the
     * runtime's, or its copy in memory. runc gives itself the other name. */
    if ((*code != 1 && *code != 255) ||
        (strcmp(comm, "crun") != 0 && strncmp(comm, "runc:[", 6) != 0 &&
         strncmp(comm, "memfd:", 6) != 0))
        return false;
    *code = strcasestr(last, "no such file") ? EXIT_NOT_FOUND
                                             : EXIT_NOT_EXECUTABLE;
    snprintf(reason, size, "%s", last);
    return true;
}

int runtime_oci_check_start(const struct contract *contract, int output,
                            struct started *started)
{
    /* The runtime stays, and ends as the check does. What it has to say is
     * the check's output. */
    char *argv[] = {(char *)program(contract), "--root", STATE_DIR, "exec",
                    "--process", BUNDLE_DIR "/health.json", "--pid-file",
                    CHECK_PID_FILE, ID, NULL};

    unlink(CHECK_PID_FILE);
    started->pid = process_spawn(argv, output);
    if (started->pid > 0)
        return 0;
    snprintf(started->reason, sizeof(started->reason), "%s: %s", argv[0],
             strerror(errno));
    started->code = EXIT_OURS;
    return -1;
}

/*
 * The runtime ends by itself when what it waits for does. One that is killed
 * before it has written the pid leaves a process in the container that goes
 * on without it.
 */
bool runtime_oci_check_kill(pid_t pid, bool force)
{
    pid_t inner = read_pid(CHECK_PID_FILE);

    if (!inner && !force)
        return false;
    kill(inner ? inner : pid, SIGKILL);
    return true;
}

void runtime_oci_cleanup(const struct contract *contract)
{
    char *argv[] = {(char *)program(contract), "--root", STATE_DIR, "--log",
                    LOG, "delete", "--force", ID, NULL};

    process_run(argv, -1);
}
