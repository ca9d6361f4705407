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


"""Sends an archive to Glance as it is made."""

from nova import exception

from nova_containervm.snapshot import errors


class UploadStream:
    """The file that Nova's image API reads.

    :param chunks: iterable of bytes
    """

    def __init__(self, chunks):
        self._chunks = iter(chunks)
        self._rest: bytes | memoryview = b''
        self._error: Exception | None = None
        #: Bytes read so far.
        self.length = 0

    def read(self, size=-1):
        """Up to ``size`` bytes; b'' at the end."""
        if self._error is not None:
            # The image API tries again after errors of some kinds. The
            # beginning of the archive is gone.
            raise exception.NovaException(
                'the upload was broken off: %s' % self._error)
        try:
            while not self._rest:
                self._rest = next(self._chunks)
        except StopIteration:
            return b''
        except Exception as e:
            self._error = e
            raise
        data = self._rest
        if 0 <= size < len(data):
            data = data[:size]
        self._rest = self._rest[len(data):]
        self.length += len(data)
        return bytes(data)


def send(api, context, image_id, metadata, chunks):
    """Make an archive the data of an image.

    :param api: Nova's image API
    :param metadata: of the image; its properties replace those it has
    :param chunks: iterable of bytes
    :returns: bytes sent
    :raises errors.SnapshotCut: Glance has something else
    """
    stream = UploadStream(chunks)
    api.update(context, image_id, metadata, stream, purge_props=True)
    size = api.get(context, image_id)['size']
    # After an error of the connection the image API sends the rest again, as
    # if it were all.
    if size != stream.length:
        raise errors.SnapshotCut(image_id=image_id, size=size,
                                 sent=stream.length)
    return stream.length
