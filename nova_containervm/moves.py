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


"""Servers that leave this host, or come to it, by a resize or a migration.

LibvirtDriver takes the disks along. What goes with them is the server's
record, what its guest has reported, its directory on the host if it writes to
one, and its image if the image service does not have that any more. The base
VM image that the disk is based on is fetched from the host that it left.
"""

import contextlib
import os

from nova import exception
from nova.virt.libvirt import utils as libvirt_utils
from oslo_concurrency import processutils
from oslo_log import log as logging
from oslo_utils import excutils
from oslo_utils import fileutils

from nova_containervm import conf
from nova_containervm.privsep import moving
from nova_containervm.privsep import pack
from nova_containervm import record
from nova_containervm import serverspec
from nova_containervm.snapshot import archive
from nova_containervm.snapshot import hosttree
from nova_containervm.snapshot import originals
from nova_containervm.snapshot import workspace
from nova_containervm import transports
from nova_containervm import watcher

CONF = conf.CONF

LOG = logging.getLogger(__name__)

#: In the directory of the record, when they have come from the other host.
IMAGE = 'image.tar'
PRIVATE = 'rootfs.tar'
# The same on the host that the server leaves. Other names, for one that a
# nova-compute left half made must not be taken in when the server comes back.
_IMAGE_OUT = IMAGE + '.leaving'
_PRIVATE_OUT = PRIVATE + '.leaving'


class Moves:
    """What the driver does beside LibvirtDriver when a server moves.

    :param driver: the ContainerVMDriver
    :param images: the :class:`imageservice.ImageService`
    :param bases: the :class:`basevm.BaseCache`
    :param room: function: instance, Record -> bytes that it may write to a
        share
    """

    def __init__(self, driver, images, bases, room):
        self._driver = driver
        self._images = images
        self._bases = bases
        self._room = room

    # -- the host that a server leaves ------------------------------------

    def leave(self, context, instance, dest, move_disks):
        """Around LibvirtDriver.migrate_disk_and_power_off().

        :param dest: address of the other host
        :param move_disks: that, as a function without arguments
        :returns: what it returns
        """
        directory = libvirt_utils.get_instance_path(instance)
        rec = record.of(instance)
        # The same host, or one that sees the same files
        shared = self._driver._is_path_shared_with(dest, directory)
        if not shared:
            # Before anything happens to the server, for it takes its time.
            self._take_image(context, instance, rec, directory)
        try:
            info = move_disks()
        except Exception:
            with excutils.save_and_reraise_exception():
                fileutils.delete_if_exists(_file(directory, _IMAGE_OUT))
        old = directory + '_resize'
        try:
            if shared:
                self._copy(instance, rec, old, directory)
            else:
                self._send(instance, rec, old, directory, dest)
        except Exception:
            with excutils.save_and_reraise_exception():
                if shared:
                    self.discard(directory)
                self._driver._cleanup_remote_migration(
                    None if shared else dest, directory, old, shared)
        return info

    def _take_image(self, context, instance, rec, directory):
        """Make an archive of the image if the other host cannot get it."""
        # What a nova-compute that died in here has left, half of it perhaps
        fileutils.delete_if_exists(_file(directory, _IMAGE_OUT))
        if originals.size_in_glance(self._driver._image_api, context,
                                    rec.image_id) is not None:
            return
        LOG.info('Image %s is not in the image service any more; it is made '
                 'anew of its files on this host', rec.image_id,
                 instance=instance)
        target = _file(directory, _IMAGE_OUT)
        try:
            with open(target, 'wb') as out, workspace.made(
                    instance.uuid) as space:
                out.writelines(self._archive(context, instance, rec, space))
        except Exception:
            with excutils.save_and_reraise_exception():
                fileutils.delete_if_exists(target)

    def _archive(self, context, instance, rec, space):
        """The image as an archive, made of what this host has of it."""
        ref = serverspec.image_ref(instance)
        form = rec.choices.image_form
        image = self._images.get(context, rec.image_id, form, ref)
        known = self._images.layers(rec.image_id, form, ref)
        if known.trees is None:
            raise exception.MigrationPreCheckError(
                reason='image %s is not in the image service any more, and '
                'of its layers %s has only a disk' % (rec.image_id,
                                                      CONF.host))
        writer = archive.ArchiveWriter(image.config, len(known.trees),
                                       tags=[ref] if ref else ())
        for layer in originals.from_store(
                known.trees, lambda tree, caps: hosttree.reading(
                    space.path, tree, form, self._images.owner,
                    launch=pack.launch, caps=caps)):
            yield from writer.layer(layer)
        yield from writer.end()

    @contextlib.contextmanager
    def _private(self, instance, rec, directory):
        """A server's directory for what it writes to a share, or None.

        :param directory: that of the server
        """
        rootfs = transports.rootfs(directory, rec.choices)
        if rec.choices.writable_layer == 'disk':
            yield None
            return
        rootfs.open_private(self._room(instance, rec))
        try:
            yield rootfs.private
        finally:
            rootfs.release()

    def _copy(self, instance, rec, old, directory):
        """To the server's new directory on this host."""
        fileutils.ensure_tree(_file(directory))
        for name in ('server.json', watcher.FILE):
            _copy_readable(_file(old, name), _file(directory, name))
        with self._private(instance, rec, old) as source:
            if source is not None:
                with self._private(instance, rec, directory) as target:
                    moving.copy_private(source, target)

    def _send(self, instance, rec, old, directory, dest):
        """To its directory on the other host."""
        tar = _file(old, _PRIVATE_OUT)
        image = _file(old, _IMAGE_OUT)
        status = _file(old, 'status.copy')
        try:
            _copy_readable(_file(old, watcher.FILE), status)
            with self._private(instance, rec, old) as private:
                if private is not None:
                    # What a nova-compute that died in here has left
                    fileutils.delete_if_exists(tar)
                    moving.archive_private(private, tar)
            self._driver._remotefs.create_dir(dest, _file(directory))
            for source, name in ((_file(old, 'server.json'), 'server.json'),
                                 (status, watcher.FILE), (tar, PRIVATE),
                                 (image, IMAGE)):
                if os.path.exists(source):
                    libvirt_utils.copy_image(source, _file(directory, name),
                                             host=dest)
        except processutils.ProcessExecutionError as e:
            # Of others, Nova tells the user no more than the class.
            raise exception.MigrationError(
                reason='what belongs to the server cannot be copied to %s: '
                '%s' % (dest, e))
        finally:
            for path in (tar, image, status):
                fileutils.delete_if_exists(path)

    # -- the host that a server comes to ----------------------------------

    def arrive(self, context, instance, source):
        """Before LibvirtDriver.finish_migration().

        :param source: name of the host that the server has left
        :raises exception.InvalidDiskInfo: something has not come along
        """
        directory = libvirt_utils.get_instance_path(instance)
        try:
            rec = record.Record.load(directory)
        except FileNotFoundError:
            raise exception.InvalidDiskInfo(
                reason='the record of server %s has not come along from %s; '
                'is a container host of this release there?' % (
                    instance.uuid, source))
        self._bases.fetch(rec.base_digest, source)
        self.take_in(instance, rec)
        self._images.get(context, rec.image_id, rec.choices.image_form,
                         serverspec.image_ref(instance),
                         instance.trusted_certs)

    def take_in(self, instance, rec):
        """Put in place what has come along with a server, if it is not yet.

        Also before each start: after a failure in :meth:`arrive`, or when
        nova-compute died there, it is the operator who starts the server.

        :raises exception.MigrationError: the host cannot take it
        """
        directory = libvirt_utils.get_instance_path(instance)
        form = rec.choices.image_form
        image = _file(directory, IMAGE)
        if os.path.exists(image):
            self._images.adopt(rec.image_id, form, image,
                               serverspec.image_ref(instance))
            os.unlink(image)
        tar = _file(directory, PRIVATE)
        if os.path.exists(tar):
            owner = self._images.owner if form == 'mapped' else None
            with self._private(instance, rec, directory) as private:
                try:
                    moving.restore_private(tar, private, owner)
                except processutils.ProcessExecutionError as e:
                    raise exception.MigrationError(
                        reason='what has come along with the server cannot '
                        'be put in place on %s: %s' % (CONF.host, e))
            os.unlink(tar)

    # -- afterwards -------------------------------------------------------

    def discard_old(self, instance):
        """The resize of a server is confirmed: its old self goes."""
        self.discard(libvirt_utils.get_instance_path(instance) + '_resize')

    def remove(self, instance):
        """:meth:`discard` for all directories of a server that is deleted.

        :returns: whether that is gone; the log says why it is not
        """
        path = libvirt_utils.get_instance_path(instance)
        # The other one is there if a resize was neither confirmed nor
        # reverted.
        for directory in (path, path + '_resize'):
            try:
                self.discard(directory)
            except (OSError, processutils.ProcessExecutionError) as e:
                LOG.error('The root filesystem in %s cannot be removed: %s. '
                          'Nova tries again; [DEFAULT] '
                          'instance_delete_interval and '
                          'maximum_instance_delete_attempts say how often.',
                          directory, e, instance=instance)
                return False
        return True

    def discard(self, directory):
        """Remove what only root can of a directory that is to be removed.

        Not all directories are those of container servers.
        """
        rec = record.Record.find(directory)
        if rec is not None:
            transports.rootfs(directory, rec.choices).remove()


def _file(directory, *names):
    return os.path.join(directory, record.DIRECTORY, *names)


def _copy_readable(source, target):
    """Copy a file that may be libvirt's log daemon's."""
    try:
        data = watcher.read_reports(source)
    except FileNotFoundError:
        return
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
              'wb') as out:
        out.write(data)
