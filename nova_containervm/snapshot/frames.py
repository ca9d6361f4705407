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


"""Reads what makers of layers send: frames with a layer in them."""

import typing as ty

from nova_containervm.snapshot import errors
from nova_containervm.snapshot import frameformat


class Channel(ty.Protocol):
    """Where frames come from."""

    def receive(self, size: int) -> bytes:
        """Up to ``size`` bytes; b'' at the end."""

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""


class LayerReader:
    """Reads one layer.

    :param channel: a Channel
    :param acknowledge: answer each frame
    """

    def __init__(self, channel: Channel, acknowledge: bool = False):
        self._channel = channel
        self._acknowledge = acknowledge

    def _exactly(self, size):
        parts = []
        while size:
            data = self._channel.receive(size)
            if not data:
                raise errors.LayerLost()
            parts.append(data)
            size -= len(data)
        return b''.join(parts)

    def _next(self):
        kind, length = frameformat.HEAD.unpack(
            self._exactly(frameformat.HEAD.size))
        if length > frameformat.MAX_FRAME:
            raise errors.LayerDamaged(reason='a frame of %d bytes' % length)
        content = self._exactly(length)
        if self._acknowledge and kind in b'DEF':
            self._channel.send(frameformat.ACKNOWLEDGE)
        if kind == b'E':
            raise errors.LayerFailed(
                reason=content.decode('utf-8', 'replace'))
        return kind, content

    def _expect(self, wanted):
        kind, content = self._next()
        if kind != wanted:
            raise errors.LayerDamaged(reason='frame %r in place of %r' % (
                kind, wanted))
        return content

    def ready(self) -> None:
        """Wait until the other end wants its contract."""
        version = self._expect(b'R')
        if version != frameformat.VERSION:
            raise errors.LayerDamaged(
                reason='version %r, this driver knows %r' % (
                    version, frameformat.VERSION))

    def size(self) -> int:
        """The length of the layer; comes first."""
        return frameformat.SIZE.unpack(self._expect(b'S'))[0]

    def chunks(self, size: int) -> ty.Iterator[bytes]:
        """The layer.

        :raises errors.LayerFailed: the other end says why
        :raises errors.LayerLost: it is gone
        :raises errors.LayerDamaged: it does not send ``size`` bytes
        """
        left = size
        while True:
            kind, content = self._next()
            if kind == b'F':
                break
            if kind != b'D' or len(content) > left:
                raise errors.LayerDamaged(reason='more than %d bytes' % size)
            left -= len(content)
            yield content
        if left:
            raise errors.LayerDamaged(reason='%d of %d bytes are missing' % (
                left, size))
