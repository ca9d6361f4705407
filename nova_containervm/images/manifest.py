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

"""The list of what a layer's tree holds, so that damage can be found.

One record a change, in the order in which they were made; for a path that
occurs twice the later one counts. Gzip-compressed, several members::

    <type> <mode> <uid> <gid> <size> <mtime ns> <crc32> <path> NUL <more> NUL

Types: f file, s sparse file, d directory, l symbolic link (more: target),
c b p devices and fifos (more: device number), h hard link (more: path of the
other name), w whiteout, o opaque directory, x link to a file of a lower
layer, - removed with all below, m directory moved (more: to where).
"""

import gzip
import os
import zlib

from nova_containervm.images import fsutil
from nova_containervm.images import names

_BATCH = 256
#: In place of the check of extended attributes: not checked.
ANY = b'*'


def xattrs_crc(xattrs):
    """A short check of extended attributes that are kept, b'' for none."""
    if not xattrs:
        return b''
    blob = b'\0'.join(k + b'=' + v for k, v in sorted(xattrs.items()))
    return b'%08x' % zlib.crc32(blob)


class Writer:
    """Appends records to an open file.

    :param fd: descriptor to write to, or None to keep no record
    """

    def __init__(self, fd):
        self._fd = fd
        self._lines = []
        self._packer = zlib.compressobj(1, zlib.DEFLATED, 31)

    def add(self, kind, path, mode, uid, gid, size, mtime, crc=0, more=b''):
        """One record; see the module's description."""
        if self._fd is None:
            return
        self._lines.append(b'%s %o %d %d %d %d %x %s\0%s\0' % (
            kind, mode, uid, gid, size, mtime, crc, path, more))
        if len(self._lines) >= _BATCH:
            self._flush()

    def _flush(self):
        data = self._packer.compress(b''.join(self._lines))
        self._lines.clear()
        if data:
            fsutil.write_all(self._fd, data)

    def close(self):
        """Write what is left. The descriptor stays open."""
        if self._fd is not None:
            self._flush()
            fsutil.write_all(self._fd, self._packer.flush())
            self._fd = None


def _records(fd):
    """Yield (fields before the path, path, more) from a manifest."""
    tail = b''
    with os.fdopen(os.dup(fd), 'rb') as packed, \
            gzip.GzipFile(fileobj=packed) as unpacked:
        while True:
            data = unpacked.read(1 << 20)
            if not data:
                return
            *fields, tail = (tail + data).split(b'\0')
            if len(fields) % 2:
                tail = fields.pop() + b'\0' + tail
            for head, more in zip(fields[::2], fields[1::2], strict=True):
                *numbers, path = head.split(b' ', 7)
                yield numbers, path, more


def _take_below(entries, path):
    """Remove what is below a path; returned by what follows the path."""
    prefix = path + b'/'
    return {old[len(prefix):]: entries.pop(old)
            for old in [p for p in entries if p.startswith(prefix)]}


def _below(path, top):
    """Whether a path is *top* or below it."""
    return path == top or path.startswith(top + b'/')


def read(fd):
    """What a layer must hold.

    :returns: dict: path -> (type, mode, uid, gid, size, mtime, crc, more),
        and the set of opaque directories
    """
    entries = {}
    opaque = set()
    for numbers, path, more in _records(fd):
        kind = numbers[0]
        if kind == b'o':
            opaque.add(path)
        elif kind == b'-':
            if entries.pop(path, (b'd',))[0] == b'd':
                _take_below(entries, path)
                opaque = {p for p in opaque if not _below(p, path)}
        elif kind == b'm':
            below = _take_below(entries, path)
            entries.pop(path, None)
            for base, entry in below.items():
                new = names.join(more, base)
                old = entries.get(new)
                if old is not None and entry[0] == b'w':
                    continue
                if old is not None and old[0] == b'd' and entry[0] != b'd':
                    _take_below(entries, new)
                entries[new] = entry
            opaque = {(more + p[len(path):]).lstrip(b'/')
                      if _below(p, path) else p for p in opaque}
        else:
            entries[path] = (kind, int(numbers[1], 8), *map(
                int, numbers[2:6]), int(numbers[6], 16), more)
    return entries, opaque
