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


"""The virtual machine that reads what a server has written to its disk.

A file system that a tenant has made is not for the kernel of the host. So a
copy of the disk is given to a virtual machine that lives for this only, with
the kernel and the init of the base VM image (guest/init/export.c). libvirt
runs it as it runs any server.
"""

import contextlib
import threading
import time

from lxml import etree
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import host as libvirt_host
from oslo_utils import uuidutils

from nova_containervm import conf
from nova_containervm import domain
from nova_containervm.guest import contract as guest_contract
from nova_containervm.snapshot import errors
from nova_containervm.snapshot import frames

CONF = conf.CONF

CHANNEL = 'org.openstack.containervm.export.0'
PREFIX = 'containervm-export-'
MEMORY_KIB = 512 * 1024

#: Where the two directories of the overlay are on the disk; see guest.sh.
DIRECTORIES = {'minimal': '', 'cloud': '/var/lib/containervm'}

#: Seconds without a word after which it is taken to hang.
SILENCE = 600

# libvirt's VIR_DOMAIN_START_AUTODESTROY: it ends with our connection, so
# with us.
_AUTODESTROY = 2
# VIR_STREAM_NONBLOCK, and what its operations return instead of blocking
_NONBLOCK = 1
_NOTHING_NOW = -2
_POLL_MIN, _POLL_MAX = 0.001, 0.02


class _Channel(vconfig.LibvirtConfigGuestDevice):
    """The port that the layer comes through; libvirt makes its socket."""

    def __init__(self):
        super().__init__(root_name='channel')

    def format_dom(self):
        dev = super().format_dom()
        dev.set('type', 'unix')
        etree.SubElement(dev, 'target', type='virtio', name=CHANNEL)
        return dev


def contract(uuid, image, rec, rootfs, whole):
    """What the virtual machine is told: guest.env, as far as it counts.

    :param image: the StoredImage that the server runs
    :param rec: its :class:`record.Record`
    :param rootfs: the root filesystem that the domain has
    :param whole: all that the server sees, not only its changes
    """
    text = guest_contract.build(
        instance_uuid=uuid, hostname='export',
        image_config={'config': {'Cmd': ['/']}}, passwd=b'', group=b'',
        file_caps=image.file_caps, network_info=None, overrides_sources={},
        access_mode=rec.choices.share_access_mode,
        **rootfs.contract()).guest_env()
    return text + b"CVM_EXPORT='%s'\n" % (b'all' if whole else b'changes')


def domain_xml(name, base, disk, rootfs, directory, console):
    """The XML of the domain.

    :param base: the BaseVM whose kernel and init it runs
    :param disk: path of a qcow2 that it may write to
    :param rootfs: the image's root filesystem
    :param directory: one of DIRECTORIES
    :param console: path of a file for the guest's console
    """
    guest = vconfig.LibvirtConfigGuest()
    guest.virt_type = CONF.libvirt.virt_type
    guest.name = name
    guest.uuid = uuidutils.generate_uuid()
    guest.memory = MEMORY_KIB
    guest.vcpus = 1
    guest.os_type = 'hvm'
    guest.os_mach_type = 'q35'
    guest.os_kernel = base.kernel
    guest.os_initrd = base.initrd
    guest.os_cmdline = '%s containervm.export=%s' % (base.cmdline, directory)
    guest.features.append(vconfig.LibvirtConfigGuestFeatureACPI())
    root = vconfig.LibvirtConfigGuestDisk()
    root.source_type = 'file'
    root.source_path = disk
    root.driver_name = 'qemu'
    root.driver_format = 'qcow2'
    # A copy: what a crash of the host would lose is of no use any more.
    root.driver_cache = 'unsafe'
    root.target_dev = 'vda'
    root.target_bus = 'virtio'
    serial = vconfig.LibvirtConfigGuestSerial()
    serial.type = 'file'
    serial.source_path = console
    for device in (root, _Channel(), serial,
                   domain.LibvirtConfigGuestNoUSB()):
        guest.add_device(device)
    rootfs.configure(guest)
    tree = etree.fromstring(guest.to_xml())
    for event in ('on_poweroff', 'on_reboot', 'on_crash'):
        etree.SubElement(tree, event).text = 'destroy'
    etree.SubElement(tree.find('devices'), 'memballoon', model='none')
    return etree.tostring(tree, encoding='unicode')


class _StreamChannel:
    """frames.Channel of a stream of libvirt's that does not block.

    One that blocks may do so for good: libvirt's client looks whether
    something has come, and then asks for more without looking again. What
    another thread has received between the two does not wake it up.
    """

    def __init__(self, connection, stream, watchdog):
        self._connection = connection
        self._stream = stream
        self._watchdog = watchdog

    def receive(self, size):
        pause = _POLL_MIN
        while (data := self._stream.recv(size)) == _NOTHING_NOW:
            # Nothing comes from a libvirtd that has gone, not even an end.
            if not self._connection.isAlive():
                return b''
            time.sleep(pause)
            pause = min(2 * pause, _POLL_MAX)
        self._watchdog.alive()
        return data

    def send(self, data):
        while data:
            sent = self._stream.send(data)
            if sent == _NOTHING_NOW:
                time.sleep(_POLL_MIN)
            else:
                data = data[sent:]


class _Watchdog:
    """Calls ``bark`` when nothing has been heard for SILENCE seconds."""

    def __init__(self, bark):
        self._bark = bark
        self._heard = threading.Event()
        self._ended = False
        self._thread = threading.Thread(
            target=self._run, name='containervm-export', daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc_info):
        self._ended = True
        self._heard.set()
        self._thread.join()

    def alive(self):
        """Something has been heard."""
        self._heard.set()

    def _run(self):
        while self._heard.wait(SILENCE):
            if self._ended:
                return
            self._heard.clear()
        self._bark()


@contextlib.contextmanager
def running(host, xml, text):
    """Run the virtual machine, to read the layer.

    :param host: Nova's libvirt Host
    :param xml: of the domain
    :param text: what :func:`contract` has made
    :yields: a frames.LayerReader
    :raises errors.LayerError: the virtual machine fails
    """
    connection = host.get_connection()
    error = libvirt_host.libvirt.libvirtError
    try:
        guest = connection.createXML(xml, _AUTODESTROY)
    except error as e:
        raise errors.LayerFailed(
            reason='libvirt cannot start the virtual machine that reads it: '
            '%s' % e)

    def end():
        with contextlib.suppress(error):
            guest.destroy()

    try:
        with _Watchdog(end) as watchdog:
            stream = connection.newStream(_NONBLOCK)
            guest.openChannel(CHANNEL, stream, 0)
            try:
                channel = _StreamChannel(connection, stream, watchdog)
                reader = frames.LayerReader(channel, acknowledge=True)
                reader.ready()
                channel.send(len(text).to_bytes(4, 'big') + text)
                yield reader
            finally:
                with contextlib.suppress(error):
                    stream.abort()
    except error as e:
        raise errors.LayerFailed(
            reason='libvirt says of the virtual machine that reads it: %s' %
            e)
    finally:
        end()
