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

"""Writes the initramfs: a "newc" cpio archive without compression.

Made by hand rather than by cpio(1) so that the result depends on nothing
but the content, and so that device nodes need no root. Format:
Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
"""

import stat

from nova_containervm.baseimage import errors

_MAGIC = b'070701'
_TRAILER = 'TRAILER!!!'


class Archive:
    """An archive in the making; every entry belongs to root.

    :param mtime: modification time of all entries, seconds since 1970.
    """

    def __init__(self, mtime):
        self._mtime = mtime
        self._entries = {}

    def directory(self, path, mode=0o755):
        """Add a directory and, where missing, those above it."""
        self._add(path, stat.S_IFDIR | mode, b'')

    def file(self, path, content, mode=0o644):
        """Add a regular file with *content* (bytes)."""
        self._add(path, stat.S_IFREG | mode, content)

    def symlink(self, path, target):
        """Add a symbolic link to *target*."""
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def chardev(self, path, major, minor, mode=0o600):
        """Add a character device node."""
        self._add(path, stat.S_IFCHR | mode, b'', (major, minor))

    def paths(self):
        """Paths of all entries, sorted."""
        return sorted(self._entries)

    def _add(self, path, mode, content, rdev=(0, 0)):
        path = path.strip('/')
        parent = path.rpartition('/')[0]
        if parent and parent not in self._entries:
            self.directory(parent)
        known = self._entries.get(path)
        if known and known != (mode, content, rdev):
            raise errors.BuildError(f'initrd: two different entries {path}')
        self._entries[path] = (mode, content, rdev)

    def build(self):
        """Return the archive's bytes: sorted, so that parents come first."""
        out = bytearray()
        for number, path in enumerate(sorted(self._entries), start=1):
            mode, content, rdev = self._entries[path]
            self._emit(out, number, path, mode, content, rdev)
        self._emit(out, 0, _TRAILER, 0, b'', (0, 0))
        out += bytes(-len(out) % 512)
        return bytes(out)

    def _emit(self, out, number, path, mode, content, rdev):
        name = path.encode() + b'\0'
        trailer = path == _TRAILER
        nlink = 2 if stat.S_ISDIR(mode) else 1
        fields = (number, mode, 0, 0, nlink, 0 if trailer else self._mtime,
                  len(content), 0, 0, rdev[0], rdev[1], len(name), 0)
        out += _MAGIC + b''.join(b'%08x' % value for value in fields)
        out += name
        out += bytes(-len(out) % 4)
        out += content
        out += bytes(-len(out) % 4)
