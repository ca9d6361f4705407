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

"""Docker images from Glance, by way of the image store of this host."""

import contextlib
import dataclasses
import functools
import os
import queue
import threading

from cryptography import exceptions as crypto_exceptions
from nova import exception
from oslo_log import log as logging

from nova_containervm import conf
from nova_containervm import diskimage
from nova_containervm.images import diskfile
from nova_containervm.images import diskstore
from nova_containervm.images import errors as image_errors
from nova_containervm.images import limits as image_limits
from nova_containervm.images import store as image_store
from nova_containervm.privsep import unpack
from nova_containervm.snapshot import originals
from nova_containervm import transports

CONF = conf.CONF
LOG = logging.getLogger(__name__)


class _Pipe:
    """What Nova's image API writes a download to, for another to read.

    Bounded, so that a slow reader slows the download down.
    """

    # of the 64 KiB that glanceclient reads at a time
    CHUNKS = 16

    def __init__(self):
        self._queue = queue.Queue(self.CHUNKS)
        self._closed = threading.Event()

    def write(self, chunk):
        """Called by the image API."""
        while not self._closed.is_set():
            try:
                return self._queue.put(chunk, timeout=1)
            except queue.Full:
                continue
        raise exception.NovaException('nobody reads the image any more')

    def truncate(self, size):
        """Called when the signature is wrong; an exception follows."""

    def end(self, error):
        """The writer is done, with an exception or None."""
        self.write(_End(error))

    def chunks(self):
        """What is written, until the writer's end or exception."""
        try:
            while not isinstance(chunk := self._queue.get(), _End):
                yield chunk
            if chunk.error is not None:
                raise chunk.error
        finally:
            self._closed.set()


@dataclasses.dataclass
class _End:
    error: BaseException | None


def download(api, context, image_id, trusted_certs):
    """Stream an image from Glance.

    The image API checks signatures only of what it writes itself. So it
    writes, in a thread, and the last chunk is not the end: that comes when
    the signature is found right. Who reads must not make anything of the
    image visible before.

    :param api: Nova's image API
    :returns: an iterable of bytes
    :raises: what ``api.download`` does, from the iterable
    """
    pipe = _Pipe()

    def run():
        error = None
        try:
            api.download(context, image_id, data=pipe,
                         trusted_certs=trusted_certs)
        except Exception as e:
            error = e
        with contextlib.suppress(exception.NovaException):
            pipe.end(error)

    thread = threading.Thread(target=run, name='containervm-download',
                              daemon=True)
    thread.start()
    return pipe.chunks()


@contextlib.contextmanager
def _explained(image_id):
    """Say what is wrong with an image in Nova's words."""
    try:
        yield
    except image_errors.ImageError as e:
        raise exception.ImageUnacceptable(image_id=image_id, reason=str(e))
    except crypto_exceptions.InvalidSignature:
        # It has no words of its own.
        raise exception.ImageUnacceptable(
            image_id=image_id, reason='its signature is not that of the '
            'image: one of the two was altered')


class ImageService:
    """The image stores of this host, one for each form of images.

    :param image_api: Nova's image API
    """

    def __init__(self, image_api):
        self._api = image_api
        self._owner = (0, 0)

    def configure(self, owner):
        """Set the user and group that QEMU runs as."""
        self._owner = owner

    def sweep(self):
        """Remove what a nova-compute that was killed has left half done."""
        for store in self._stores():
            store.sweep()

    def _stores(self):
        """The stores that exist."""
        stores = [self._store(form) for form in conf.IMAGE_FORMS]
        return [store for store in stores if os.path.isdir(store.root)]

    def _store(self, form):
        limits = image_limits.Limits(**{
            f.name: CONF.containervm[f.name]
            for f in dataclasses.fields(image_limits.Limits)})
        root = os.path.join(CONF.instances_path,
                            CONF.image_cache.subdirectory_name,
                            'containervm', form)
        # Files of mode passthrough have the owners that the image gives them.
        owner = (0, 0) if form == 'passthrough' else self._owner
        if form == 'block':
            return diskstore.DiskStore(
                root, compression=CONF.containervm.disk_compression,
                to_raw=diskimage.to_raw, owner=owner, limits=limits,
                launch=unpack.launch)
        return image_store.ImageStore(
            root, access_mode=form, owner=owner, limits=limits,
            launch=unpack.launch)

    def choose(self, context, image_id, properties, ref=None,
               trusted_certs=None):
        """Return an image for a new server, and how that is to be made.

        :param properties: of the image
        :returns: a :class:`rootfs.base.Choices`, a StoredImage, and whether
            anything of the image was on this host before
        :raises exception.ImageUnacceptable: as :meth:`get`, or the transport
            that it needs is not offered
        """
        choices = self._choices(image_id, properties, ref)
        known = self.known(image_id, choices.image_form)
        with _explained(image_id):
            try:
                image = self._ensure(context, image_id, choices.image_form,
                                     ref, trusted_certs)
            except image_errors.IsDisk:
                choices = transports.choices(properties, image_id, disk=True)
                known = self.known(image_id, choices.image_form)
                image = self._ensure(context, image_id, choices.image_form,
                                     ref, trusted_certs)
        return choices, image, known

    def _choices(self, image_id, properties, ref):
        disk = self._store('block').is_disk(image_id, ref)
        return transports.choices(properties, image_id, disk=disk)

    def get(self, context, image_id, form, ref=None, trusted_certs=None):
        """Return an image, downloaded and unpacked at most once.

        :param form: of conf.IMAGE_FORMS
        :param ref: which image of several in one archive
        :returns: a :class:`image_store.StoredImage`
        :raises exception.ImageUnacceptable: it cannot be run, or its
            signature is wrong
        """
        with _explained(image_id):
            return self._ensure(context, image_id, form, ref, trusted_certs)

    def _ensure(self, context, image_id, form, ref, trusted_certs):
        fetch = functools.partial(self._fetch, context, image_id,
                                  trusted_certs)
        return self._store(form).ensure(image_id, fetch, ref=ref)

    def _fetch(self, context, image_id, trusted_certs):
        """Download an image, and see whether a disk is what Glance calls it.

        So Nova does: nobody is to have one for the other's limits.
        """
        kind, chunks = diskfile.peek(download(self._api, context, image_id,
                                              trusted_certs))
        if kind is not None:
            declared = self._api.get(context, image_id).get('disk_format')
            wanted = 'qcow2' if kind == diskfile.QCOW2 else 'raw'
            if declared != wanted:
                raise image_errors.NotAnImage(
                    'its disk_format is %s, but the file is %s; upload it '
                    'with --disk-format %s' % (
                        declared, 'a qcow2' if wanted == 'qcow2' else
                        'a raw disk', wanted))
        return chunks

    def disk_sum(self, image_id, form, ref=None):
        """What is equal on hosts whose disks of an image are the same.

        :returns: a string, or None if the image is not on this host
        """
        image = self._store(form).lookup(image_id, ref)
        return None if image is None else image.disk_sum

    def adopt(self, image_id, form, path, ref=None):
        """Take an image from a file, as another host has sent it.

        :raises exception.ImageUnacceptable: it cannot be run
        """
        def fetch():
            with open(path, 'rb') as f:
                while chunk := f.read(1 << 20):
                    yield chunk

        with _explained(image_id):
            self._store(form).ensure(image_id, fetch, ref=ref)

    def layers(self, image_id, form, ref=None):
        """The layers of an image that this host has.

        :returns: a :class:`originals.StoredLayers`
        """
        known = self._store(form).origins(image_id, ref)
        return originals.StoredLayers(
            tuple(known['diff_ids']), known['blobs'],
            trees=known['trees'], whole=known['format'] == 'rootfs',
            compressed=known['compression'] is not None)

    def stream(self, context, image_id):
        """The file of an image in Glance, as an iterable of bytes."""
        return download(self._api, context, image_id, None)

    @property
    def owner(self):
        """User and group that QEMU runs as."""
        return self._owner

    def known(self, image_id, form):
        """Whether anything of an image is on this host."""
        return self._store(form).has(image_id)

    def forget(self, image_id, form):
        """Remove an image that turned out to be unusable.

        Only what nothing else needs: a server that is being made of the same
        image, with a command of its own, fetches it again.
        """
        store = self._store(form)
        try:
            store.prune({record['image_id']
                         for _path, record in store.records()
                         if record and record['image_id'] != image_id}, 0)
        except (image_errors.StoreError, OSError) as e:
            # It goes with its age then. The user is to hear of the image.
            LOG.warning('Docker image %(image)s cannot be removed: %(error)s',
                        {'image': image_id, 'error': e})

    def docker_properties(self, context, image_id):
        """Properties of an image if its container_format is ``docker``.

        :returns: a dict, or None for any other image
        """
        image = self._api.get(context, image_id)
        if image.get('container_format') != 'docker':
            return None
        return image.get('properties') or {}

    def cache(self, context, image_id, properties):
        """Have an image ready, and let it count as used now.

        :param properties: of the image, as docker_properties() returns them
        :returns: whether it had to be fetched
        """
        ref = properties.get('containervm_ref')
        form = self._choices(image_id, properties, ref).image_form
        known = self._store(form).lookup(image_id, ref) is not None
        self.choose(context, image_id, properties, ref)
        return not known

    def age(self, in_use, max_age):
        """Remove images that no server has used for ``max_age`` seconds."""
        for store in self._stores():
            store.prune(in_use, max_age)
