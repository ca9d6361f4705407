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

"""Writes an ext4 filesystem into a file, without privilege.

mke2fs makes it, empty, and debugfs puts the files into it, with owners, modes
and devices that only root could make on this host. Nothing is mounted.
"""

import os

from nova_containervm.baseimage import tools as basetools
from nova_containervm.convert import errors
from nova_containervm.convert import tools
from nova_containervm.images import errors as image_errors
from nova_containervm.images import tarread
from nova_containervm.images import tarwrite

_BLOCK = 4096
#: Room for what the filesystem needs for itself, at the least.
_LEAST = 4 << 20
#: Names in a block of a directory, more or less: entries are 8 bytes and a
#: name, and debugfs makes no index.
_NAMES = 64
_TYPES = {tarread.REG: 0o100000, tarread.DIR: 0o040000,
          tarread.SYMLINK: 0o120000, tarread.CHR: 0o020000,
          tarread.BLK: 0o060000, tarread.FIFO: 0o010000}
_DEVICES = {tarread.CHR: b'c', tarread.BLK: b'b'}
#: debugfs, in a batch, fails by saying so on lines that begin with these.
_ECHO = 'debugfs: '
#: What libext2fs can write beside an inode, or in a block of its own.
_XATTR_BYTES = 3500
_CONTENTS = 1 << 20
#: The last second that an inode can have.
_LATEST = (1 << 34) - (1 << 31) - 1
#: When it was made: the same image gives the same bytes.
_TIME = dict.fromkeys(('E2FSPROGS_FAKE_TIME', 'E2FSCK_TIME'),
                      str(basetools.DEFAULT_EPOCH))


def make(source, target, work, identifier):
    """Write the filesystem.

    :param source: source.Source
    :param target: path of the file to make
    :param work: an empty directory
    :param identifier: UUID of the filesystem, as text
    :raises ConvertError: a tool fails
    :raises ImageError: the image has what cannot be written so
    """
    mke2fs, debugfs, e2fsck = (tools.require(name) for name in (
        'mke2fs', 'debugfs', 'e2fsck'))
    size, inodes = measure(source)
    with open(target, 'xb') as out:
        out.truncate(size)
    tools.run([
        mke2fs, '-q', '-F', '-t', 'ext4', '-b', str(_BLOCK), '-I', '256',
        '-N', str(inodes), '-m', '0', '-U', identifier,
        # No journal: it is never written to. (The guest mounts it noload.)
        '-O', '^has_journal,^resize_inode,metadata_csum,64bit',
        '-E', 'hash_seed=%s,lazy_itable_init=0,root_owner=0:0,nodiscard'
        % identifier, target], **_TIME)
    writer = _Writer(source, work)
    script = os.path.join(work, 'script')
    with open(script, 'wb') as out:
        out.writelines(writer.lines())
    said = tools.run([debugfs, '-w', '-f', script, target], **_TIME)
    problems = [line for line in said.splitlines()
                if line and not line.startswith((_ECHO, 'debugfs 1.'))
                and not line.startswith('Allocated inode: ')]
    if problems:
        raise errors.ConvertError('debugfs: %s' % '; '.join(problems[:3]))
    # It also makes indexes of large directories. 1: it has.
    tools.run([e2fsck, '-f', '-p', '-D', target], allowed=(0, 1), **_TIME)


def measure(source):
    """(bytes that the filesystem needs, inodes)"""
    blocks = inodes = names = 0
    for path, node, link in tarwrite.walk(source.root):
        names += len(path.rpartition(b'/')[2]) + 16
        if link is not None:
            continue
        inodes += 1
        if node.kind == tarread.REG:
            # Blocks of extents, where the contents are in many pieces
            blocks += -(-node.size // _BLOCK) + (node.size >> 27)
        elif node.kind == tarread.DIR:
            blocks += 1 + len(node.children) // _NAMES
        elif len(node.target) > 59:
            blocks += 1
        blocks += bool(node.xattrs)
    inodes += 64
    size = blocks * _BLOCK + names + inodes * 256
    size += size // 32 + _LEAST
    return -(-size // (1 << 20)) << 20, inodes


class _Writer:
    """Turns a tree into commands of debugfs.

    What is to be made is named as it is, in the current directory. What is
    looked for has a path: debugfs takes ``<2>`` for the number of an inode.
    """

    def __init__(self, source, work):
        self._source = source
        self._work = work
        self._count = 0
        self._names = {}

    def lines(self):
        """The script, in pieces of bytes."""
        current = b''
        for path, node, link in tarwrite.walk(self._source.root):
            parent, _slash, name = path.rpartition(b'/')
            if path and parent != current:
                yield b'cd %s\n' % _quoted(b'/' + parent)
                current = parent
            yield from self._entry(path, name, node, link)

    def _entry(self, path, name, node, link):
        target = _quoted(b'./' + name) if path else b'/'
        if link is not None:
            yield b'ln %s %s\n' % (_quoted(b'/' + link), _quoted(name))
            names = self._names[id(node)] = self._names.get(id(node), 1) + 1
            yield b'sif %s links_count %d\n' % (target, names)
            return
        if path:
            yield from self._made(name, node)
        for field, value in self._fields(node):
            yield b'sif %s %s %s\n' % (target, field, value)
        for key, value in sorted((node.xattrs or {}).items()):
            if len(value) > _XATTR_BYTES:
                raise image_errors.Unsupported(
                    'the attribute %s of %s is too long for ext4' % (
                        image_errors.quote(key), image_errors.quote(path)))
            yield b'ea_set -f %s %s %s\n' % (
                self._file([value]), target, _quoted(key))

    def _made(self, name, node):
        target = _quoted(name)
        if node.kind == tarread.DIR:
            yield b'mkdir %s\n' % target
        elif node.kind == tarread.REG:
            yield b'write %s %s\n' % (
                self._file(self._contents(node)), target)
        elif node.kind == tarread.SYMLINK:
            yield b'symlink %s %s\n' % (target, _quoted(node.target))
        elif node.kind == tarread.FIFO:
            yield b'mknod %s p\n' % target
        else:
            # debugfs knows smaller numbers only. This is the kernel's
            # encoding of the larger ones (its new_encode_dev()).
            large = max(node.major, node.minor) > 255
            yield b'mknod %s %s %d %d\n' % (
                target, _DEVICES[node.kind], *(
                    (0, 0) if large else (node.major, node.minor)))
            if large:
                yield b'sif %s block[1] %d\n' % (
                    _quoted(b'./' + name), node.major << 8 |
                    node.minor & 0xff | (node.minor & ~0xff) << 12)

    def _fields(self, node):
        if node.kind != tarread.SYMLINK:
            yield b'mode', b'0%o' % (_TYPES[node.kind] | node.mode)
        seconds, nanos = divmod(node.mtime, 10 ** 9)
        seconds = max(0, min(seconds, _LATEST))
        for field in (b'atime', b'ctime', b'mtime'):
            yield field, b'@%d' % seconds
        if nanos:
            # Two bits of it are the upper ones of the seconds (ext4's
            # "Inode Timestamps").
            epoch = (seconds + (1 << 31)) >> 32
            yield b'mtime_extra', b'%d' % (nanos << 2 | epoch)
        for field, value in ((b'uid', node.uid), (b'gid', node.gid)):
            if value:
                yield field, b'%d' % value

    def _file(self, pieces):
        """A file with these contents, holes where there are zeros."""
        path = os.path.join(self._work, 'f%d' % self._count)
        self._count += 1
        with open(path, 'xb') as out:
            for piece in pieces:
                if piece.count(0) == len(piece):
                    out.seek(len(piece), os.SEEK_CUR)
                else:
                    out.write(piece)
            out.truncate()
        return _quoted(path.encode())

    def _contents(self, node):
        spool = self._source.spools[node.spool]
        at, end = node.start, node.start + node.size
        while at < end:
            piece = os.pread(spool, min(end - at, _CONTENTS), at)
            if not piece:
                raise errors.ConvertError('the contents of a layer are cut '
                                          'off')
            at += len(piece)
            yield piece


def _quoted(name):
    """A name as one argument of a command.

    :raises Unsupported: there is no way to write it
    """
    if b'\n' in name or b'\0' in name:
        raise image_errors.Unsupported(
            'the name %s has a line break, which cannot be written to ext4 '
            'here; choose another --format' % image_errors.quote(name))
    return b'"%s"' % name.replace(b'"', b'""')
