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

"""What unpacking a layer finds out that its tree does not say."""

import dataclasses
import json
import os

from nova_containervm.images import fsutil
from nova_containervm.images import names


@dataclasses.dataclass
class Facts:
    """What unpacking one layer found out; paths are bytes."""

    #: Directories that the layer has files in but no member for.
    implied: dict = dataclasses.field(default_factory=dict)
    #: Names whited out, and directories whose lower contents are hidden.
    whiteouts: set = dataclasses.field(default_factory=set)
    opaque: set = dataclasses.field(default_factory=set)
    #: Hard links to files of lower layers: path -> (target, number in the
    #: forms.PLACEHOLDER attribute of the file that keeps its place)
    links: dict = dataclasses.field(default_factory=dict)
    #: Files with capabilities: path -> hex of security.capability
    caps: dict = dataclasses.field(default_factory=dict)
    #: Names in the root directory (the first of them).
    top: set = dataclasses.field(default_factory=set)
    #: Names of extended attributes that were not kept.
    ignored: set = dataclasses.field(default_factory=set)
    entries: int = 0
    #: Bytes of file contents, without holes.
    size: int = 0

    def to_dict(self):
        """For facts.json beside the layer's tree."""
        text = names.text
        return {
            'implied': [[text(p), t] for p, t in self.implied.items()],
            'whiteouts': sorted(map(text, self.whiteouts)),
            'opaque': sorted(map(text, self.opaque)),
            'links': [[text(p), text(t), i]
                      for p, (t, i) in self.links.items()],
            'caps': {text(p): v for p, v in self.caps.items()},
        }

    @classmethod
    def from_dict(cls, data):
        """The reverse of to_dict; counters are not kept."""
        raw = names.raw
        return cls(
            implied={raw(p): t for p, t in data['implied']},
            whiteouts=set(map(raw, data['whiteouts'])),
            opaque=set(map(raw, data['opaque'])),
            links={raw(p): (raw(t), i) for p, t, i in data['links']},
            caps={raw(p): v for p, v in data['caps'].items()})

    def save(self, fd):
        """Make them the contents of an open file."""
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        fsutil.write_all(fd, json.dumps(self.to_dict()).encode())

    @classmethod
    def load(cls, fd):
        """The reverse of save()."""
        os.lseek(fd, 0, os.SEEK_SET)
        with os.fdopen(os.dup(fd), 'rb') as source:
            return cls.from_dict(json.load(source))
