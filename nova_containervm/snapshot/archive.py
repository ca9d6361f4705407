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


"""Writes the archive of an image: layers, config, manifest.json.

It is what "docker save" wrote before version 25 and what podman and skopeo
call docker-archive; docker, podman and skopeo read it. Layers may come in any
order, and compressed as they are; nothing has to be known before it is there
but how long it is.
"""

import copy
import dataclasses
import datetime
import hashlib
import json
import typing as ty

from nova_containervm.snapshot import tarwrite

Json = dict[str, ty.Any]


@dataclasses.dataclass
class Layer:
    """One layer on its way into an archive.

    :param name: of the member
    :param size: bytes of ``chunks`` together
    :param indexes: where it is in the image, the lowest is 0; an image may
        have the same layer twice
    :param diff_id: of what it unpacks to; None if that is not known yet: then
        it is not compressed
    """

    name: str
    size: int
    chunks: ty.Iterable[bytes]
    indexes: tuple[int, ...]
    diff_id: str | None = None


class ArchiveWriter:
    """Writes one archive with one image.

    :param config: config of the image that it is made from
    :param count: how many layers it will have
    :param tags: names of the image
    """

    def __init__(self, config: Json, count: int,
                 tags: ty.Sequence[str] = ()):
        self._config = config
        self._tags = list(tags)
        self._names: list[str | None] = [None] * count
        self._diff_ids: list[str | None] = [None] * count
        #: Bytes written so far.
        self.length = 0

    def _counted(self, data):
        self.length += len(data)
        return data

    def _member(self, name, size, chunks):
        yield self._counted(tarwrite.header(tarwrite.Entry(
            name.encode(), mode=0o644, size=size)))
        begin = self.length
        for chunk in chunks:
            yield self._counted(chunk)
        if self.length - begin != size:
            raise ValueError('%s has %d bytes, not %d' % (
                name, self.length - begin, size))
        yield self._counted(tarwrite.padding(size))

    def layer(self, layer: Layer) -> ty.Iterator[bytes]:
        """The bytes of a layer's member."""
        digest = hashlib.sha256() if layer.diff_id is None else None
        yield from self._member(layer.name, layer.size,
                                _hashed(layer.chunks, digest))
        diff_id = (layer.diff_id if digest is None
                   else 'sha256:' + digest.hexdigest())
        for index in layer.indexes:
            self._names[index] = layer.name
            self._diff_ids[index] = diff_id

    def end(self, added: Json | None = None) -> ty.Iterator[bytes]:
        """What comes after the layers.

        :param added: entry of the history for the last layer; None: it is
            one of the image's own
        """
        if None in self._names:
            raise ValueError('layers are missing: %s' % self._names)
        config = json.dumps(
            new_config(self._config, self._diff_ids, added),
            sort_keys=True).encode()
        name = hashlib.sha256(config).hexdigest() + '.json'
        manifest = json.dumps([{'Config': name, 'RepoTags': self._tags or None,
                                'Layers': self._names}]).encode()
        yield from self._member(name, len(config), [config])
        yield from self._member('manifest.json', len(manifest), [manifest])
        yield self._counted(tarwrite.END)


def _hashed(chunks, digest):
    for chunk in chunks:
        if digest is not None:
            digest.update(chunk)
        yield chunk


def new_config(config: Json, diff_ids: ty.Sequence[str | None],
               added: Json | None) -> Json:
    """The config of an image with other layers, or one more.

    What docker notes about the container that an image was made in is left
    out: it was another one. (OCI image-spec, config.md; moby's image/spec.)
    """
    made = copy.deepcopy(config)
    for key in ('container', 'container_config', 'id', 'parent',
                'parent_id'):
        made.pop(key, None)
    made['rootfs'] = {'type': 'layers', 'diff_ids': list(diff_ids)}
    history = config.get('history')
    known = len(diff_ids) - (added is not None)
    if not isinstance(history, list) or known != sum(
            isinstance(entry, dict) and not entry.get('empty_layer')
            for entry in history):
        # It has to have an entry for each layer.
        history = [{'created_by': 'unknown'}] * known
    if added is not None:
        made['history'] = [*history, added]
        made['created'] = added['created']
    else:
        made['history'] = history
    return made


def history_entry(comment: str) -> Json:
    """The history's entry for a layer made now."""
    now = datetime.datetime.now(datetime.UTC)
    return {'created': now.strftime('%Y-%m-%dT%H:%M:%SZ'),
            'created_by': 'nova-containervm', 'comment': comment}
