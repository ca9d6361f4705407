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


"""The changes of one server as a layer, from wherever they are."""

import contextlib
import dataclasses
import os

from nova.compute import power_state
from nova import exception
import nova.privsep.path
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging

from nova_containervm.privsep import pack
from nova_containervm.snapshot import diskcopy
from nova_containervm.snapshot import errors
from nova_containervm.snapshot import exportvm
from nova_containervm.snapshot import hosttree
from nova_containervm.snapshot import workspace
from nova_containervm import transports

LOG = logging.getLogger(__name__)

_COPY = 'disk.qcow2'
_CONSOLE = 'console.log'
_SPOOL = 'layer.tar'
_CHUNK = 256 * 1024

_ALIVE = (power_state.RUNNING, power_state.PAUSED)


class ChangesReader:
    """Reads what one server has changed.

    :param driver: the ContainerVMDriver
    :param instance: the server
    :param image: the StoredImage that it runs
    :param rec: its :class:`record.Record`
    :param space: the Workspace
    """

    def __init__(self, driver, context, instance, image, rec, space):
        self._driver = driver
        self._host = driver._host
        self._context = context
        self._instance = instance
        self._image = image
        self._rec = rec
        self._space = space
        self._guest = driver._host.get_guest(instance)
        self._state = self._guest.get_power_state(driver._host)

    # -- layer disk -------------------------------------------------------

    @contextlib.contextmanager
    def of_disk(self, base, whole=False):
        """The changes on the server's disk.

        :param base: a BaseVM whose init has the export mode
        :param whole: all that the server sees, not only its changes
        :yields: size in bytes, and the bytes as an iterable
        :raises errors.LayerError: they cannot be read
        """
        copy = self._space.file(_COPY)
        target, path, disk_format = self._disk()
        if self._state in _ALIVE:
            with self._space.noted(workspace.COPYING):
                diskcopy.copy_running(self._guest, target, copy, self._freeze,
                                      self._thaw)
        else:
            diskcopy.overlay(path, disk_format, copy)
        with export(self._host, self._instance.uuid, self._image, self._rec,
                    base, copy, self._space, whole) as found:
            yield found

    def _disk(self):
        for device in self._guest.get_config().devices:
            if (isinstance(device, vconfig.LibvirtConfigGuestDisk) and
                    os.path.basename(device.source_path or '') == 'disk'):
                return (device.target_dev, device.source_path,
                        device.driver_format)
        raise exception.DiskNotFound(location='disk of %s' %
                                     self._instance.uuid)

    def _freeze(self):
        if self._state != power_state.RUNNING:
            return
        meta = self._instance.image_meta
        open(self._space.file(workspace.FROZEN), 'w').close()
        try:
            self._driver.quiesce(self._context, self._instance, meta)
        except exception.NovaException as e:
            os.unlink(self._space.file(workspace.FROZEN))
            if self._driver._requires_quiesce(meta):
                raise
            LOG.info('The file systems of the server are not frozen for its '
                     'snapshot, which is as after a power cut: %s',
                     e.format_message(), instance=self._instance)

    def _thaw(self):
        if not self._space.has(workspace.FROZEN):
            return
        self._driver.unquiesce(self._context, self._instance,
                               self._instance.image_meta)
        os.unlink(self._space.file(workspace.FROZEN))

    # -- layer share ------------------------------------------------------

    @contextlib.contextmanager
    def of_share(self, owner, room):
        """The changes in the server's directory on this host.

        The server is paused while they are read, to a file: how long the
        upload takes is then of no importance to it.

        :param owner: user and group that QEMU runs as
        :param room: bytes that the server may write there
        :yields: as :meth:`of_disk`
        :raises errors.LayerError: they cannot be read
        """
        spool = self._space.file(_SPOOL)
        with self._paused(), open(spool, 'wb') as out:
            with self._share(owner, room) as reader:
                size = reader.size()
                for chunk in reader.chunks(size):
                    out.write(chunk)
        with open(spool, 'rb') as stream:
            yield size, iter(lambda: stream.read(_CHUNK), b'')

    @contextlib.contextmanager
    def _share(self, owner, room):
        choices = self._rec.choices
        own = transports.rootfs(
            libvirt_utils.get_instance_path(self._instance), choices)
        with contextlib.ExitStack() as stack:
            own.open_private(room)
            if self._state not in _ALIVE:
                stack.callback(own.release)
            reference = None
            name = 'upper'
            if choices.share_provisioning != 'overlay':
                name = 'tree'
                reference = stack.enter_context(_image_mounted(
                    self._space, self._image, self._rec)).path
            yield stack.enter_context(hosttree.reading(
                self._space.path, os.path.join(own.private, name),
                choices.image_form, owner, launch=pack.launch,
                reference=reference))

    @contextlib.contextmanager
    def _paused(self):
        if self._state != power_state.RUNNING:
            yield
            return
        # Nothing that the guest has not written out yet is to be missing.
        self._freeze()
        self._thaw()
        with self._space.noted(workspace.PAUSED):
            self._guest.pause()
            try:
                yield
            finally:
                self._guest.resume()


@contextlib.contextmanager
def export(host, uuid, image, rec, base, disk, space, whole=False):
    """Have a virtual machine read a server's disk.

    :param host: Nova's libvirt Host
    :param uuid: of the server
    :param image: the StoredImage that it runs
    :param rec: its :class:`record.Record`
    :param base: a BaseVM whose init has the export mode
    :param disk: a copy of the server's disk, which may be written to
    :param space: the Workspace
    :param whole: all that the server sees, not only its changes
    :yields: size in bytes, and the bytes as an iterable
    :raises errors.LayerError: it cannot be read
    """
    console = space.file(_CONSOLE)
    with _image_mounted(space, image, rec) as rootfs:
        xml = exportvm.domain_xml(
            exportvm.PREFIX + uuid, base, disk, rootfs,
            exportvm.DIRECTORIES[rec.base_type], console)
        try:
            with exportvm.running(host, xml, exportvm.contract(
                    uuid, image, rec, rootfs, whole)) as reader:
                size = reader.size()
                yield size, reader.chunks(size)
        except errors.LayerError as e:
            LOG.warning('The disk of server %(uuid)s could not be read: '
                        '%(error)s The virtual machine that read it said: '
                        '%(console)s', {'uuid': uuid, 'error': e,
                                        'console': _tail(console)})
            raise


@contextlib.contextmanager
def _image_mounted(space, image, rec):
    """The image alone, as it is for a server with layer ``disk``."""
    rootfs = transports.rootfs(space.path, dataclasses.replace(
        rec.choices, writable_layer='disk', share_limit='none'))
    rootfs.prepare(image, 0)
    try:
        yield rootfs
    finally:
        rootfs.remove()


def _tail(path):
    """The end of a file that libvirt's log daemon keeps for itself."""
    try:
        data, _rest = nova.privsep.path.last_bytes(path, 2000)
    except OSError as e:
        return '(%s)' % e
    return data.decode('utf-8', 'replace').strip()
