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

from nova_containervm.images import errors

MIB = 1024 * 1024

#: One blob of JSON (a manifest, an index, a config), in bytes.
JSON_BYTES = 2 * MIB
#: All JSON blobs that are kept while an archive passes, in bytes.
JSON_TOTAL = 12 * MIB
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
#: Files with capabilities in one image.
FILE_CAPS = 4096


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
