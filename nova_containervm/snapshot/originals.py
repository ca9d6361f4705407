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


"""The layers that a server's image had before, for the archive of a new one.

They are streamed through from Glance, as they are there: their diffIDs stay,
and no second copy of them is made on this host. If Glance no longer has the
image, they are made again of what the image store has unpacked; each is then a
layer with a digest of its own, but still one layer.
"""

import contextlib
import dataclasses
import typing as ty

from nova import exception

from nova_containervm.images import errors as image_errors
from nova_containervm.images import stream
from nova_containervm.images import tarread
from nova_containervm.snapshot import archive
from nova_containervm.snapshot import errors


#: Capabilities of files: (path, security.capability in hex)
Caps = ty.Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class StoredLayers:
    """The layers of an image, as the image store knows them, lowest first.

    :param diff_ids: as in the image's config
    :param blobs: members of the image's archive that they were; None if that
        is not known
    :param trees: (directory, capabilities of files whose form on this host
        has none) of each; None if they are not kept apart
    :param whole: the image's file is its only layer (docker export)
    :param compressed: its file is compressed as a whole
    """

    diff_ids: tuple[str, ...]
    blobs: ty.Sequence[str] | None
    trees: ty.Sequence[tuple[str, Caps]] | None
    whole: bool
    compressed: bool

    @property
    def can_be_passed_on(self) -> bool:
        """Whether the layers can be cut out of the image's file."""
        return self.whole or (not self.compressed and
                              self.blobs is not None)


def size_in_glance(api, context, image_id) -> int | None:
    """Bytes that Glance has of an image; None if it does not have it."""
    try:
        image = api.get(context, image_id)
    except (exception.ImageNotFound, exception.ImageNotAuthorized):
        return None
    return image['size'] if image['status'] == 'active' else None


def from_glance(chunks: ty.Iterable[bytes], size: int,
                known: StoredLayers) -> ty.Iterator[archive.Layer]:
    """Pass on the layers of an image that Glance has.

    :param chunks: the image's file
    :param size: its length in bytes
    :raises errors.LayerDamaged: it is not the one that was unpacked
    """
    if known.whole:
        yield archive.Layer(_file_name(known.diff_ids[0]), size, chunks,
                            (0,), known.diff_ids[0])
        return
    wanted: dict[str, list[int]] = {}
    for index, blob in enumerate(known.blobs or ()):
        wanted.setdefault(blob, []).append(index)
    reader = tarread.TarReader(stream.Reader(chunks))
    try:
        for member in reader:
            indexes = wanted.pop(_plain(member.name), None)
            if indexes is None or member.type != tarread.REG:
                continue
            diff_id = known.diff_ids[indexes[0]]
            yield archive.Layer(_file_name(diff_id), member.size,
                                reader.data(), tuple(indexes), diff_id)
    except image_errors.ImageError as e:
        raise errors.LayerDamaged(reason=str(e))
    if wanted:
        raise errors.LayerDamaged(
            reason='the image in the image service has no %s any more' %
            ', '.join(wanted))


def _file_name(diff_id):
    return diff_id.partition(':')[2] + '.tar'


def _plain(name):
    """The name of a member, as the image store noted it."""
    parts = [p for p in name.split(b'/') if p not in (b'', b'.')]
    return b'/'.join(parts).decode('utf-8', 'backslashreplace')


def from_store(trees: ty.Sequence[tuple[str, Caps]],
               read: ty.Callable[[str, Caps],
                                 contextlib.AbstractContextManager]
               ) -> ty.Iterator[archive.Layer]:
    """Make layers again from their files.

    :param read: function: directory, capabilities of files -> context manager
        that yields a frames.LayerReader
    """
    for index, (tree, caps) in enumerate(trees):
        with read(tree, caps) as reader:
            size = reader.size()
            yield archive.Layer('layer-%d.tar' % index, size,
                                reader.chunks(size), (index,))
