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

"""A strict, fast, streaming reader of tar archives.

It reads what Go's archive/tar reads (and so what docker, podman, skopeo and
umoci read): v7, ustar, star, GNU and PAX headers, long names, and sparse
files of all four kinds. It does not guess: a header that makes no sense is
an error, since two readers that guess differently are a way to hide files.
"""

import zlib

from nova_containervm.images import errors
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import tarsparse

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)

REG, LINK, SYMLINK, CHR, BLK, DIR, FIFO = (
    b'0', b'1', b'2', b'3', b'4', b'5', b'6')
_REGULAR = (b'0', b'\0', b'7', b'S')
_NO_DATA = (LINK, SYMLINK, CHR, BLK, DIR, FIFO)
_KNOWN = frozenset(_REGULAR + _NO_DATA)
_XATTR = b'SCHILY.xattr.'

number = tarsparse.number


class Member:
    """One member of an archive, extended headers applied.

    ``type`` is one of the constants of this module; ``size`` the bytes its
    file has, ``stored`` those that follow in the archive; ``sparse`` a list
    of (offset, length) of the data, or None; ``xattrs`` a dict of bytes to
    bytes, or None; ``mtime`` is in nanoseconds.
    """

    __slots__ = ('name', 'type', 'mode', 'uid', 'gid', 'size', 'stored',
                 'mtime', 'linkname', 'major', 'minor', 'sparse', 'xattrs')


def _sum(header):
    """The sum of a block's bytes.

    The lower half of an Adler-32 is that sum and 1, modulo 65521: more than
    256 bytes can have.
    """
    return (zlib.adler32(header[:256]) & 0xffff) + (
        zlib.adler32(header[256:]) & 0xffff) - 2


def checksum_ok(header):
    """Whether a 512-byte block carries the checksum of a tar header."""
    try:
        wanted = number(header[148:156])
    except ValueError:
        return False
    plain = _sum(header) - sum(header[148:156]) + 8 * 32
    if plain == wanted:
        return True
    # Some old writers summed signed characters.
    return plain - 256 * sum(b > 127 for b in header) == wanted


def looks_like_tar(head):
    """Whether *head* (at least 512 bytes) can be a tar archive's start."""
    if len(head) < BLOCK:
        return False
    return head[:BLOCK] == ZERO_BLOCK or checksum_ok(head[:BLOCK])


def _pax_time(value):
    """Nanoseconds of a PAX time: decimal seconds with any fraction."""
    whole, _dot, fraction = value.partition(b'.')
    negative = whole.startswith(b'-')
    if negative:
        whole = whole[1:]
    if not (whole + fraction).isdigit() or len(whole) > 20:
        raise ValueError(value)
    nanos = int(whole or b'0') * 10 ** 9
    nanos += int((fraction + b'000000000')[:9])
    return -nanos if negative else nanos


def _pax_number(value):
    if not value.isdigit() or len(value) > 20:
        raise ValueError(value)
    return int(value)


def parse_pax(data):
    """Records of an extended header, as a list of (key, value)."""
    records = []
    pos = 0
    end = len(data)
    while pos < end:
        space = data.find(b' ', pos, pos + 12)
        digits = data[pos:space]
        if space < 0 or not digits.isdigit():
            raise ValueError('length')
        stop = pos + int(digits)
        if stop > end or stop <= space + 2 or data[stop - 1] != 10:
            raise ValueError('length')
        key, equals, value = data[space + 1:stop - 1].partition(b'=')
        if not equals or not key:
            raise ValueError('no key')
        if b'\0' in key or (b'\0' in value and not key.startswith(_XATTR)):
            raise ValueError('NUL')
        records.append((key, value))
        pos = stop
    return records


class TarReader:
    """Iterate over the members of an archive.

    :param reader: a stream.Reader at the start of the archive
    :param what: what is being read, for messages
    """

    def __init__(self, reader, what='the archive'):
        self._reader = reader
        self._what = what
        self._left = 0  # of the current member's data
        self._pad = 0
        #: Whether the end-of-archive block has been seen.
        self.ended = False

    def _bad(self, why, name=b''):
        where = ' (near %s)' % errors.quote(name, 24) if name else ''
        return errors.Damaged('%s is no valid tar archive at offset %d%s: %s'
                              % (self._what, self._reader.offset, where, why))

    def __iter__(self):
        return self

    def data(self):
        """Yield the current member's data as memoryviews, once."""
        for piece in self._reader.pieces(self._left):
            self._left -= len(piece)
            yield piece

    def small(self, name):
        """The current member's data when it must be small."""
        if self._left > limits_mod.EXTENDED_BYTES:
            raise self._bad('an extended header of %d bytes' % self._left,
                            name)
        size = self._left
        self._left = 0
        data = self._reader.take(size)
        if len(data) < size:
            raise errors.Truncated('%s ends inside a header' % self._what)
        return data

    def _header(self):
        """The next header block that is no filler; None at the end."""
        reader = self._reader
        if self._left or self._pad:
            reader.skip(self._left)
            # The last member's padding may be missing: Go allows it too.
            short = self._pad - len(reader.take(self._pad))
            self._left = self._pad = 0
            if short:
                return None
        header = reader.take(BLOCK)
        if len(header) < BLOCK:
            if header:
                raise errors.Truncated('%s ends inside a header'
                                       % self._what)
            return None
        if header[0] == 0 and header == ZERO_BLOCK:
            self.ended = True
            return None
        if not checksum_ok(header):
            raise self._bad('wrong checksum of a header')
        return header

    def __next__(self):
        pax = longname = longlink = None
        while True:
            header = self._header()
            if header is None:
                if pax is not None or longname is not None \
                        or longlink is not None:
                    raise errors.Truncated(
                        '%s ends behind an extended header' % self._what)
                raise StopIteration
            kind = header[156:157]
            name = header[:100].split(b'\0', 1)[0]
            try:
                size = number(header[124:136])
            except ValueError:
                raise self._bad('unreadable size', name)
            if size < 0 or size >= 1 << 63:
                raise self._bad('impossible size', name)
            if kind in _KNOWN:
                try:
                    return self._member(header, kind, name, size, pax,
                                        longname, longlink)
                except ValueError as exc:
                    raise self._bad('unreadable header (%s)'
                                    % errors.quote(str(exc), 24), name)
            self._left = size
            self._pad = -size % BLOCK
            if kind == b'x':
                try:
                    pax = parse_pax(self.small(name))
                except ValueError as exc:
                    raise self._bad('bad extended header (%s)' % exc, name)
            elif kind == b'L':
                longname = self.small(name).split(b'\0', 1)[0]
            elif kind == b'K':
                longlink = self.small(name).split(b'\0', 1)[0]
            elif kind in (b'g', b'V'):
                # Global headers (git archive's commit id) and volume labels
                # say nothing about a file; the container tools skip them.
                self.small(name)
            else:
                raise self._bad('unknown type of member %s'
                                % errors.quote(kind), name)

    def _member(self, header, kind, name, size, pax, longname, longlink):
        m = Member()
        m.xattrs = m.sparse = None
        magic = header[257:265]
        m.linkname = header[157:257].split(b'\0', 1)[0]
        m.mode = number(header[100:108]) & 0o7777
        m.uid = number(header[108:116])
        m.gid = number(header[116:124])
        m.mtime = number(header[136:148]) * 10 ** 9
        m.major = m.minor = 0
        if magic[:5] == b'ustar':
            if kind in (CHR, BLK):
                m.major = number(header[329:337])
                m.minor = number(header[337:345])
            if magic[5] == 0 and header[345]:
                # star keeps times in the end of the prefix field.
                end = 476 if header[508:512] == b'tar\0' else 500
                prefix = header[345:end].split(b'\0', 1)[0]
                name = prefix + b'/' + name
        sparse = None
        if pax is not None:
            name, size, sparse = self._apply_pax(m, pax, name, size)
        if longname is not None:
            name = longname
        if longlink is not None:
            m.linkname = longlink
        if kind == b'\0' and name.endswith(b'/'):
            kind = DIR
        if kind in _NO_DATA:
            size = 0  # whatever it says: as in Go's reader
        self._left = size
        self._pad = -size % BLOCK
        m.stored = m.size = size
        if kind in _REGULAR:
            if kind == b'S' or sparse:
                self._apply_sparse(m, header, kind, sparse)
                name = m.name if m.name is not None else name
            kind = REG
        m.type = kind
        m.name = name
        if not 0 <= m.uid < 0xffffffff or not 0 <= m.gid < 0xffffffff:
            raise ValueError('owner %d:%d' % (m.uid, m.gid))
        return m

    def _apply_pax(self, m, pax, name, size):
        """Put extended header records into *m*.

        :returns: (name, size, records of a sparse file or None)
        """
        sparse = None
        for key, value in pax:
            if key.startswith(_XATTR):
                if m.xattrs is None:
                    m.xattrs = {}
                m.xattrs[key[len(_XATTR):]] = value
            elif key.startswith(b'GNU.sparse.'):
                sparse = sparse or []
                sparse.append((key[11:], value))
            elif not value:
                continue  # an empty value takes the record back
            elif key == b'path':
                name = value
            elif key == b'linkpath':
                m.linkname = value
            elif key == b'size':
                size = _pax_number(value)
            elif key == b'uid':
                m.uid = _pax_number(value)
            elif key == b'gid':
                m.gid = _pax_number(value)
            elif key == b'mtime':
                m.mtime = _pax_time(value)
        if size >= 1 << 63:
            raise ValueError('size')
        return name, size, sparse

    def _apply_sparse(self, m, header, kind, records):
        """Fill in the map of a sparse file; its data comes after that."""
        m.name = None
        if kind == b'S':
            m.sparse, m.size = tarsparse.gnu(header, self._reader)
        else:
            sparse = tarsparse.pax(records, self._reader, self._left)
            if sparse is None:
                return
            m.sparse, m.size, used, m.name = sparse
            self._left -= used
            m.stored = self._left
        tarsparse.check(m.sparse, m.size, self._left)
