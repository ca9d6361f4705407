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

"""Limits for what users upload. The names are those of [containervm]."""

import dataclasses
import mmap

from nova_containervm.images import errors

MIB = 1024 * 1024

#: One blob of JSON (a manifest, an index, a config), in bytes.
JSON_BYTES = 2 * MIB
#: All JSON blobs that are kept while an archive passes, in bytes.
JSON_TOTAL = 6 * MIB
#: And the values in them: each is a Python object when it is read.
JSON_VALUES = 200 * 1000
#: Extended header (PAX, GNU long name, sparse map) of one member, in bytes.
EXTENDED_BYTES = MIB
#: Extended attributes of one member, in bytes: what Linux stores at most.
XATTR_BYTES = 64 * 1024
#: Members of the outer archive (blobs, directories, links).
ARCHIVE_MEMBERS = 20000
#: Indexes inside indexes.
INDEX_DEPTH = 4
#: Unpacked bytes below which the ratio is not looked at: small files of
#: zeros compress a thousandfold and hurt nobody.
RATIO_FLOOR = 16 * MIB
#: Holes of sparse files in one layer, in bytes, where a disk is made of it:
#: mkfs.erofs writes them out.
HOLES = 4 * 1024 * MIB
#: Files with capabilities in one image.
FILE_CAPS = 1024
#: Directories opened on the way to the members of one layer, and to what its
#: hard links mean in lower ones. Symbolic links can make each way long.
WALK_STEPS = 50 * 1000 * 1000
#: Paths renamed because directories of a layer are symbolic links below.
RENAMES = 20 * 1000 * 1000
#: Memory of a process that unpacks, in bytes: names take it.
MEMORY = 1024 * MIB


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What one image may cost this host; see nova_containervm.conf."""

    max_image_mb: int = 20480
    max_unpacked_mb: int = 51200
    max_entries: int = 2000000
    max_path_length: int = 4096
    max_layers: int = 127
    max_compression_ratio: int = 200
    max_nesting: int = 255

    def exceeded(self, option, what):
        """The error for going over one of the limits.

        :param option: field of this class
        :param what: what went over it, for the message
        """
        return errors.LimitExceeded.of(option, getattr(self, option), what)

    def to_dict(self):
        """Plain values, for the child process."""
        return dataclasses.asdict(self)


class Ledger:
    """What all layers of an image unpack to, counted by several processes.

    Made before the processes part. Each layer has an account that one
    process alone writes to.

    :param size: number of accounts
    """

    def __init__(self, size=ARCHIVE_MEMBERS):
        self._cells = memoryview(mmap.mmap(-1, 16 * size)).cast('Q')

    def account(self, number, limits):
        """The account of a layer.

        :param number: of the layer; it answers for those before it, too
        :param limits: Limits for the whole image
        """
        return Account(self._cells, number, limits)


class Account:
    """The account of one layer in a Ledger."""

    def __init__(self, cells, number, limits):
        self._cells = cells
        self._at = 2 * number
        self._limits = limits

    def check(self, size, entries):
        """Write down what the layer unpacks to so far, and see the limits.

        :raises LimitExceeded: with the layers before it, it is too much
        """
        cells, at = self._cells, self._at
        cells[at], cells[at + 1] = size, entries
        check_total(self._limits, sum(cells[0:at + 1:2]),
                    sum(cells[1:at + 2:2]))


def check_total(limits, size, entries):
    """Compare what an image unpacks to with the limits.

    :raises LimitExceeded:
    """
    if size > limits.max_unpacked_mb * MIB:
        raise limits.exceeded('max_unpacked_mb',
                              'the image unpacks to more than allowed')
    if entries > limits.max_entries:
        raise limits.exceeded('max_entries', 'the image has more files and '
                              'directories than allowed')
