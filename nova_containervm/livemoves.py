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


"""Live migration, and what it has in common with suspending a server.

QEMU carries a server's memory and its own disk. What it cannot carry is a
share; what it does not is the disk with the image, which is read-only. That
one is there, or is made, on the other host before the server comes.
"""

import os

from nova import exception
from oslo_utils import fileutils

from nova_containervm import errors
from nova_containervm import record
from nova_containervm import serverspec
from nova_containervm import transports
from nova_containervm import watcher


class LiveMoves:
    """What the driver does beside LibvirtDriver.

    :param images: the :class:`imageservice.ImageService`
    :param bases: the :class:`basevm.BaseCache`
    :param room: function: instance, Record -> bytes that it may write to a
        share
    """

    def __init__(self, images, bases, room):
        self._images = images
        self._bases = bases
        self._room = room

    def check_source(self, instance):
        """Whether a server can leave this host while it runs.

        The other host, which has been asked before, then finds noted which
        disk it runs on.

        :raises exception.InvalidSharedStorage: why it cannot
        :raises exception.MigrationPreCheckError: why not to that host
        """
        rec = record.of(instance)
        _check_savable(instance, rec.choices)
        if rec.injected_files:
            raise _nowhere('files were given to server %s when it was '
                           'created, and do not move with it; %s' % (
                               instance.uuid, _COLD))
        here = self._disk_sum(instance, rec)
        there = record.note_disk(instance, here)
        if None not in (here, there) and here != there:
            raise exception.MigrationPreCheckError(
                reason=_other_disk(instance, rec))

    def check_destination(self, instance):
        """Whether this host can take a server while it runs.

        :raises exception.InvalidSharedStorage: why no host can
        :raises exception.MigrationPreCheckError: why this one cannot
        """
        rec = record.remembered(instance)
        if rec is None:
            # Made by an older release; the host that has it knows.
            return
        _check_savable(instance, rec.choices)
        if rec.choices.rootfs_transport not in transports.offered():
            raise exception.MigrationPreCheckError(
                reason='the root filesystem of server %s is a disk, and '
                'transport block is not among those that this host offers: '
                '[containervm] rootfs_transport, allowed_transports' %
                instance.uuid)
        record.offer_disk(instance, self._disk_sum(instance, rec))

    def _disk_sum(self, instance, rec):
        return self._images.disk_sum(rec.image_id, rec.choices.image_form,
                                     serverspec.image_ref(instance))

    def prepare(self, context, instance, instance_dir, source):
        """A server is about to come to this host.

        :param instance_dir: its directory here, which has just been made
        :param source: name of the host that has it
        :raises exception.InvalidDiskInfo: its base VM image cannot be had, or
            its image has become another disk here
        :raises exception.ImageUnacceptable: its image cannot be had
        """
        rec = record.remembered(instance)
        if rec is None:
            raise exception.InvalidDiskInfo(
                reason='server %s was made by a release that cannot migrate '
                'it live; %s' % (instance.uuid, _COLD))
        self._bases.fetch(rec.base_digest, source)
        image = self._images.get(context, rec.image_id,
                                 rec.choices.image_form,
                                 serverspec.image_ref(instance),
                                 instance.trusted_certs)
        there = record.noted_disk(context, instance)
        if there not in (None, image.disk_sum):
            raise exception.InvalidDiskInfo(reason=_other_disk(instance, rec))
        transports.rootfs(instance_dir, rec.choices).prepare(
            image, self._room(instance, rec))
        rec.save(instance_dir)
        status = watcher.status_path(instance_dir)
        fileutils.ensure_tree(os.path.dirname(status))
        os.close(os.open(status, os.O_WRONLY | os.O_CREAT, 0o640))


_COLD = 'stop it, or use "openstack server migrate" without --live-migration'


def _nowhere(reason):
    """The exception for what no host can do.

    Upon a MigrationPreCheckError, Nova's conductor tries the next host, and
    in the end knows no more than that there was none. This one it passes on.
    """
    return exception.InvalidSharedStorage('Live migration: ' + reason)


def _other_disk(instance, rec):
    """Why a guest cannot go on: it knows where on its disk everything is."""
    return (
        'the disk with image %s that server %s runs on is not the same on the '
        'other host, which has another version of mkfs.erofs or another '
        '[containervm] disk_compression; %s' % (rec.image_id, instance.uuid,
                                                _COLD))


def _check_savable(instance, choices):
    if not transports.ROOTFS[choices.rootfs_transport].savable:
        raise _nowhere(
            'the root filesystem of server %s is a %s share, which QEMU '
            'cannot migrate; %s. Servers of images with %s=block can.' %
            (instance.uuid, choices.rootfs_transport, _COLD,
             transports.PROPERTY))


def check_suspend(instance):
    """Whether the memory of a server can be saved.

    :raises errors.OperationNotSupported: why it cannot
    """
    choices = record.of(instance).choices
    if not transports.ROOTFS[choices.rootfs_transport].savable:
        raise errors.OperationNotSupported(
            instance_uuid=instance.uuid, operation='be suspended',
            reason='its root filesystem is a %s share, which QEMU cannot '
            'save; use "openstack server stop" or "openstack server pause", '
            'or images with %s=block' % (choices.rootfs_transport,
                                         transports.PROPERTY))
