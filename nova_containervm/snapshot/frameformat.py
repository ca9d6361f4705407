#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


"""Frames with a layer in them, as both makers of layers write them.

One letter, four bytes of length, content; numbers are big-endian. See
guest/init/exportchannel.h, which is one of the two::

    R  the version: ready for a contract (only the export VM)
    S  eight bytes: the length of the layer
    D  a part of it
    E  what went wrong
    F  nothing: the layer is complete
"""

import struct

VERSION = b'1'
ACKNOWLEDGE = b'a'
#: Most that a frame may hold, in bytes.
MAX_FRAME = 1 << 20
#: What one usually holds.
USUAL_FRAME = 256 * 1024

HEAD = struct.Struct('>cI')
SIZE = struct.Struct('>Q')


def frame(kind, content=b''):
    """One frame."""
    return HEAD.pack(kind, len(content)) + content


def size_frame(size):
    """The frame that tells the length of the layer."""
    return frame(b'S', SIZE.pack(size))


class Writer:
    """Collects a layer's bytes into frames.

    :param send: takes bytes
    """

    def __init__(self, send):
        self._send = send
        self._parts = []
        self._used = 0

    def __call__(self, data):
        """The next bytes."""
        self._parts.append(data)
        self._used += len(data)
        if self._used >= USUAL_FRAME:
            self.flush()

    def flush(self):
        """Send what has been collected."""
        if self._used:
            self._send(frame(b'D', b''.join(self._parts)))
        self._parts.clear()
        self._used = 0
