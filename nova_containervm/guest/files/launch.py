#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""The parts of guest.sh that a shell cannot do. Runs inside the VM.

    launch.py run ROOT CWD UID GID GROUPS UMASK TTY CAPS
                  RLIMITC [RLIMIT...] ENVC [ENV...] ARG...
        Become the container's first process. Why it could not be done goes to
        file descriptor 3; exit codes are docker's: 125 ours, 126 not
        executable, 127 not found.
    launch.py target ROOT PATH dir|file
        Print where a path of the container is, with links followed inside of
        ROOT, and make it if it is not there.
    launch.py filecap ROOT PATH HEX
        Set a file's security.capability.
    launch.py kill ROOT
        Kill every process whose root directory is ROOT or in it.

Any Python from 3.6 on, with nothing but its standard library.
"""

import ctypes
import errno
import fcntl
import os
import resource
import signal
import sys
import termios
import time

REPORT_FD = 3
PR_CAPBSET_DROP = 24
LAST_CAPABILITY = 63
KILL_ROUNDS = 100
DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'


def enter(root):
    os.chroot(root)
    os.chdir('/')
    # What is not loaded by now would come from the container.
    sys.path[:] = []


def run(argv):
    root, cwd, uid, gid, groups, umask, tty, caps, count = argv[:9]
    rest = argv[9:]
    rlimits, rest = rest[:int(count)], rest[int(count):]
    env_count, rest = int(rest[0]), rest[1:]
    env, args = rest[:env_count], rest[env_count:]
    os.set_inheritable(REPORT_FD, False)
    os.closerange(REPORT_FD + 1, 1024)
    uid, gid = int(uid), int(gid)
    try:
        # The guest itself is spared by the kernel's OOM killer, this is not.
        write('/proc/self/oom_score_adj', '0')
        os.setsid()
        if tty == '1':
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            own(fd, uid)
        for limit in rlimits:
            set_rlimit(*limit.split(' '))
        enter(root)
        os.chdir(cwd)
        drop_capabilities(int(caps, 16))
        os.setgroups([int(group) for group in groups.split()])
        os.setgid(gid)
        os.setuid(uid)
        os.umask(int(umask, 8))
        reset_signals()
    except (OSError, ValueError) as exc:
        report('%s' % exc)
        return 125
    code, reason = execute(args, dict(entry.split('=', 1) for entry in env))
    report('%s: %s' % (args[0], reason))
    return code


def execute(args, env):
    """Become the program; return the exit code and the reason if not."""
    if '/' in args[0]:
        places = [args[0]]
    else:
        places = [os.path.join(part or '.', args[0])
                  for part in env.get('PATH', DEFAULT_PATH).split(':')]
    failure = None
    for place in places:
        try:
            os.execve(place, args, env)
        except OSError as exc:
            # As a shell: what cannot be executed here may be there.
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR):
                failure = exc
    if failure is not None:
        return 126, failure.strerror
    if '/' in args[0]:
        return 127, 'no such file or directory'
    return 127, 'executable file not found in $PATH'


def write(path, text):
    with open(path, 'w') as stream:
        stream.write(text)


def own(fd, uid):
    """Let the container's user open /dev/stdout, as docker does."""
    try:
        info = os.fstat(fd)
        if info.st_rdev != os.makedev(1, 3):
            os.fchown(fd, uid, info.st_gid)
    except OSError:
        pass


def set_rlimit(name, soft, hard):
    def number(text):
        return resource.RLIM_INFINITY if text == '-1' else int(text)
    resource.setrlimit(getattr(resource, 'RLIMIT_' + name.upper()),
                       (number(soft), number(hard)))


def drop_capabilities(kept):
    """Take what docker does not give out of the bounding set."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for number in range(LAST_CAPABILITY + 1):
        # EINVAL: the kernel has no capability of that number.
        if not kept >> number & 1 and prctl(PR_CAPBSET_DROP, number, 0, 0, 0):
            code = ctypes.get_errno()
            if code != errno.EINVAL:
                raise OSError(code, os.strerror(code), 'capability set')


def reset_signals():
    """Undo what the shell and Python ignore: a program inherits that."""
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # KILL, STOP, and two that belong to the C library
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def report(text):
    os.write(REPORT_FD, text.encode('utf-8', 'surrogateescape') + b'\n')


def target(root, path, kind):
    enter(root)
    path = os.path.realpath(path)
    if kind == 'dir':
        os.makedirs(path, 0o755, exist_ok=True)
    elif not os.path.exists(path):
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    sys.stdout.write(path)


def filecap(root, path, value):
    enter(root)
    os.setxattr(path, 'security.capability', bytes.fromhex(value),
                follow_symlinks=False)


def kill(root):
    # Until none is found: a process may fork while the others are looked at.
    for _ in range(KILL_ROUNDS):
        found = [pid for pid in os.listdir('/proc')
                 if pid.isdigit() and is_in(pid, root)]
        if not found:
            return
        for pid in found:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.05)


def is_in(pid, root):
    try:
        place = os.readlink('/proc/%s/root' % pid)
    except OSError:
        return False  # a kernel thread, or gone
    return place == root or place.startswith(root + '/')


def main(argv):
    if argv[0] == 'run':
        return run(argv[1:])
    try:
        if argv[0] == 'target':
            target(*argv[1:])
        elif argv[0] == 'filecap':
            filecap(*argv[1:])
        else:
            kill(*argv[1:])
    except OSError as exc:
        sys.stderr.write('%s\n' % exc)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
