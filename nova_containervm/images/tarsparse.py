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

"""Maps of sparse files in tar archives: GNU's old form and PAX 0.0 to 1.0.

All errors are ValueErrors; the caller knows the place.
"""

from nova_containervm.images import errors
from nova_containervm.images import limits

#: Parts of one file; a map in an extended header cannot hold many more.
MAX_PARTS = limits.EXTENDED_BYTES // 8


def number(field):
    """The value of a numeric header field: octal, or GNU's base 256."""
    text = field[:-1]
    if text.isdigit() and field[-1] in b'\0 ':
        return int(text, 8)  # as nearly all are
    if field[0] & 0x80:
        value = int.from_bytes(field, 'big')
        bits = len(field) * 8
        if field[0] & 0x40:
            return value - (1 << bits)
        return value - (1 << (bits - 1))
    text = field.split(b'\0', 1)[0].strip()
    if not text:
        return 0
    if not text.isdigit():
        raise ValueError(text)
    return int(text, 8)


def _decimal(text):
    if not text.isdigit() or len(text) > 20:
        raise ValueError('sparse map')
    return int(text)


def _take(reader, size):
    data = reader.take(size)
    if len(data) < size:
        raise errors.Truncated('the archive ends inside a sparse map')
    return data


def gnu(header, reader):
    """Old GNU form: in the header and in extension blocks behind it.

    :returns: (map, size of the file)
    """
    parts = []
    size = number(header[483:495])
    block, start, count, extended = header, 386, 4, header[482]
    while True:
        for i in range(count):
            at = start + i * 24
            if not block[at]:
                break
            parts.append((number(block[at:at + 12]),
                          number(block[at + 12:at + 24])))
        if not extended:
            return parts, size
        if len(parts) > MAX_PARTS:
            raise ValueError('sparse map too long')
        block = _take(reader, 512)
        start, count, extended = 0, 21, block[504]


def pax(records, reader, stored):
    """PAX forms 0.0, 0.1 (in the records) and 1.0 (before the data).

    :param records: list of (key without ``GNU.sparse.``, value)
    :param stored: bytes that the member has in the archive
    :returns: (map, size, bytes of the map in the data, name or None), or
        None when the file is not sparse after all
    """
    keys = dict(records)
    version = (keys.get(b'major'), keys.get(b'minor'))
    name = keys.get(b'name')
    if version == (b'1', b'0'):
        parts, used = _map_1_0(reader, stored)
        return parts, _decimal(keys.get(b'realsize', b'')), used, name
    if version not in ((None, None), (b'0', b'0'), (b'0', b'1')):
        raise ValueError('sparse version')
    if b'map' in keys:
        flat = [_decimal(v) for v in keys[b'map'].split(b',') if v]
    else:
        flat = []
        for key, value in records:
            # offset and numbytes take turns
            if key == (b'numbytes' if len(flat) % 2 else b'offset'):
                flat.append(_decimal(value))
            elif key in (b'numbytes', b'offset'):
                raise ValueError('sparse map')
        if not flat and b'size' not in keys:
            return None
    if len(flat) % 2 or len(flat) > 2 * MAX_PARTS:
        raise ValueError('sparse map')
    size = _decimal(keys.get(b'size', keys.get(b'realsize', b'')))
    return list(zip(flat[::2], flat[1::2], strict=True)), size, 0, name


def _map_1_0(reader, stored):
    """The map in front of the data: decimal lines, in whole blocks."""
    lines = []
    rest = b''
    used = 0
    wanted = 1
    while len(lines) < wanted:
        if used + 512 > stored or used > limits.EXTENDED_BYTES:
            raise ValueError('sparse map')
        rest += _take(reader, 512)
        used += 512
        *new, rest = rest.split(b'\n')
        lines += new
        if lines and wanted == 1:
            count = _decimal(lines[0])
            if count > MAX_PARTS:
                raise ValueError('sparse map too long')
            wanted = 1 + 2 * count
    values = [_decimal(line) for line in lines[1:wanted]]
    return list(zip(values[::2], values[1::2], strict=True)), used


def check(parts, size, stored):
    """Refuse a map that is unordered, overlaps or does not fit."""
    if not 0 <= size < 1 << 63:
        raise ValueError('sparse size')
    end = total = 0
    for offset, length in parts:
        if offset < end or length < 0:
            raise ValueError('sparse map out of order')
        end = offset + length
        total += length
    if end > size or total != stored:
        raise ValueError('sparse map does not fit')
