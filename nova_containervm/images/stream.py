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

"""Byte streams: exact reads over chunks of any size, and decompression.

Everything is pulled: nothing is produced that has not been asked for, so a
bomb costs no memory.
"""

import zlib

from nova_containervm.images import errors

try:
    import zstandard
except ImportError:  # only images with zstd need it
    zstandard = None  # type: ignore[assignment]

#: Bytes asked for at a time from a decompressor.
PIECE = 256 * 1024
#: Largest zstd window, what `zstd -d` itself allows without --long: memory.
ZSTD_WINDOW = 128 * 1024 * 1024

_OTHER_MAGIC = (
    (b'\xfd7zXZ\x00', 'xz'),
    (b'BZh', 'bzip2'),
    (b'\x04\x22\x4d\x18', 'lz4'),
    (b'LZIP', 'lzip'),
)


class Reader:
    """Exact reads from an iterable of byte chunks.

    :param chunks: iterable of bytes-like objects; empty ones are skipped
    """

    def __init__(self, chunks):
        self._chunks = iter(chunks)
        self._buf = memoryview(b'')
        self._pos = 0
        #: Bytes handed out so far.
        self.offset = 0

    def _next(self):
        """Replace the used-up buffer; False at the end of the stream."""
        for chunk in self._chunks:
            if len(chunk):
                self._buf = memoryview(chunk)
                self._pos = 0
                return True
        self._buf = memoryview(b'')
        self._pos = 0
        return False

    def peek(self, size):
        """The next *size* bytes, fewer at the end, without taking them."""
        have = len(self._buf) - self._pos
        if have < size:
            parts = [self._buf[self._pos:].tobytes()]
            for chunk in self._chunks:
                if not len(chunk):
                    continue
                parts.append(bytes(chunk))
                have += len(chunk)
                if have >= size:
                    break
            self._buf = memoryview(b''.join(parts))
            self._pos = 0
        return self._buf[self._pos:self._pos + size].tobytes()

    def take(self, size):
        """Exactly *size* bytes, fewer only at the end of the stream."""
        pos = self._pos
        end = pos + size
        if end <= len(self._buf):
            self._pos = end
            self.offset += size
            return self._buf[pos:end].tobytes()
        data = b''.join(self.pieces(size, short=True))
        return data

    def pieces(self, size, short=False):
        """Yield memoryviews of together *size* bytes.

        :param short: end quietly when the stream does; else raise Truncated
        """
        while size:
            have = len(self._buf) - self._pos
            if not have:
                if not self._next():
                    if short:
                        return
                    raise errors.Truncated(
                        'the data ends %d bytes too early' % size)
                continue
            if have > size:
                have = size
            pos = self._pos
            self._pos = pos + have
            self.offset += have
            size -= have
            yield self._buf[pos:pos + have]

    def skip(self, size):
        """Pass over *size* bytes; Truncated when there are fewer."""
        pos = self._pos + size
        if pos <= len(self._buf):
            self._pos = pos
            self.offset += size
            return
        for _piece in self.pieces(size):
            pass

    def rest(self):
        """Yield everything up to the end of the stream."""
        while True:
            have = len(self._buf) - self._pos
            if have:
                pos = self._pos
                self._pos = len(self._buf)
                self.offset += have
                yield self._buf[pos:]
            elif not self._next():
                return


def compression(head):
    """Name of the compression whose magic *head* begins with, or None.

    :raises Unsupported: for compressions that we do not read
    """
    if head[:3] == b'\x1f\x8b\x08':
        return 'gzip'
    if head[:4] == b'\x28\xb5\x2f\xfd':
        return 'zstd'
    if (len(head) >= 8 and head[1:4] == b'\x2a\x4d\x18'
            and head[0] & 0xf0 == 0x50):
        return 'zstd'  # a skippable frame first: zstd:chunked, pzstd
    for magic, name in _OTHER_MAGIC:
        if head.startswith(magic):
            raise errors.Unsupported(
                'compressed with %s, which is not supported; use gzip, zstd '
                'or no compression' % name)
    return None


def decompress(kind, chunks):
    """Yield what the compressed *chunks* unpack to.

    :param kind: 'gzip' or 'zstd'
    :raises Damaged, Truncated: as the stream is
    """
    if kind == 'gzip':
        return _gunzip(chunks)
    if zstandard is None:
        raise errors.StoreError(
            'zstd is needed to read this image, and this host has no Python '
            'module for it; install python3-zstandard')
    return _unzstd(chunks)


def _gunzip(chunks):
    inflate = zlib.decompressobj(31)
    started = done = False  # of the current member / at least one
    try:
        for chunk in chunks:
            data = bytes(chunk)
            while data:
                if not started and done and not data.strip(b'\0'):
                    break  # padding behind the last member
                started = True
                out = inflate.decompress(data, PIECE)
                data = inflate.unconsumed_tail
                if out:
                    yield out
                if inflate.eof:
                    data = inflate.unused_data
                    inflate = zlib.decompressobj(31)
                    started, done = False, True
        while started:
            # What zlib still holds because of the output limit above.
            out = inflate.decompress(b'', PIECE)
            if not out:
                break
            yield out
            if inflate.eof:
                started = False
    except zlib.error as exc:
        raise errors.Damaged('the gzip stream is damaged (%s)' % exc)
    if started:
        raise errors.Truncated('the gzip stream ends too early')


class _Source:
    """The read() that zstandard wants, over chunks."""

    def __init__(self, chunks):
        self._reader = Reader(chunks)

    def read(self, size=-1):
        for piece in self._reader.pieces(size, short=True):
            return piece.tobytes()
        return b''


def _unzstd(chunks):
    dctx = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    stream = dctx.stream_reader(_Source(chunks), read_size=PIECE // 2,
                                read_across_frames=True)
    while True:
        try:
            out = stream.read(PIECE)
        except zstandard.ZstdError as exc:
            raise errors.Damaged('the zstd stream is damaged (%s)' % exc)
        except MemoryError:
            raise errors.Unsupported(
                'the zstd stream needs a window over 128 MiB; compress '
                'without --long or --ultra')
        if not out:
            return
        yield out
