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

"""The contents of files in a layer: written, counted, and kept in bounds."""

import os
import zlib

from nova_containervm.images import fsutil
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import stream

#: Zeros of this length become a hole.
_HOLE = 64 * 1024
_ZEROS = bytes(1024 * 1024)
#: Bytes written between two looks at the limits.
_CHECK = limits_mod.MIB


class Contents:
    """Copies the data of members, and counts it in a layer's facts.

    :param facts: facts.Facts of the layer
    :param limits: limits.Limits
    :param account: limits.Account of the layer; None: it is all there is
    :param compressed: function: bytes of the layer read so far, before
        decompression, for the ratio; None: it is not compressed
    :param summed: checksums are wanted
    """

    def __init__(self, facts, limits, account=None, compressed=None,
                 summed=True):
        self._facts = facts
        self._summed = summed
        self._limits = limits
        self._compressed = compressed
        self._account = account or limits_mod.Ledger(1).account(0, limits)
        self._next = _CHECK  # bytes at which to look next

    def copy(self, out, m, members, start=0):
        """Write a file's data, leaving holes for zeros.

        :param out: descriptor of the file, or None to count only
        :param m: the member that *members* is at
        :param start: where in *out* the file begins, which is its end
        :returns: checksum, as verify.compare() makes it, if it is wanted
        :raises LimitExceeded, Truncated:
        """
        crc = 0
        if m.sparse is None:
            if not m.stored:
                return 0
            crc, hole = self._pieces(out, members.data())
            if hole and out is not None:
                os.ftruncate(out, start + m.size)
                os.lseek(out, start + m.size, os.SEEK_SET)
        else:
            data = stream.Reader(members.data())
            for offset, length in m.sparse:
                if out is not None:
                    os.lseek(out, start + offset, os.SEEK_SET)
                self._pieces(out, data.pieces(length))
            if out is not None:
                os.ftruncate(out, start + m.size)
                os.lseek(out, start + m.size, os.SEEK_SET)
                if self._summed:
                    crc = fsutil.sparse_crc(out, m.size)
        return crc

    def _pieces(self, out, pieces):
        """Returns (crc32, whether the last piece became a hole)."""
        facts = self._facts
        crc = 0
        hole = False
        for piece in pieces:
            if self._summed:
                crc = zlib.crc32(piece, crc)
            size = len(piece)
            hole = (size >= _HOLE and not piece[0] and not piece[-1]
                    and piece.tobytes() == _ZEROS[:size])
            if hole:
                if out is not None:
                    os.lseek(out, size, os.SEEK_CUR)
                continue
            if out is not None:
                fsutil.write_all(out, piece)
            facts.size += size
            if facts.size > self._next:
                self.check()
        return crc, hole

    def check(self):
        """Compare what the layer has unpacked to so far with the limits.

        :raises LimitExceeded: it is too much, or too dense
        """
        facts = self._facts
        self._next = facts.size + _CHECK
        self._account.check(facts.size, facts.entries)
        if self._compressed is None:
            return
        size = facts.size + 512 * facts.entries
        if size > limits_mod.RATIO_FLOOR:
            packed = self._compressed()
            if size > packed * self._limits.max_compression_ratio:
                raise self._limits.exceeded(
                    'max_compression_ratio',
                    'a layer unpacks to over %d times its size'
                    % (size // max(packed, 1)))
