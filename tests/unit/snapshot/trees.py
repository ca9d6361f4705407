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

"""Directories with every kind of file, as a server may leave them."""

import os
import stat
import struct

SPARSE = 5 << 20


def make(root):
    """Fill a directory with what needs no privilege to make."""
    def path(name):
        return os.path.join(os.fsencode(root), name)

    for name in (b'a/b', b'empty', b'opaque', b'n' * 200):
        os.makedirs(path(name))
    contents = {
        b'a/file': b'content', b'a/b/other': b'x' * 600, b'nothing': b'',
        b'n' * 200 + b'/' + b'm' * 200: b'long', b'\xff\xfe': b'latin',
        'k\u00e4se'.encode(): b'utf-8', b'a b\nc': b'blanks',
    }
    for name, content in contents.items():
        with open(path(name), 'wb') as f:
            f.write(content)
    os.link(path(b'a/file'), path(b'a/link'))
    os.link(path(b'a/file'), path(b'z'))
    os.symlink(b'a/file', path(b'symlink'))
    os.symlink(b'/' + b't' * 150, path(b'far'))
    os.link(path(b'symlink'), path(b'symlink2'), follow_symlinks=False)
    os.mkfifo(path(b'fifo'))
    with open(path(b'sparse'), 'wb') as f:
        f.truncate(SPARSE)
        f.seek(SPARSE // 2)
        f.write(b'in the middle')
    with open(path(b'hole'), 'wb') as f:
        f.truncate(SPARSE)
    os.setxattr(path(b'a/file'), b'user.name', b'va\0lue\n=')
    os.setxattr(path(b'a/b'), b'user.empty', b'')
    os.chmod(path(b'a/b/other'), 0o4750)
    os.chmod(path(b'empty'), 0o1777)
    # Nanoseconds, none, before 1970, and after what 11 digits can say
    times = {b'a/file': 1700000000123456789, b'nothing': 10 ** 18,
             b'a/b/other': -1500000000, b'empty': -10 ** 9,
             b'symlink': 1234500000000, b'fifo': 0}
    for name, nanos in times.items():
        os.utime(path(name), ns=(0, nanos), follow_symlinks=False)


def overlay_marks(root, lower):
    """Make it an upper directory: a whiteout and an opaque directory."""
    for name in ('gone', 'opaque'):
        os.mkdir(os.path.join(lower, name))
    os.makedirs(os.path.join(root, 'opaque'), exist_ok=True)
    os.mknod(os.path.join(root, 'gone'), stat.S_IFCHR | 0o600, 0)
    os.setxattr(os.path.join(root, 'opaque'), 'user.overlay.opaque', b'y')


def map_owners(root):
    """Give a tree of plain files and directories the mapped form."""
    for directory, _names, files in os.walk(os.fsencode(root)):
        for name in (b'.', *files):
            target = os.path.join(directory, name)
            mode = os.stat(target).st_mode
            for key, value in ((b'uid', 12), (b'gid', 34), (b'mode', mode)):
                os.setxattr(target, b'user.virtfs.' + key,
                            struct.pack('<I', value))
