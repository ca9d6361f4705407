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


"""openstack server image create, for a container server."""

import time

from nova.compute import task_states
from oslo_log import log as logging

from nova_containervm import domain
from nova_containervm.privsep import pack
from nova_containervm import record
from nova_containervm import serverspec
from nova_containervm.snapshot import archive
from nova_containervm.snapshot import hosttree
from nova_containervm.snapshot import layers
from nova_containervm.snapshot import originals
from nova_containervm.snapshot import upload
from nova_containervm.snapshot import workspace

LOG = logging.getLogger(__name__)

# A property that chose one of several images; the new one is alone.
_REF = 'containervm_ref'


class Snapshot:
    """One snapshot of one server.

    :param driver: the ContainerVMDriver
    :param images: the :class:`imageservice.ImageService`
    """

    def __init__(self, driver, images, context, instance):
        self._driver = driver
        self._api = driver._image_api
        self._images = images
        self._context = context
        self._instance = instance
        self._rec = record.of(instance)
        self._form = self._rec.choices.image_form

    def run(self, image_id, update_task_state, image, base, room):
        """Make the image.

        :param image_id: of the image in Glance that is to become it
        :param image: the StoredImage that the server runs
        :param base: a BaseVM whose init has the export mode
        :param room: bytes that the server may write to a share
        :raises errors.LayerError: what the server has changed cannot be read
        """
        begin = time.monotonic()
        metadata = self._metadata(self._api.get(self._context, image_id))
        sources = self._sources(image)
        update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
        with workspace.made(self._instance.uuid) as space:
            reader = layers.ChangesReader(
                self._driver, self._context, self._instance, image,
                self._rec, space)
            with (reader.of_disk(base, whole=sources is None)
                  if self._rec.choices.writable_layer == 'disk'
                  else reader.of_share(self._images.owner, room)
                  ) as (size, chunks):
                update_task_state(
                    task_state=task_states.IMAGE_UPLOADING,
                    expected_state=task_states.IMAGE_PENDING_UPLOAD)
                have_layer = time.monotonic()
                sent = upload.send(
                    self._api, self._context, image_id, metadata,
                    self._archive(space, image, sources, size, chunks))
        LOG.info('Snapshot made in %.2f s: changes %.2f s, upload %.2f s; '
                 'new layer of %d bytes, image of %d bytes',
                 time.monotonic() - begin, have_layer - begin,
                 time.monotonic() - have_layer, size, sent,
                 instance=self._instance)

    def _metadata(self, image):
        """What Glance is to know of the image, as LibvirtDriver has it."""
        metadata = self._driver._create_snapshot_metadata(
            self._instance.image_meta, self._instance, 'raw', image['name'])
        # Nova has given it the properties of the server's image.
        kept = {name: value for name, value in image['properties'].items()
                if name != _REF and domain.HARDWARE.get(name) != value}
        metadata['properties'] = {**kept, **metadata['properties']}
        return metadata

    def _sources(self, image):
        """Where the image's own layers can be had from.

        :returns: their number, and a function: Workspace -> an iterable of
            archive.Layer; None if they are not to be had one by one
        """
        known = self._images.layers(image.image_id, self._form,
                                    serverspec.image_ref(self._instance))
        size = originals.size_in_glance(self._api, self._context,
                                        image.image_id)
        if size is not None and known.can_be_passed_on:
            return len(known.diff_ids), lambda space: originals.from_glance(
                self._images.stream(self._context, image.image_id), size,
                known)
        LOG.info('The layers of image %s cannot be had from the image '
                 'service; %s made anew of its files on this host',
                 image.image_id,
                 'its layers are' if known.trees else 'one layer is',
                 instance=self._instance)
        if known.trees is None:
            return None
        return len(known.trees), lambda space: originals.from_store(
            known.trees, lambda tree, caps: hosttree.reading(
                space.path, tree, self._form, self._images.owner,
                launch=pack.launch, caps=caps))

    def _archive(self, space, image, sources, size, chunks):
        """The archive.

        The new layer comes first: who makes it does not have to wait for the
        others.
        """
        count, read = sources or (0, None)
        writer = archive.ArchiveWriter(image.config, count + 1)
        yield from writer.layer(archive.Layer(
            'layer-%d.tar' % count, size, chunks, (count,)))
        if read is not None:
            for layer in read(space):
                yield from writer.layer(layer)
        yield from writer.end(archive.history_entry(
            'snapshot of server %s' % self._instance.uuid))
