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

"""The work behind the driver's overrides: container servers, start to end."""

import contextlib
import os
import sys
import time

from keystoneauth1 import exceptions as ksa_exceptions
from nova import exception
from nova import objects
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging
from oslo_utils import excutils
from oslo_utils import fileutils

from nova_containervm import basevm
from nova_containervm import conf
from nova_containervm import domain
from nova_containervm import hostcheck
from nova_containervm import imageservice
from nova_containervm import interfaces
from nova_containervm import livemoves
from nova_containervm import moves
from nova_containervm import preparations
from nova_containervm import record
from nova_containervm import refusals
from nova_containervm import serverspec
from nova_containervm.snapshot import service as snapshot_service
from nova_containervm import startups
from nova_containervm import transports
from nova_containervm import watcher

CONF = conf.CONF
LOG = logging.getLogger(__name__)

TRAIT = 'CUSTOM_CONTAINERVM'

# What a container must at least be able to write to a share, in bytes
_LEAST_ROOM = 32 << 20


class ContainerOps:
    """Everything that the driver does for container servers.

    :param driver: the ContainerVMDriver that delegates to this object
    """

    def __init__(self, driver):
        self._driver = driver
        # The base VM image of new servers, set by start()
        self._base: basevm.BaseVM
        self._bases = basevm.BaseCache()
        self._images = imageservice.ImageService(driver._image_api)
        self.snapshots = snapshot_service.SnapshotService(
            driver, self._images, self._bases)
        self.moves = moves.Moves(driver, self._images, self._bases,
                                 self.room)
        self.livemoves = livemoves.LiveMoves(self._images, self._bases,
                                             self.room)
        self._watcher = watcher.StatusWatcher(driver._host, driver.emit_event)
        self.startups = startups.Startups()
        self.preparations = preparations.Preparations(
            driver, self._images, self.moves, self._watcher, self.room)
        self.interfaces = interfaces.Interfaces(driver._host)
        self.refusals = refusals.Refusals(self._watcher)

    # Which servers are ours

    @property
    def enabled(self) -> bool:
        """Whether this host takes container servers at all."""
        return CONF.libvirt.sub_virt_type == 'container'

    def owns(self, instance) -> bool:
        """Whether a server is a container server, on an enabled host."""
        if not self.enabled:
            return False
        try:
            properties = instance.system_metadata
        except (AttributeError, exception.OrphanedObjectError):
            # Nova passes less than an instance in places that deal with
            # servers it no longer knows; those are none of ours.
            return False
        return properties.get('image_container_format') == 'docker'

    # The host

    def start(self):
        """Check the host and begin to watch the servers on it.

        :raises exception.InvalidConfiguration: the host lacks something
        """
        try:
            self._base = hostcheck.check_settings()
            owner = hostcheck.check_host(self._driver._host)
        except Exception:
            _end_threads(self._driver._host)
            raise
        self._images.configure(owner)
        self._images.sweep()
        self._bases.hold(self._base)
        self.snapshots.start(self._base)
        self._watcher.start()
        LOG.info('Container servers are enabled: transport %s, writable '
                 'layer %s, base VM image %s (%s)',
                 CONF.containervm.rootfs_transport,
                 CONF.containervm.writable_layer,
                 self._base.path, self._base.type)

    def explain_unavailable(self):
        """Say so if libvirt cannot be reached because of our settings.

        :raises exception.InvalidConfiguration: that is why
        """
        if not self.enabled:
            return
        try:
            hostcheck.check_virt_type()
        except exception.InvalidConfiguration:
            _end_threads(self._driver._host)
            raise

    def stop(self):
        """The service ends."""
        self._watcher.stop()

    def update_traits(self, provider_tree, nodename):
        """Let the scheduler know whether this host takes docker images."""
        offered = set()
        if self.enabled:
            offered = {TRAIT} | {transports.TRAITS[name]
                                 for name in transports.offered()}
        provider_tree.remove_traits(
            nodename, *({TRAIT} | set(transports.TRAITS.values())) - offered)
        provider_tree.add_traits(nodename, *offered)

    def cache_image(self, context, image_id) -> bool | None:
        """Download and unpack an image ahead of its first server.

        :returns: False if it was there, True if it was not, None if it is no
            docker image
        """
        if not self.enabled:
            return None
        try:
            properties = self._images.docker_properties(context, image_id)
        except (exception.NovaException, ksa_exceptions.ClientException):
            # LibvirtDriver meets the same Glance, and says what is wrong.
            return None
        if properties is None:
            return None
        return self._images.cache(context, image_id, properties)

    def manage_image_cache(self, all_instances):
        """Remove images and base VM images that no server needs."""
        if not (self.enabled and CONF.image_cache.remove_unused_base_images):
            return
        records = [rec for _directory, rec in record.all_here()]
        max_age = CONF.containervm.remove_unused_images_minimum_age_seconds
        in_use = {i.image_ref for i in all_instances}
        in_use.update(r.image_id for r in records)
        self._images.age(in_use, max_age)
        self._bases.age({r.base_digest for r in records} |
                        {self._base.digest, self.snapshots.base_digest},
                        max_age)

    # Create

    @contextlib.contextmanager
    def creating(self, context, instance, injected_files,
                 block_device_info):
        """Prepare a server's image and settings around LibvirtDriver.spawn().

        Yields the image metadata that spawn() is to see.

        :raises exception.ImageUnacceptable: the image is at fault
        :raises exception.InvalidInput: the user's overrides are
        """
        begin = time.monotonic()
        self._check_creatable(instance, block_device_info)
        instance_dir = libvirt_utils.get_instance_path(instance)
        if self._has_come_back(instance_dir):
            with self.startups.starting(instance):
                yield objects.ImageMeta.from_instance(instance)
            return
        choices, image, known = self._images.choose(
            context, instance.image_ref, serverspec.image_properties(instance),
            serverspec.image_ref(instance), instance.trusted_certs)
        have_image = time.monotonic()
        self._bases.hold(self._base)
        rec = record.Record(
            image_id=instance.image_ref, base_digest=self._base.digest,
            base_type=self._base.type, choices=choices,
            injected_files=tuple((p, c) for p, c in injected_files or ()),
            image_volumes=self._base.has_image_volumes)
        try:
            # Without the network: Nova is still allocating it, and whoever
            # looks at it waits for Neutron. LibvirtDriver makes the disk
            # meanwhile. This is to refuse what cannot be run; the contract
            # for the guest is made when the domain is started.
            contract = serverspec.contract(instance, None, image, rec,
                                           self._rootfs(instance_dir, rec))
        except exception.ImageUnacceptable:
            with excutils.save_and_reraise_exception():
                if not known:
                    self._images.forget(instance.image_ref,
                                        choices.image_form)
        rec = serverspec.with_contract(rec, contract)
        self._check_fits(instance, rec, image)
        fileutils.ensure_tree(instance_dir)
        rec.save(instance_dir)
        record.remember(instance, rec)
        # Later operations read these from the instance, not from the image.
        instance.config_drive = 'True'
        for name, value in domain.HARDWARE.items():
            instance.system_metadata['image_' + name] = value
        instance.save()
        with self.startups.starting(instance):
            yield objects.ImageMeta.from_instance(instance)
        LOG.info('Container server started in %.2f s: image %.2f s, '
                 'domain %.2f s', time.monotonic() - begin,
                 have_image - begin, time.monotonic() - have_image,
                 instance=instance)

    @staticmethod
    def _has_come_back(instance_dir):
        """Whether the directory of a server is here before it is made.

        So it is after an evacuation with a directory that hosts share.
        """
        return (record.Record.find(instance_dir) is not None and
                os.path.exists(os.path.join(instance_dir, 'disk')))

    def _check_creatable(self, instance, block_device_info):
        root = refusals.root_volume(block_device_info)
        if root is not None:
            raise refusals.boot_from_volume(root.volume_id)
        if instance.flavor.root_gb == 0:
            raise exception.FlavorDiskTooSmall()

    def _check_fits(self, instance, rec, image):
        needed = self._rootfs('', rec).needs(image)
        room = self.room(instance, rec)
        if rec.choices.share_limit != 'none' and room < needed + _LEAST_ROOM:
            raise exception.FlavorDiskSmallerThanImage(
                flavor_size=instance.flavor.root_gb << 30,
                image_size=(instance.flavor.root_gb << 30) - room + needed +
                _LEAST_ROOM)

    # Start

    def _rootfs(self, instance_dir, rec):
        return transports.rootfs(instance_dir, rec.choices)

    def create_root_disk(self, disk, instance, size, source=None):
        """Make a server's disk from the base VM image it was made from.

        A disk that is there is grown.

        :param disk: an image backend's Image
        :param size: bytes, the flavor's root size
        :param source: host that has the base VM image if this one has not
        """
        rec = record.of(instance)
        base = self._bases.fetch(rec.base_digest, source)
        if rec.choices.share_limit != 'none':
            # What the container writes does not go there.
            size = base.virtual_size

        def missing(target, **kwargs):
            raise exception.InvalidDiskInfo(
                reason='the base VM image %s is gone' % target)

        disk.cache(fetch_func=missing, filename=base.cache_name, size=size)

    def room(self, instance, rec):
        """Bytes that a server may write to a share.

        With the layer ``disk`` the base VM image takes its part of the
        flavor's root size as well.
        """
        return ((instance.flavor.root_gb << 30) -
                self._bases.get(rec.base_digest).virtual_size)

    def room_of_shares(self):
        """Bytes that what servers write to shares may still grow by."""
        room = 0
        for directory, rec in record.all_here():
            with contextlib.suppress(FileNotFoundError):
                room += self._rootfs(directory, rec).room()
        return room

    def configure_guest(self, guest, instance):
        """Make the domain of an ordinary server a container server's."""
        instance_dir = libvirt_utils.get_instance_path(instance)
        rec = record.of(instance)
        domain.configure(guest, self._bases.get(rec.base_digest), rec,
                         self._rootfs(instance_dir, rec),
                         watcher.status_path(instance_dir))

    def shutdown_timeout(self, instance, timeout):
        """How long to wait for a server's shutdown, in seconds.

        The guest gives the container its stop timeout, then kills it. What
        comes on top is for the guest's own end.
        """
        if not timeout:
            return timeout
        try:
            return max(timeout, record.of(instance).stop_timeout + 5)
        except FileNotFoundError:
            return timeout

    # End

    def release(self, instance):
        """Give back what the server's start took.

        Whatever image the server has by now: a rebuild has given it the new
        one before its old self ends.
        """
        if not self.enabled:
            return
        instance_dir = libvirt_utils.get_instance_path(instance)
        # Not if it is no container server, did not get that far, or is gone.
        rec = record.Record.find(instance_dir)
        if rec is not None:
            self._rootfs(instance_dir, rec).release()


def _end_threads(host):
    """End LibvirtDriver's threads, for Nova is about to end.

    The interpreter waits for them, and the one that handles events of the
    connection to libvirt never ends: nova-compute would hang. Those of Nova
    before 2026.1 are green threads, and end with it.
    """
    if not hasattr(host, 'cleanup'):
        return
    host.cleanup()
    host._conn_event_handler_queue.put(sys.exit)
