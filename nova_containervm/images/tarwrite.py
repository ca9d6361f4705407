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

"""A tree of nodes, written as one tar stream in the PAX format."""

import os

from nova_containervm.images import names
from nova_containervm.images import tarread

#: Contents up to this size are copied with the headers, in few writes.
_SMALL = 32 * 1024
_BATCH = 256 * 1024
#: Contents from this size on are a hole in an outline.
_HOLE = 4096
_END = bytes(2 * tarread.BLOCK)
#: What the octal fields of a header can hold.
_OWNER_MAX = 0o7777777
_LONG_MAX = 0o77777777777
_XATTR = b'SCHILY.xattr.'


def _record(key, value):
    """One record of an extended header: its length, in it, comes first."""
    size = len(key) + len(value) + 3
    length = size + len(str(size))
    if len(str(length)) != len(str(size)):
        length = size + len(str(length))
    return b'%d %s=%s\n' % (length, key, value)


def _padded(data):
    return data + bytes(-len(data) % tarread.BLOCK)


#: One header block (POSIX.1-2017, pax, ustar Header Block) but for its sum.
_BLOCK = (b'%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%bustar\00000'
          + bytes(64) + b'%07o\0%07o\0' + bytes(167))


def _block(kind, name, mode, uid, gid, size, mtime, link, major, minor):
    """One header block."""
    block = _BLOCK % (name.ljust(100, b'\0'), mode, uid, gid, size, mtime,
                      kind, link.ljust(100, b'\0'), major, minor)
    # The zeros, most of it, cost more to add up than to leave out.
    return b'%b%06o\0 %b' % (block[:148], sum(block.translate(None, b'\0')),
                            block[156:])


def header(path, node, link=None):
    """The headers of one member.

    :param path: name in the archive
    :param link: another path of the same node: write a hard link
    """
    records = []
    name, mtime = path, node.mtime // 10 ** 9
    size = node.size if node.kind == tarread.REG and link is None else 0
    kind = node.kind if link is None else tarread.LINK
    target = node.target if link is None else link
    if len(name) > 100:
        records.append(_record(b'path', name))
    if len(target) > 100:
        records.append(_record(b'linkpath', target))
    uid, gid = node.uid, node.gid
    if uid > _OWNER_MAX:
        records.append(_record(b'uid', b'%d' % uid))
        uid = 0
    if gid > _OWNER_MAX:
        records.append(_record(b'gid', b'%d' % gid))
        gid = 0
    if node.mtime % 10 ** 9 or not 0 <= mtime <= _LONG_MAX:
        records.append(_record(b'mtime', _seconds(node.mtime)))
        mtime = 0
    if size > _LONG_MAX:
        records.append(_record(b'size', b'%d' % size))
    if node.xattrs and link is None:
        records.extend(_record(_XATTR + key, value)
                       for key, value in sorted(node.xattrs.items()))
    extended = b''
    if records:
        data = b''.join(records)
        extended = _block(b'x', b'PaxHeader', 0o644, 0, 0, len(data), 0, b'',
                          0, 0) + _padded(data)
    return extended + _block(
        kind, name[:100], node.mode, uid, gid, min(size, _LONG_MAX), mtime,
        target[:100], node.major, node.minor)


def _seconds(nanos):
    """A time as PAX has it: decimal seconds with their fraction."""
    sign = b'-' if nanos < 0 else b''
    whole, fraction = divmod(abs(nanos), 10 ** 9)
    return b'%s%d.%09d' % (sign, whole, fraction)


def walk(root):
    """Yield (path, node, link) of all files in an order that tar can have.

    A directory comes before what is in it; ``link`` is the path under which
    the node has come before, else None.
    """
    known = {}
    stack = [(b'', root)]
    while stack:
        path, node = stack.pop()
        yield path, node, None
        for name in sorted(node.children):
            child = node.children[name]
            where = names.join(path, name)
            if child.is_dir:
                stack.append((where, child))
                continue
            yield where, child, known.get(id(child))
            known.setdefault(id(child), where)


def _members(root):
    """Yield the headers of each member, and its node if contents follow."""
    for path, node, link in walk(root):
        follows = node.kind == tarread.REG and link is None and node.size
        yield (header(b'./' + path if path else b'./', node,
                      b'./' + link if link else None),
               node if follows else None)


def write(root, spools, out_fd):
    """Write the archive of a merged tree.

    :param root: what merge.layers() returns
    :param spools: open descriptors of the layers' contents, by number
    :param out_fd: a pipe
    """
    batch, size = [], 0
    for data, node in _members(root):
        batch.append(data)
        size += len(data)
        if node is not None:
            if node.size <= _SMALL:
                data = os.pread(spools[node.spool], node.size, node.start)
                batch.append(_padded(data))
                size += node.size
            else:
                _flush(batch, out_fd)
                size = 0
                _send(spools[node.spool], node.start, node.size, out_fd)
                batch.append(bytes(-node.size % tarread.BLOCK))
        if size > _BATCH:
            _flush(batch, out_fd)
            size = 0
    batch.append(_END)
    _flush(batch, out_fd)


def outline(root, out_fd):
    """Write the archive of a merged tree, with holes for the contents.

    :param root: what merge.layers() returns
    :param out_fd: a new file
    :returns: nodes of the files that have contents, by where those would be
        in the archive
    """
    places = {}
    batch, size, at = [], 0, 0
    for data, node in _members(root):
        batch.append(data)
        size += len(data)
        at += len(data)
        if node is not None:
            places[at] = node
            hole = node.size + -node.size % tarread.BLOCK
            at += hole
            # A block of the host would be written all the same.
            if hole < _HOLE:
                batch.append(bytes(hole))
                size += hole
            else:
                _flush(batch, out_fd)
                size = 0
                os.lseek(out_fd, hole, os.SEEK_CUR)
        if size > _BATCH:
            _flush(batch, out_fd)
            size = 0
    batch.append(_END)
    _flush(batch, out_fd)
    # Who reads it may have the same descriptor.
    os.lseek(out_fd, 0, os.SEEK_SET)
    return places


def _flush(batch, out_fd):
    data = memoryview(b''.join(batch))
    batch.clear()
    while data:
        data = data[os.write(out_fd, data):]


def _send(spool, start, size, out_fd):
    while size:
        done = os.sendfile(out_fd, spool, start, min(size, 1 << 30))
        if not done:
            raise OSError('the contents of a layer are cut off')
        start += done
        size -= done


class Members:
    """The same as tarread.TarReader's members, for extract.Extractor."""

    def __init__(self, root, spools):
        self._root = root
        self._spools = spools
        self._node = None

    def __iter__(self):
        for path, node, link in walk(self._root):
            m = tarread.Member()
            m.name, m.type, m.mode = path, node.kind, node.mode
            m.uid, m.gid, m.mtime = node.uid, node.gid, node.mtime
            m.size = m.stored = node.size
            m.linkname = node.target
            m.major, m.minor = node.major, node.minor
            m.sparse, m.xattrs = None, dict(node.xattrs or {}) or None
            if link is not None:
                m.type, m.linkname, m.size = tarread.LINK, link, 0
            self._node = node
            yield m

    def data(self):
        """Yield the current member's contents."""
        at, end = self._node.start, self._node.start + self._node.size
        while at < end:
            piece = os.pread(self._spools[self._node.spool],
                             min(end - at, 1 << 18), at)
            if not piece:
                raise OSError('the contents of a layer are cut off')
            at += len(piece)
            yield memoryview(piece)
