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

"""The domain of a container server, made from that of an ordinary one."""

import os
import re

from lxml import etree
from nova import conf
from nova.virt.libvirt import config as vconfig

from nova_containervm.guest import configdrive

CONF = conf.CONF

CHANNEL = 'org.openstack.containervm.0'

# Properties of the image by which Nova gives the server the devices that the
# guest of a base VM image has drivers for, and no others.
HARDWARE = {
    # The guest of a base VM image has one; it freezes file systems.
    'hw_qemu_guest_agent': 'yes',
    'hw_machine_type': 'q35',
    'hw_disk_bus': 'virtio',
    'hw_vif_model': 'virtio',
    'hw_rng_model': 'virtio',
    'hw_video_model': 'none',
}

# Free PCI Express ports for volumes and interfaces that are attached while
# the server runs, where [libvirt] num_pcie_ports does not say how many: other
# servers have one or two then. libvirt gives a q35 machine no more than it
# needs to start. Each takes the guest's kernel 50 ms without KVM, where all
# of the kernel takes 1.6 s.
SPARE_PORTS = 3

# Devices that a server has for life, beside its local disks. They are on the
# root complex itself, in slots that libvirt leaves free: a port of their own
# would only be good for unplugging them.
PERMANENT_DEVICES = ('filesystem', 'rng', 'memballoon',
                     "controller[@type='virtio-serial']")
FIRST_SLOT = 0x10
SLOTS = 11

# What the guest knows a flavor's further disks by, as it does a volume by its
# id: files of LibvirtDriver's, and serial numbers. (disk.local is of servers
# whose ephemeral disk is no block device mapping.)
SERIALS = (
    (r'disk\.swap', 'swap'),
    (r'disk\.local', 'ephemeral0'),
    (r'disk\.eph([0-9]+)', r'ephemeral\1'),
)

# A container server is driven through its serial port and its network.
UNUSED_DEVICES = (
    vconfig.LibvirtConfigGuestGraphics,
    vconfig.LibvirtConfigGuestVideo,
    vconfig.LibvirtConfigGuestInput,
    vconfig.LibvirtConfigGuestUSBHostController,
    vconfig.LibvirtConfigGuestPCIeRootController,
    vconfig.LibvirtConfigGuestPCIeRootPortController,
)


class LibvirtConfigGuestNoUSB(vconfig.LibvirtConfigGuestController):
    """Says that there is no USB. Without it libvirt adds a controller."""

    def __init__(self):
        super().__init__()
        self.type = 'usb'
        self.model = 'none'


class LibvirtConfigGuestSerialController(
        vconfig.LibvirtConfigGuestController):
    """What the status channel is a port of; libvirt would add it."""

    def __init__(self):
        super().__init__()
        self.type = 'virtio-serial'
        self.index = 0


class LibvirtConfigGuestStatusChannel(vconfig.LibvirtConfigGuestChannel):
    """The virtio-serial port that the guest reports on.

    A file, so that nothing is lost while nova-compute is down. With libvirt's
    default ``stdio_handler = logd`` virtlogd writes it and bounds its size.
    """

    def __init__(self, path):
        super().__init__()
        self.type = 'file'
        self.source_path = path
        self.target_name = CHANNEL


def configure(guest, base, record, rootfs, status_path):
    """Turn the domain of an ordinary server into a container server's.

    :param guest: a LibvirtConfigGuest, changed in place
    :param base: the base VM image that the server boots
    :param record: how the server was made
    :param rootfs: its root filesystem
    :param status_path: file for the guest's reports
    """
    guest.devices = [d for d in guest.devices
                     if not isinstance(d, UNUSED_DEVICES)]
    guest.add_device(LibvirtConfigGuestNoUSB())
    guest.add_device(vconfig.LibvirtConfigGuestPCIeRootController())
    guest.add_device(LibvirtConfigGuestSerialController())
    spare = CONF.libvirt.num_pcie_ports or SPARE_PORTS
    for _port in range(spare + _pluggable_devices(guest)):
        guest.add_device(vconfig.LibvirtConfigGuestPCIeRootPortController())
    for disk in guest.devices:
        if (isinstance(disk, vconfig.LibvirtConfigGuestDisk) and
                disk.source_path and
                os.path.basename(disk.source_path) == configdrive.NAME):
            _as_virtio(disk)
    name_disks(guest)
    rootfs.configure(guest)
    guest.add_device(LibvirtConfigGuestStatusChannel(status_path))
    if record.choices.boot_method == 'kernel':
        guest.os_kernel = base.kernel
        guest.os_initrd = base.initrd
        guest.os_cmdline = base.cmdline
        guest.os_boot_dev = []


def name_disks(guest):
    """Give the flavor's further disks their serial numbers."""
    for disk in guest.devices:
        if not isinstance(disk, vconfig.LibvirtConfigGuestDisk):
            continue
        for pattern, serial in SERIALS:
            if match := re.fullmatch(pattern, os.path.basename(
                    disk.source_path or '')):
                disk.serial = match.expand(serial)


def _pluggable_devices(guest):
    return sum(
        isinstance(d, vconfig.LibvirtConfigGuestInterface) or
        (isinstance(d, vconfig.LibvirtConfigGuestDisk) and
         not _is_local(d.source_path))
        for d in guest.devices)


def _is_local(path):
    # disk, disk.config, disk.swap ...: not a volume
    name = os.path.basename(path or '')
    return name == 'disk' or name.startswith('disk.')


def _as_virtio(disk):
    # A CD-ROM would need the guest to load and probe AHCI and SCSI, which
    # takes longer than everything else that it does.
    disk.source_device = 'disk'
    disk.target_bus = 'virtio'
    disk.target_dev = 'vdz'
    disk.readonly = True


def finish_xml(xml):
    """Add to the domain what Nova's classes for it do not know.

    A container server never restarts by itself: the guest powers off when the
    container has ended, and a kernel that resets after a panic would run it
    again and again. Where its permanent devices are is said here, too.
    """
    root = etree.fromstring(xml.encode('utf-8'))
    for name in ('on_reboot', 'on_crash'):
        for old in root.findall(name):
            root.remove(old)
        etree.SubElement(root, name).text = 'destroy'
    devices = root.find('devices')
    _give_back_memory(devices)
    _place(devices)
    return etree.tostring(root, encoding='unicode', pretty_print=True)


def _give_back_memory(devices):
    """Have the guest tell which of its memory is free.

    The host takes it back: a container server that was busy once does not
    keep for ever what it needed then.
    """
    balloon = devices.find('memballoon')
    if balloon is None:
        balloon = etree.SubElement(devices, 'memballoon', model='virtio')
    if balloon.get('model') == 'virtio':
        balloon.set('freePageReporting', 'on')


def _place(devices):
    permanent = [d for d in devices.findall('disk')
                 if d.find('source') is not None and
                 _is_local(d.find('source').get('file'))]
    for path in PERMANENT_DEVICES:
        permanent += devices.findall(path)
    # More local disks than there are slots: libvirt finds ports for the rest
    for slot, device in enumerate(permanent[:SLOTS], FIRST_SLOT):
        if device.find('address') is None:
            etree.SubElement(
                device, 'address', type='pci', domain='0x0000', bus='0x00',
                slot='%#04x' % slot, function='0x0')
