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

"""Makes a small root file system in the form that a 9p export has.

"mapped" is QEMU's security_model=mapped-xattr: owner, mode and type are in
user.virtfs.* attributes of plain files, so no root is needed.
"""

import os
import pathlib
import shutil
import stat
import struct
import subprocess

BUSYBOX = '/bin/busybox'
APPLETS = ('sh', 'cat', 'echo', 'env', 'id', 'kill', 'ls', 'mkdir', 'mount',
           'pwd', 'sleep', 'test', 'touch', 'true', 'false', 'wc', 'ip',
           'stat', 'hostname', 'od', 'dd', 'seq', 'grep', 'sync', 'df', 'nc',
           'head', 'tr', 'printf', 'ps', 'rm', 'chmod', 'mv', 'umask',
           'tail', 'getopt', 'tty', 'stty', 'cut', 'nproc', 'wget',
           'readlink', 'md5sum', 'date', 'mknod')


class Rootfs:
    """A tree under *path*; *mapped* chooses the form."""

    def __init__(self, path, mapped=True):
        self.path = pathlib.Path(path)
        self.mapped = mapped
        self.path.mkdir(parents=True, exist_ok=True)
        self._attributes(self.path, stat.S_IFDIR | 0o755, 0, 0)

    def _attributes(self, path, mode, uid, gid, rdev=0):
        if not self.mapped:
            os.chown(path, uid, gid, follow_symlinks=False)
            if not stat.S_ISLNK(mode):
                # A change of owner takes setuid away.
                os.chmod(path, stat.S_IMODE(mode))
            return
        for name, value in (('uid', uid), ('gid', gid), ('mode', mode)):
            os.setxattr(path, f'user.virtfs.{name}',
                        struct.pack('<I', value))
        if rdev:
            os.setxattr(path, 'user.virtfs.rdev', struct.pack('<Q', rdev))
        os.chmod(path, 0o700 if path.is_dir() else 0o600)

    def directory(self, name, mode=0o755, uid=0, gid=0):
        path = self.path / name
        if not path.parent.exists():
            self.directory(pathlib.PurePath(name).parent)
        path.mkdir(exist_ok=True)
        self._attributes(path, stat.S_IFDIR | mode, uid, gid)

    def file(self, name, content=b'', mode=0o644, uid=0, gid=0):
        path = self.path / name
        if not path.parent.exists():
            self.directory(pathlib.PurePath(name).parent)
        path.write_bytes(content)
        self._attributes(path, stat.S_IFREG | mode, uid, gid)

    def program(self, name, source, mode=0o755):
        """A program in C, for any system."""
        made = self.path / 'program'
        subprocess.run(['gcc', '-x', 'c', '-', '-static', '-s', '-w', '-O0',
                        '-o', made], input=source, check=True)
        content = made.read_bytes()
        made.unlink()
        self.file(name, content, mode)

    def symlink(self, name, target):
        path = self.path / name
        if self.mapped:
            path.write_bytes(target.encode())
            self._attributes(path, stat.S_IFLNK | 0o777, 0, 0)
        else:
            path.symlink_to(target)


# Programs that end as a shell as PID 1 cannot: the kernel keeps signals that
# a program sends to its own PID 1 from it.
_PROGRAMS = {
    'segfault': b'int main(void) { *(volatile int *)8 = 1; }',
    'eat-memory': b"""
#include <stdlib.h>
#include <string.h>
int main(void) { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }
""",
}


def busybox(path, mapped=True):
    """A root file system with busybox, and files the scenarios look at."""
    root = Rootfs(path, mapped)
    for name in ('bin', 'etc', 'proc', 'tmp', 'home/app'):
        root.directory(name)
    root.directory('tmp', 0o1777)
    root.directory('home/app', 0o755, 1000, 1000)
    root.file('bin/busybox', pathlib.Path(BUSYBOX).read_bytes(), 0o755)
    for applet in APPLETS:
        root.symlink(f'bin/{applet}', 'busybox')
    root.file('etc/passwd', b'root:x:0:0:root:/root:/bin/sh\n'
                            b'app:x:1000:1000::/home/app:/bin/sh\n')
    root.file('etc/group', b'root:x:0:\napp:x:1000:\nextra:x:2000:app\n')
    root.file('etc/secret', b'for root only\n', 0o600)
    root.file('bin/not-executable', b'#!/bin/sh\n', 0o644)
    root.file('bin/script', b'#!/bin/sh\necho "script: $*"\n', 0o755)
    root.file('bin/lost-script', b'#!/no/such/shell\n', 0o755)
    root.file('bin/not-a-program', b'\x7fELF but no more', 0o755)
    for name, source in _PROGRAMS.items():
        root.program(f'bin/{name}', source)
    root.file('image-file', b'from the image\n')
    return root


def remove(path):
    shutil.rmtree(path, ignore_errors=True)
