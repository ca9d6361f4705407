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
 * The container without an OCI runtime: namespaces, a control group, docker's
 * mounts, and a change of root. No seccomp filter.
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "container_mounts.h"
#include "miniinit.h"
#include "paths.h"
#include "process.h"
#include "report.h"
#include "rlimits.h"
#include "runtime.h"
#include "terminal.h"

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC)

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
static void __attribute__((noreturn))
execute(const struct contract *contract, char *const argv[])
{
    const char *path = find_env(contract, "PATH");
    const char *name = argv[0];
    int error = ENOENT;
    char full[4096];

    if (strchr(name, '/')) {
        execve(name, argv, contract->envp);
        error = errno;
    } else {
        if (!path)
            path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
                   "/sbin:/bin";
        for (;;) {
            size_t length = strcspn(path, ":");
            snprintf(full, sizeof(full), "%.*s/%s",
                     length ? (int)length : 1, length ? path : ".", name);
            execve(full, argv, contract->envp);
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

/* The container's own /dev/null, and OUTPUT. */
static void take_files(int output)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 ||
        dup2(output, 2) < 0)
        step_failed("standard files");
}

static void take_limits(const struct contract *contract)
{
    char step[300];

    if (rlimits_apply(contract->rlimits, step, sizeof(step)) < 0)
        step_failed(step);
    umask(contract->umask);
    process_reset_signals();
}

/* The last steps of whatever runs in the container. */
static void __attribute__((noreturn))
run(const struct contract *contract, char *const argv[])
{
    drop_privileges(contract);
    if (chdir(contract->cwd) < 0)
        give_up(EXIT_NOT_EXECUTABLE, "chdir to '%.200s': %s", contract->cwd,
                strerror(errno));
    execute(contract, argv);
}

static void __attribute__((noreturn))
child(const struct contract *contract, int output, int terminal_socket)
{
    char step[300];

    setsid(); /* a signal to the process group stays in the container */
    /* Its root is the group that the process is in by now. */
    if (unshare(CLONE_NEWCGROUP) < 0)
        step_failed("cgroup namespace");
    if (container_mounts_enter(contract, ROOTFS_DIR, step, sizeof(step)) < 0)
        step_failed(step);
    take_files(output);
    if ((contract->tty && terminal_take(terminal_socket, contract->uid, step,
                                        sizeof(step)) < 0) ||
        container_mounts_protect(contract, step, sizeof(step)) < 0)
        step_failed(step);
    take_limits(contract);
    if (contract->init)
        miniinit_split();
    run(contract, contract->argv);
}

/* Wait for the exec() of PID, or for why there is none. */
static int await(pid_t pid, int verdict_end, struct started *started)
{
    struct verdict verdict = {.code = EXIT_OURS};
    ssize_t got = read(verdict_end, &verdict, sizeof(verdict));

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

static int cannot(const char *what, struct started *started)
{
    snprintf(started->reason, sizeof(started->reason), "%s: %s", what,
             strerror(errno));
    started->code = EXIT_OURS;
    return -1;
}

int runtime_chroot_start(const struct contract *contract, int output,
                         struct started *started)
{
    struct clone_args args = {.flags = NAMESPACES | CLONE_INTO_CGROUP,
                              .exit_signal = SIGCHLD};
    int ends[2], sockets[2], group = cgroup_open(contract->privileged);
    pid_t pid = -1;

    if (group < 0)
        return cannot("cgroup", started);
    args.cgroup = (unsigned)group;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
        return cannot("socketpair", started);
    if (pipe2(ends, O_CLOEXEC) == 0)
        pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid == 0) {
        verdict_fd = ends[1];
        child(contract, output, sockets[1]);
    }
    close(group);
    close(sockets[1]);
    if (pid < 0) {
        close(sockets[0]);
        return cannot("clone", started);
    }
    close(ends[1]);
    int result = await(pid, ends[0], started);
    close(ends[0]);
    if (result == 0 && contract->tty)
        started->terminal = terminal_receive(sockets[0]);
    close(sockets[0]);
    return result;
}

/*
 * In a process of its own, for one cannot leave these namespaces: start the
 * check as a child of the init, in the container's namespaces. Writes its
 * pid to PID_END; nothing if it cannot be done.
 */
static void __attribute__((noreturn))
start_check(const struct contract *contract, pid_t container, int output,
            int pid_end)
{
    struct clone_args args = {.flags = CLONE_PARENT, .exit_signal = 0};
    int target = (int)syscall(SYS_pidfd_open, container, 0);

    if (cgroup_enter() < 0 || target < 0 ||
        setns(target, NAMESPACES | CLONE_NEWCGROUP) < 0)
        step_failed("enter the container");
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid == 0) {
        setsid();
        take_files(output);
        take_limits(contract);
        run(contract, contract->health.command);
    }
    if (pid < 0 || write(pid_end, &pid, sizeof(pid)) < 0)
        step_failed("clone");
    _exit(0);
}

int runtime_chroot_check_start(const struct contract *contract,
                               pid_t container, int output,
                               struct started *started)
{
    int ends[2], pid_ends[2];
    pid_t pid = -1, helper;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return cannot("pipe", started);
    if (pipe2(pid_ends, O_CLOEXEC) < 0) {
        close(ends[0]);
        close(ends[1]);
        return cannot("pipe", started);
    }
    helper = fork();
    if (helper == 0) {
        verdict_fd = ends[1];
        start_check(contract, container, output, pid_ends[1]);
    }
    close(ends[1]);
    close(pid_ends[1]);
    int result = -1;
    if (helper < 0) {
        cannot("fork", started);
    } else if (read(pid_ends[0], &pid, sizeof(pid)) == sizeof(pid)) {
        waitpid(helper, NULL, 0);
        result = await(pid, ends[0], started);
    } else {
        await(helper, ends[0], started);
    }
    close(ends[0]);
    close(pid_ends[0]);
    return result;
}
