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

"""Small file system operations relative to a directory's descriptor."""

import errno
import os
import stat
import zlib

DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_dir(name, dir_fd=None):
    """Open a directory, never through a symbolic link."""
    return os.open(name, DIR_FLAGS, dir_fd=dir_fd)


def enter_dir(name, dir_fd=None):
    """Open a directory to look names up in, but not to list it.

    Needs no permission to read it: that is how QEMU's user passes through
    the store's own directories.
    """
    return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
                   | os.O_CLOEXEC, dir_fd=dir_fd)


def lstat(name, dir_fd):
    """stat of a name, or None."""
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def free_name(*fds):
    """A name that none of the open directories has."""
    number = 0
    while any(lstat(b'aside%d' % number, fd) for fd in fds):
        number += 1
    return b'aside%d' % number


def is_whiteout(st):
    """Whether this is overlayfs' mark for a removed name."""
    return stat.S_ISCHR(st.st_mode) and st.st_rdev == 0


def _listing(fd):
    """Names in an open directory, directories apart from the rest."""
    dirs, others = [], []
    with os.scandir(fd) as entries:
        for entry in entries:
            kind = dirs if entry.is_dir(follow_symlinks=False) else others
            kind.append(os.fsencode(entry.name))
    return dirs, others


def empty_dir(fd):
    """Remove everything below an open directory; it stays open and empty.

    No recursion: a hostile tree is as deep as it likes.
    """
    stack = []  # (descriptor, name in the one before, subdirectories left)
    current, left = fd, None
    while True:
        if left is None:
            left, others = _listing(current)
            for name in others:
                os.unlink(name, dir_fd=current)
        if left:
            name = left.pop()
            try:
                child = open_dir(name, dir_fd=current)
            except PermissionError:
                os.chmod(name, 0o700, dir_fd=current)
                child = open_dir(name, dir_fd=current)
            stack.append((current, name, left))
            current, left = child, None
            continue
        if not stack:
            return
        os.close(current)
        current, name, left = stack.pop()
        os.rmdir(name, dir_fd=current)


def walk(fd):
    """Yield (path, descriptor, names) of a directory and all below.

    No more descriptors are open than the tree is deep. What cannot be opened
    is yielded with an OSError in place of the descriptor.
    """
    stack = [(b'', os.dup(fd), None)]
    try:
        while stack:
            path, current, left = stack[-1]
            if left is None:
                left, others = _listing(current)
                stack[-1] = path, current, left
                yield path, current, left + others
            if not left:
                os.close(stack.pop()[1])
                continue
            name = left.pop()
            where = path + b'/' + name if path else name
            try:
                stack.append((where, open_dir(name, dir_fd=current), None))
            except OSError as exc:
                yield where, exc, []
    finally:
        for _path, current, _left in stack:
            os.close(current)


def remove(name, dir_fd):
    """Remove a name and, if it is a directory, all below it.

    :returns: whether it was a directory
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
        return False
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            return False
        if exc.errno not in (errno.EISDIR, errno.EPERM):
            raise
    fd = open_dir(name, dir_fd=dir_fd)
    try:
        empty_dir(fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=dir_fd)
    return True


def write_all(fd, data):
    """Write the whole of a bytes-like object."""
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, data[done:])


def sparse_crc(fd, size):
    """A checksum of a sparse file that costs nothing for its holes.

    Of the 4 KiB blocks that are not all zeros, and where they are: the same
    whether a block of zeros is a hole or written.
    """
    crc = 0
    zeros = bytes(4096)
    start = 0
    while start < size:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA) & ~4095
        except OSError:
            break  # ENXIO: nothing but a hole up to the end
        end = os.lseek(fd, start, os.SEEK_HOLE)
        while start < end:
            data = os.pread(fd, 1 << 18, start)
            if not data:
                return crc
            for at in range(0, len(data), 4096):
                block = data[at:at + 4096]
                if block != zeros[:len(block)]:
                    crc = zlib.crc32(b'%d' % (start + at), crc)
                    crc = zlib.crc32(block, crc)
            start += len(data)
    return crc
