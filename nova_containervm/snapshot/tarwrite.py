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


"""Writes tar archives: ustar headers, and PAX records for the rest.

The guest init has the same in C (guest/init/tar.c): of the same files both
write the same bytes. Extended attributes are SCHILY.xattr records, sparse
files have GNU's PAX form 1.0.
"""

import dataclasses
import stat
import typing as ty

BLOCK = 512
END = bytes(2 * BLOCK)

REG, LINK, SYMLINK, CHR, BLK, DIR, FIFO = (
    b'0', b'1', b'2', b'3', b'4', b'5', b'6')
PAX = b'x'

_NAME = 100
_MAX_ID = 0o7777777
_MAX_NUMBER = 0o77777777777
_NANOS = 10 ** 9


@dataclasses.dataclass
class Entry:
    """One member of an archive.

    :param path: without a slash at either end; b'' for the root directory
    :param type: one of the constants of this module
    :param mtime: nanoseconds since 1970
    :param size: of a regular file, in bytes
    :param target: of a link of either kind
    :param extents: (offset, length) of a sparse file's data; the last one
        ends where the file ends
    """

    path: bytes
    type: bytes = REG
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    target: bytes = b''
    major: int = 0
    minor: int = 0
    xattrs: ty.Mapping[bytes, bytes] = dataclasses.field(
        default_factory=dict)
    extents: ty.Sequence[tuple[int, int]] | None = None

    @property
    def stored(self) -> int:
        """How many bytes of data follow the header."""
        if self.type != REG:
            return 0
        if self.extents is None:
            return self.size
        return sum(length for _offset, length in self.extents)


def padding(length: int) -> bytes:
    """What fills the last block of ``length`` bytes."""
    return bytes(-length % BLOCK)


def header(entry: Entry) -> bytes:
    """The header of a member, with all that comes before its data."""
    path = entry.path
    if entry.type == DIR:
        path = (path or b'.') + b'/'
    sparse_map = b''
    if entry.extents is not None:
        sparse_map = _sparse_map(entry.extents)
    size = entry.stored + len(sparse_map)
    records = _records(entry, path, size)
    name = path
    if entry.extents is not None:
        name = b'GNUSparseFile.0/' + path.rpartition(b'/')[2]
    plain = _ustar(
        name, entry.type, stat.S_IMODE(entry.mode),
        _or_zero(entry.uid, _MAX_ID), _or_zero(entry.gid, _MAX_ID),
        _or_zero(size, _MAX_NUMBER),
        _or_zero(entry.mtime // _NANOS, _MAX_NUMBER), entry.target,
        entry.major, entry.minor)
    return _pax(records, entry.path) + plain + sparse_map


def _or_zero(number, most):
    return number if 0 <= number <= most else 0


def _fits(text):
    return len(text) <= _NAME and text.isascii()


def _field(text):
    """As much as fits, for who does not read PAX records."""
    kept = bytes(b if b < 0x80 else 0x5f for b in text[:_NAME])
    return kept.ljust(_NAME, b'\0')


def _ustar(name, kind, mode, uid, gid, size, mtime, target, major, minor):
    block = bytearray(b''.join((
        _field(name), b'%07o\0%07o\0%07o\0' % (mode, uid, gid),
        b'%011o\0%011o\0' % (size, mtime), b' ' * 8, kind, _field(target),
        b'ustar\x0000', bytes(64), b'%07o\0%07o\0' % (major, minor),
        bytes(167))))
    block[148:156] = b'%06o\0 ' % sum(block)
    return bytes(block)


def _record(key, value):
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b'%d %s=%s\n' % (length, key, value)


def _time(nanos):
    """Decimal seconds, without zeros at the end of the fraction."""
    sign = b'-' if nanos < 0 else b''
    seconds, fraction = divmod(abs(nanos), _NANOS)
    text = b'%s%d' % (sign, seconds)
    if fraction:
        text += b'.' + (b'%09d' % fraction).rstrip(b'0')
    return text


def _records(entry, path, size):
    """PAX records for what the header has no room for, sorted by key."""
    found = []
    if entry.extents is not None:
        found += [(b'GNU.sparse.major', b'1'), (b'GNU.sparse.minor', b'0'),
                  (b'GNU.sparse.name', path),
                  (b'GNU.sparse.realsize', b'%d' % entry.size)]
    found += [(b'SCHILY.xattr.' + name, value)
              for name, value in sorted(entry.xattrs.items())]
    if entry.gid > _MAX_ID:
        found.append((b'gid', b'%d' % entry.gid))
    if not _fits(entry.target):
        found.append((b'linkpath', entry.target))
    if entry.mtime % _NANOS or not (
            0 <= entry.mtime // _NANOS <= _MAX_NUMBER):
        found.append((b'mtime', _time(entry.mtime)))
    if entry.extents is None and not _fits(path):
        found.append((b'path', path))
    if size > _MAX_NUMBER:
        found.append((b'size', b'%d' % size))
    if entry.uid > _MAX_ID:
        found.append((b'uid', b'%d' % entry.uid))
    return b''.join(_record(key, value) for key, value in found)


def _pax(records, path):
    if not records:
        return b''
    name = b'PaxHeaders.0/' + path.rpartition(b'/')[2]
    return (_ustar(name, PAX, 0o644, 0, 0, len(records), 0, b'', 0, 0) +
            records + padding(len(records)))


def _sparse_map(extents):
    text = b'%d\n' % len(extents)
    text += b''.join(b'%d\n%d\n' % extent for extent in extents)
    return text + padding(len(text))
