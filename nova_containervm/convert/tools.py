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

"""Runs the programs that make filesystems and disks."""

import os
import shutil
import subprocess
import tempfile
import threading

from nova_containervm.baseimage import tools
from nova_containervm.convert import errors
from nova_containervm.images import errors as image_errors

#: Programs, and the Debian package that has each.
PACKAGES = {
    'debugfs': 'e2fsprogs', 'e2fsck': 'e2fsprogs', 'guestfish': 'guestfish',
    'mke2fs': 'e2fsprogs', 'qemu-img': 'qemu-utils',
    'tar2sqfs': 'squashfs-tools-ng',
}


def require(name):
    """The path of a program.

    :raises ConvertError: it is not installed
    """
    path = tools.find(name)
    if path is None:
        raise errors.ConvertError(
            'the program %s is not installed; install the package %s' % (
                name, PACKAGES.get(name, name)))
    return path


def environment(**extra):
    """For a program: no locale, no time zone, and where its tools are."""
    return dict(os.environ, LC_ALL='C.UTF-8', TZ='UTC',
                PATH=tools.search_path(), **extra)


def run(args, feed=None, allowed=(0,), watch=None, **extra):
    """Run a program.

    :param feed: function(descriptor) that writes its standard input; None:
        it has none
    :param allowed: statuses that mean success
    :param watch: function(pid, descriptor of what it says), called once it
        runs; None: nobody looks after it
    :param extra: more of its environment
    :returns: what it has said, standard error included, as text
    :raises ConvertError: it fails
    """
    with tempfile.TemporaryFile() as said:
        # pylint: disable=consider-using-with
        process = subprocess.Popen(
            args, env=environment(**extra), stdout=said, stderr=said,
            stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE)
        try:
            if watch is not None:
                watch(process.pid, said.fileno())
            if feed is not None:
                _feed(process.stdin, feed)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        said.seek(0)
        text = said.read().decode('utf-8', 'replace')
    if process.returncode not in allowed:
        raise errors.ConvertError('%s failed (%d): %s' % (
            os.path.basename(args[0]), process.returncode,
            text.strip()[-1000:]))
    return text


def _feed(pipe, feed):
    try:
        feed(pipe.fileno())
    except BrokenPipeError:
        pass  # it has ended, and says why
    finally:
        pipe.close()


class Watched(threading.Thread):
    """Tells how far a program is by how large its output has become.

    :param path: of the output
    :param expected: bytes of it at the end, more or less
    :param report: function(share from 0 to 1)
    """

    _PERIOD = 0.2

    def __init__(self, path, expected, report):
        super().__init__(daemon=True)
        self._path = path
        self._expected = max(1, expected)
        self._report = report
        self._ended = threading.Event()

    def run(self):
        """In the thread."""
        while not self._ended.wait(self._PERIOD):
            try:
                written = os.stat(self._path).st_blocks * 512
            except FileNotFoundError:
                continue
            self._report(min(0.99, written / self._expected))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self._ended.set()
        self.join()


def check_room(directory, needed):
    """Refuse to begin what cannot end for want of space.

    :raises NoSpace:
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise image_errors.NoSpace(
            '%s has %d MiB free, some %d are needed; set TMPDIR to a '
            'directory on a larger filesystem' % (
                directory, free >> 20, needed >> 20))
