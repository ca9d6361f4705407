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

"""The contents of a disk image: put in their places, summed, made durable.

mkfs.erofs copies what it reads from a stream once before it writes it. It can
lay out a disk that has room for the contents instead (``--clean=rvsp``) and
note where that is, a line of hexadecimal numbers for each file: first block,
number of blocks, and where in the archive the contents are, or would be.
"""

import ctypes
import hashlib
import os
import queue
import threading
import zlib

from nova_containervm.images import errors
from nova_containervm.images import spool as spool_mod
from nova_containervm.images import writeback

#: Checksums of disks: of those that are made here, which find damage as the
#: manifests of shares do, and of those that were uploaded or made by earlier
#: releases.
CRC, SHA256 = 'crc32', 'sha256'

#: Where mkfs.erofs lets each file begin
EROFS_BLOCK = spool_mod.ALIGNED

#: What is different each time that mkfs.erofs makes a disk: from, to
_WHEN = ((1024 + 4, 1024 + 8), (1024 + 24, 1024 + 36))

_BLOCK = 64 * 1024
_ZEROS = bytes(_BLOCK)
#: Read at a time; it should stay in the processor's cache.
_PIECE = 4 * _BLOCK
#: Pieces that may be on their way
_ROOMS = 16
#: Written before the host is asked to begin with it, so that it has less to
#: do in the end.
_BEGIN = 16 * _PIECE
_PUNCH_HOLE = 0x03  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64,
                            ctypes.c_int64]


def places(notes, nodes, size):
    """Where files begin on a disk.

    :param notes: descriptor of what mkfs.erofs has noted
    :param nodes: what tarwrite.outline() returns
    :param size: of the disk, in bytes
    :returns: (offset, node) of each file, in the order of the disk
    :raises StoreError: they are not those of the files
    """
    found, end = [], 0
    with os.fdopen(os.dup(notes), 'rb') as lines:
        lines.seek(0)
        for line in lines:
            try:
                first, count, source = (int(n, 16) for n in line.split()[:3])
                node = nodes[source]
            except (ValueError, KeyError):
                raise _misplaced() from None
            found.append((first * EROFS_BLOCK, node))
            if count != -(-node.size // EROFS_BLOCK):
                raise _misplaced()
    found.sort(key=lambda place: place[0])
    for start, node in found:
        if start < end:
            raise _misplaced()
        end = start + node.size
    if len(found) != len(nodes) or end > size:
        raise _misplaced()
    return found


def _misplaced():
    return errors.StoreError('mkfs.erofs has made a disk whose files have no '
                             'place, or share one')


def fill(disk, files, spools):
    """Put contents in their places, and make the disk durable, read-only.

    Zeros become holes: sparse files are in the spools in full.

    :param disk: descriptor of what has been laid out
    :param files: what places() returns
    :param spools: open descriptors of the layers' contents, by number
    :returns: its CRC-32, as checksum() has it
    """
    size = os.fstat(disk).st_size
    crc = _Crc()
    writer = _Writer(disk)
    writer.start()
    at = 0
    left = _runs(files)
    begin, until, spool, source = next(left, (size, size, 0, 0))
    while at < size:
        end = min(at + _PIECE, size)
        room = writer.room()
        where = at
        while where < end:
            if where < begin:
                length = min(end, begin) - where
                _read(disk, room[where - at:where - at + length], where)
            else:
                length = min(end, until) - where
                _read(spools[spool], room[where - at:where - at + length],
                      source + where - begin)
                if where + length == until:
                    begin, until, spool, source = next(
                        left, (size, size, 0, 0))
            where += length
        crc.update(room[:end - at])
        writer.write(room, end - at, at)
        at = end
    writer.finish()
    _finish(disk)
    return crc.hexdigest()


def _runs(files):
    """Yield (begin, end, spool, where it begins there) of what is in one.

    Spools have zeros behind each file as the disk has them.
    """
    run = None
    for start, node in files:
        size = node.size + -node.size % EROFS_BLOCK
        if (run is not None and start == run[1] and node.spool == run[2]
                and node.start - run[3] == start - run[0]):
            run[1] += size
            continue
        if run is not None:
            yield run
        run = [start, start + size, node.spool, node.start]
    if run is not None:
        yield run


class _Writer(threading.Thread):
    """Writes pieces to a disk while others are read."""

    def __init__(self, disk):
        super().__init__(daemon=True)
        self._disk = disk
        self._pieces = queue.SimpleQueue()
        self._rooms = queue.SimpleQueue()
        for _number in range(_ROOMS):
            self._rooms.put(memoryview(bytearray(_PIECE)))
        self._later = writeback.Writeback()
        self._error = None

    def room(self):
        """Room for the next piece."""
        return self._rooms.get()

    def write(self, room, size, at):
        """Take the piece that lies in a room, for an offset of the disk."""
        self._pieces.put((room, size, at))

    def run(self):
        """In the thread."""
        self._later.start()
        begun = 0
        while (piece := self._pieces.get()) is not None:
            room, size, at = piece
            try:
                if self._error is None:
                    _write(self._disk, room[:size], at)
            except OSError as exc:
                self._error = exc
            self._rooms.put(room)
            if at - begun >= _BEGIN:
                self._later.take(os.dup(self._disk))
                begun = at
        self._later.finish()

    def finish(self):
        """Wait for the last piece.

        :raises OSError: one could not be written
        """
        self._pieces.put(None)
        self.join()
        if self._error is not None:
            raise self._error


def _read(fd, room, at):
    while room:
        got = os.preadv(fd, [room], at)
        if not got:
            raise OSError('the contents of a layer are cut off')
        room, at = room[got:], at + got


def _write(disk, piece, at):
    """Write what is not zero of a piece, and make holes of the rest."""
    start = 0
    for place in _zeros(piece):
        _write_all(disk, piece[start:place], at + start)
        _punch(disk, at + place)
        start = place + _BLOCK
    _write_all(disk, piece[start:], at + start)


def _write_all(disk, piece, at):
    while piece:
        done = os.pwrite(disk, piece, at)
        piece, at = piece[done:], at + done


def _zeros(piece):
    """Yield where the blocks of a piece begin that are zero."""
    for start in range(0, len(piece) - _BLOCK + 1, _BLOCK):
        # The first look at two bytes spares most blocks the other one.
        if (not piece[start] and not piece[start + _BLOCK - 1] and
                piece[start:start + _BLOCK].tobytes() == _ZEROS):
            yield start


def _punch(disk, at):
    # Where it does not work the zeros stay.
    _libc.fallocate(disk, _PUNCH_HOLE, at, _BLOCK)


def settle(disk, kind):
    """Make a complete disk durable, read-only, and no larger than need be.

    Zeros become holes: sparse files are written out in full.

    :param kind: see checksum()
    :returns: its checksum
    """
    def dig(piece, at):
        for start in _zeros(piece):
            _punch(disk, at + start)

    # Both take as long: the writing, and the reading of what is in memory.
    later = writeback.Writeback()
    later.start()
    later.take(os.dup(disk))
    found = checksum(disk, kind, dig)
    later.finish()
    _finish(disk)
    return found


def _finish(disk):
    os.fchmod(disk, 0o400)
    os.fsync(disk)


class _Crc:
    """The CRC-32 of an EROFS, but for when it was made.

    It is the same on all hosts whose disks can take each other's place under
    a running guest. Three fields of the superblock are left out (Linux,
    fs/erofs/erofs_fs.h): checksum, epoch, fixed_nsec.
    """

    def __init__(self):
        self._crc = 0
        self._begun = False

    def update(self, piece):
        """Take the next piece; the first one has the superblock."""
        if not self._begun:
            self._begun = True
            head = bytearray(piece[:EROFS_BLOCK])
            for start, end in _WHEN:
                head[start:end] = bytes(len(head[start:end]))
            self._crc = zlib.crc32(head)
            piece = piece[EROFS_BLOCK:]
        self._crc = zlib.crc32(piece, self._crc)

    def hexdigest(self):
        """The checksum of all so far, in hex."""
        return '%08x' % self._crc


def checksum(disk, kind, each=None, end=None):
    """A checksum of an open file, in hex.

    :param kind: CRC or SHA256
    :param each: function(memoryview, offset), called with every piece
    :param end: where to stop; None: at its end
    """
    digest = _Crc() if kind == CRC else hashlib.sha256()
    room = memoryview(bytearray(_PIECE))
    at = 0
    while True:
        size = _PIECE if end is None else min(_PIECE, end - at)
        got = os.preadv(disk, [room[:size]], at)
        if not got:
            return digest.hexdigest()
        digest.update(room[:got])
        if each is not None:
            each(room[:got], at)
        at += got
