# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Locks between processes, and files that survive a power cut."""

import contextlib
import errno
import fcntl
import json
import os
import time

from nova_containervm.images import fsutil

_POLL_MIN, _POLL_MAX = 0.01, 0.25


def try_lock(fd, shared=False):
    """Take a lock on an open file if it is free; whether it was."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
                    | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


@contextlib.contextmanager
def locked(path, shared=False):
    """Hold the lock of a file that exists for nothing else.

    Polls rather than blocks: under eventlet a blocked system call would stop
    all of nova-compute. The file goes away with its last user.

    :param path: absolute path
    :param shared: several holders at a time, none of them exclusive
    """
    pause = _POLL_MIN
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                     | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0:
            # An operator's command; nova-compute must be able to go on.
            st = os.stat(os.path.dirname(path))
            os.fchown(fd, st.st_uid, st.st_gid)
        if try_lock(fd, shared) and _is_current(fd, path):
            break
        os.close(fd)
        time.sleep(pause)
        pause = min(2 * pause, _POLL_MAX)
    try:
        yield fd
    finally:
        # Only who holds it alone may remove it: the next one would
        # otherwise lock a file that a third no longer finds.
        if not shared or try_lock(fd):
            with contextlib.suppress(FileNotFoundError):
                if _is_current(fd, path):
                    os.unlink(path)
        os.close(fd)


def remove_stale(directory):
    """Remove the lock files of processes that were killed."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if try_lock(fd) and _is_current(fd, path):
                os.unlink(path)
        except OSError:
            pass
        finally:
            os.close(fd)


def _is_current(fd, path):
    """Whether *path* still is the open file."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def sync_dir(path):
    """Make the names in a directory durable."""
    fd = fsutil.open_dir(path)
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)


def write_json(path, document):
    """Write a file so that it is there as a whole or not at all."""
    temporary = '%s.%d.new' % (path, os.getpid())
    try:
        put_json(temporary, document, sync=True)
        publish(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def put_json(path, document, sync=False):
    """Write a file that nobody looks for yet.

    :param sync: make what is in it durable; else that is the caller's to do
        before publish()
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                 | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fsutil.write_all(fd, json.dumps(document, indent=1,
                                        sort_keys=True).encode())
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def publish(source, path):
    """Give a file whose contents are durable its name, for good."""
    os.rename(source, path)
    sync_dir(os.path.dirname(path))


def read_json(path):
    """A JSON object from a file; None when absent or not one."""
    try:
        with open(path, 'rb') as source:
            document = json.load(source)
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
