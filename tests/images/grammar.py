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

"""Hostile layers, drawn from a string of bytes.

What a fuzzer changes in the bytes changes a decision, not a checksum: so
every input is an archive, and a coverage-guided fuzzer learns which
decisions lead where.
"""

import itertools

from tests.unit.images import builders

#: Components of names, and how often they come.
WORDS = ((b'a', 9), (b'b', 9), (b'c', 9), (b'd', 5), (b'etc', 2),
         (b'x' * 255, 1), (b'\xff', 1), (b'\n', 1), (b'.wh.a', 4),
         (b'.wh.b', 3), (b'.wh..wh..opq', 3), (b'.wh.', 1), (b'.wh...', 1),
         (b'.wh..wh.plnk', 1), (b'..', 1), (b'.', 1), (b'', 1),
         (b'canary', 1), (b'keep', 1), (b'passwd', 1))
KINDS = b'000011222555346'
PAX = ('SCHILY.xattr.user.a', 'SCHILY.xattr.user.virtfs.mode',
       'SCHILY.xattr.user.overlay.opaque', 'SCHILY.xattr.security.capability',
       'mtime', 'path', 'linkpath', 'size', 'GNU.sparse.map',
       'GNU.sparse.size', 'GNU.sparse.major', 'GNU.sparse.minor',
       'GNU.sparse.name', 'GNU.sparse.realsize')


class Draw:
    """Decisions from bytes; all zero when there are no more."""

    def __init__(self, data):
        self._data = data
        self._at = 0

    def number(self, below):
        """A number from 0 to *below* - 1."""
        value = 0
        for _ in range(1 if below <= 256 else 4):
            byte = self._data[self._at] if self._at < len(self._data) else 0
            value = value << 8 | byte
            self._at += 1
        return value % below

    def chance(self, percent):
        return self.number(100) >= 100 - percent

    def one(self, options):
        return options[self.number(len(options))]

    def weighed(self, pairs):
        pick = self.number(sum(weight for _value, weight in pairs))
        for value, weight in pairs:
            pick -= weight
            if pick < 0:
                return value
        raise AssertionError

    def data(self, size):
        pattern = bytes(self.number(256) for _ in range(3))
        return bytes(itertools.islice(itertools.cycle(pattern), size))


class Grammar:
    """Layers whose members get in each other's way.

    :param draw: a Draw
    :param canary: path of a directory outside
    """

    def __init__(self, draw, canary):
        self.draw = draw
        self.canary = canary.encode()

    def name(self):
        draw = self.draw
        name = b'/'.join(draw.weighed(WORDS)
                         for _ in range(draw.one((1, 1, 2, 2, 3, 5))))
        if draw.chance(5):
            name = b'/' + name
        if draw.chance(5):
            name += b'/'
        return name

    def target(self):
        draw = self.draw
        pick = draw.number(10)
        if pick == 9:
            return self.canary + draw.one((b'', b'/keep', b'/sub'))
        if pick in (7, 8):
            return b'../' * (1 + draw.number(5)) + self.name()
        return self.name()

    def member(self, tar):
        draw = self.draw
        kind = draw.one(KINDS)
        fields = {'mode': draw.one((0o644, 0, 0o755, 0o4777, 0o7777)),
                  'uid': draw.one((0, 0, 1000, 2 ** 31)),
                  'mtime': draw.one((0, 1, builders.MTIME, 2 ** 33))}
        data = b''
        if kind == ord('0'):
            data = draw.data(draw.one((0, 1, 511, 512, 513, 3000, 140000)))
        if kind in b'12':
            fields['linkname'] = self.target()
        if kind in b'34':
            fields.update(major=draw.number(300), minor=draw.number(9))
        pax = []
        while draw.chance(8) and len(pax) < 5:
            pax.append((draw.one(PAX), draw.one((
                b'x', b'12.5', self.name(), b'0,1,2,3', b'1', b'0', b'512'))))
        tar.add(self.name(), bytes([kind]), data, pax=pax, **fields)

    def layer(self):
        draw = self.draw
        tar = builders.Tar()
        for _ in range(draw.one((3, 1, 6, 12, 24))):
            self.member(tar)
        data = tar.end()
        if draw.chance(10):
            data = bytearray(data)
            for _ in range(1 + draw.number(7)):
                data[draw.number(len(data))] = draw.number(256)
            data = bytes(data)
        if draw.chance(4):
            data = data[:draw.number(len(data))]
        return data

    def layers(self):
        return [self.layer() for _ in range(self.draw.one((1, 1, 2, 3)))]


def mend(data):
    """Put the right checksum into every block that wants to be a header."""
    out = bytearray(data)
    for at in range(0, len(out) - 511, 512):
        if out[at + 257:at + 262] == b'ustar':
            out[at + 148:at + 156] = b' ' * 8
            out[at + 148:at + 156] = b'%06o\0 ' % sum(out[at:at + 512])
    return bytes(out)
