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
 * The container without an OCI runtime: namespaces, docker's mounts, and a
 * change of root. No seccomp filter, no cgroup of its own, no devices or
 * mounts beyond docker's defaults.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container_mounts.h"
#include "miniinit.h"
#include "paths.h"
#include "process.h"
#include "report.h"
#include "rlimits.h"
#include "runtime.h"

#define NAMESPACES                                                           \
    (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC |              \
     CLONE_NEWCGROUP)

/* What the child says when it cannot go on; nothing means it has exec'd. */
struct verdict {
    int code;
    char reason[sizeof(((struct started *)0)->reason)];
};

static int verdict_fd;

static void __attribute__((noreturn, format(printf, 2, 3)))
give_up(int code, const char *format, ...)
{
    struct verdict verdict = {.code = code};
    va_list args;

    va_start(args, format);
    vsnprintf(verdict.reason, sizeof(verdict.reason), format, args);
    va_end(args);
    if (write(verdict_fd, &verdict, sizeof(verdict)) < 0)
        _exit(EXIT_OURS);
    _exit(code);
}

static void __attribute__((noreturn)) step_failed(const char *step)
{
    give_up(EXIT_OURS, "%s: %s", step, strerror(errno));
}

/*
 * Ids last, for everything before needs root. The bounding set limits root
 * at its exec; another user loses everything in setuid().
 */
static void drop_privileges(const struct contract *contract)
{
    for (int cap = 0; cap < 64; cap++)
        if (!(contract->capabilities >> cap & 1) &&
            prctl(PR_CAPBSET_READ, cap) == 1 &&
            prctl(PR_CAPBSET_DROP, cap) < 0)
            step_failed("capabilities");
    if (setgroups(contract->group_count, contract->groups) < 0 ||
        setgid(contract->gid) < 0 || setuid(contract->uid) < 0)
        step_failed("user and groups");
}

static const char *find_env(const struct contract *contract,
                            const char *name)
{
    size_t length = strlen(name);

    for (char **env = contract->envp; *env; env++)
        if (strncmp(*env, name, length) == 0 && (*env)[length] == '=')
            return *env + length + 1;
    return NULL;
}

/* exec with the search of execvp(), but in the container's own PATH and with
 * docker's exit codes. */
static void __attribute__((noreturn)) execute(const struct contract *contract)
{
    const char *path = find_env(contract, "PATH");
    const char *name = contract->argv[0];
    int error = ENOENT;
    char full[4096];

    if (strchr(name, '/')) {
        execve(name, contract->argv, contract->envp);
        error = errno;
    } else {
        if (!path)
            path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
                   "/sbin:/bin";
        for (;;) {
            size_t length = strcspn(path, ":");
            snprintf(full, sizeof(full), "%.*s/%s",
                     length ? (int)length : 1, length ? path : ".", name);
            execve(full, contract->argv, contract->envp);
            /* As a shell: what cannot be executed here may be there. */
            if (errno != ENOENT && errno != ENOTDIR)
                error = errno;
            if (!path[length])
                break;
            path += length + 1;
        }
    }
    if (error == ENOENT && !strchr(name, '/'))
        give_up(EXIT_NOT_FOUND, "exec: \"%.200s\": executable file not "
                                "found in $PATH", name);
    give_up(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE,
            "exec: \"%.200s\": %s", name, strerror(error));
}

static void __attribute__((noreturn))
child(const struct contract *contract, int output)
{
    char step[300];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    setsid(); /* a signal to the process group stays in the container */
    if (dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        step_failed("standard files");
    if (container_mounts_enter(contract, ROOTFS_DIR, step, sizeof(step)) <
            0 ||
        container_mounts_protect(contract, step, sizeof(step)) < 0)
        step_failed(step);
    if (rlimits_apply(contract->rlimits, step, sizeof(step)) < 0)
        step_failed(step);
    umask(contract->umask);
    process_reset_signals();
    if (contract->init)
        miniinit_split();
    drop_privileges(contract);
    if (chdir(contract->cwd) < 0)
        give_up(EXIT_NOT_EXECUTABLE, "chdir to '%.200s': %s", contract->cwd,
                strerror(errno));
    execute(contract);
}

int runtime_chroot_start(const struct contract *contract, int output,
                         struct started *started)
{
    struct clone_args args = {.flags = NAMESPACES, .exit_signal = SIGCHLD};
    struct verdict verdict = {.code = EXIT_OURS};
    int ends[2];
    pid_t pid = -1;

    if (pipe2(ends, O_CLOEXEC) == 0)
        pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid == 0) {
        verdict_fd = ends[1];
        child(contract, output);
    }
    if (pid < 0) {
        snprintf(started->reason, sizeof(started->reason), "clone: %s",
                 strerror(errno));
        started->code = EXIT_OURS;
        return -1;
    }
    close(ends[1]);
    ssize_t got = read(ends[0], &verdict, sizeof(verdict));
    close(ends[0]);
    if (got == 0) {
        started->pid = pid;
        return 0;
    }
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    verdict.reason[sizeof(verdict.reason) - 1] = '\0';
    started->code = verdict.code;
    snprintf(started->reason, sizeof(started->reason), "%s", verdict.reason);
    return -1;
}
