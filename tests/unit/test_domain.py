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


from lxml import etree
from nova import conf
from nova.virt.libvirt import config as vconfig
from oslotest import base

from nova_containervm import domain
from nova_containervm import record
from nova_containervm.rootfs import base as rootfs_base
from nova_containervm import transports
from tests.unit import test_hostcheck


def choices(**changes):
    values = {'rootfs_transport': '9p', 'writable_layer': 'disk',
              'share_provisioning': 'overlay', 'share_access_mode': 'mapped',
              'boot_method': 'kernel', 'guest_runtime': 'crun'}
    values.update(changes)
    return rootfs_base.Choices(**values)


def disk(path, **changes):
    result = vconfig.LibvirtConfigGuestDisk()
    result.source_path = path
    result.target_dev = 'vda'
    result.target_bus = 'virtio'
    for name, value in changes.items():
        setattr(result, name, value)
    return result


class ConfigureTestCase(base.BaseTestCase):

    def _domain(self, volumes=0, **changes):
        guest = vconfig.LibvirtConfigGuest()
        guest.virt_type = 'qemu'
        guest.name = 'instance-1'
        guest.uuid = 'b1aa7e79-4d5c-4b0e-8f6b-0b7d4ac0d3a1'
        guest.os_type = 'hvm'
        guest.os_boot_dev = ['hd']
        guest.add_device(disk('/i/disk'))
        guest.add_device(disk('/i/disk.config', source_device='cdrom',
                              target_bus='sata', target_dev='sda'))
        for i in range(volumes):
            guest.add_device(disk('/mnt/volume-%d' % i))
        guest.add_device(vconfig.LibvirtConfigGuestGraphics())
        guest.add_device(vconfig.LibvirtConfigGuestVideo())
        guest.add_device(vconfig.LibvirtConfigGuestInput())
        made = choices(**changes)
        domain.configure(
            guest, test_hostcheck.base_vm(cmdline='console=ttyS0'),
            record.Record('image', 'a' * 64, 'minimal', made),
            transports.rootfs('/i', made), '/i/status.log')
        return etree.fromstring(domain.finish_xml(guest.to_xml()))

    def test_kernel_boot(self):
        xml = self._domain()
        self.assertEqual('vmlinux', xml.findtext('os/kernel'))
        self.assertEqual('initrd.img', xml.findtext('os/initrd'))
        self.assertEqual('console=ttyS0', xml.findtext('os/cmdline'))
        self.assertIsNone(xml.find('os/boot'))

    def test_disk_boot(self):
        xml = self._domain(boot_method='disk')
        self.assertIsNone(xml.find('os/kernel'))
        self.assertEqual('hd', xml.find('os/boot').get('dev'))

    def test_config_drive_is_a_read_only_disk(self):
        drive = self._domain().find("devices/disk/source[@file="
                                    "'/i/disk.config']/..")
        self.assertEqual('disk', drive.get('device'))
        self.assertEqual('virtio', drive.find('target').get('bus'))
        self.assertIsNotNone(drive.find('readonly'))

    def test_further_disks_of_the_flavor(self):
        guest = vconfig.LibvirtConfigGuest()
        names = ('disk', 'disk.config', 'disk.swap', 'disk.local',
                 'disk.eph0', 'disk.eph1', 'disk.info')
        for name in names:
            guest.add_device(disk('/i/' + name))
        volume = disk('/mnt/disk.swap.of.others')
        volume.serial = 'id'
        guest.add_device(volume)
        domain.name_disks(guest)
        self.assertEqual(
            [None, None, 'swap', 'ephemeral0', 'ephemeral0', 'ephemeral1',
             None, 'id'], [d.serial for d in guest.devices])

    def test_share_of_layer_disk_is_read_only(self):
        share = self._domain().find('devices/filesystem')
        self.assertEqual('mapped', share.get('accessmode'))
        self.assertEqual('remap', share.get('multidevs'))
        self.assertEqual('/i/rootfs', share.find('source').get('dir'))
        self.assertEqual('containervm-rootfs',
                         share.find('target').get('dir'))
        self.assertIsNotNone(share.find('readonly'))

    def test_share_of_layer_share_is_writable(self):
        share = self._domain(writable_layer='share').find(
            'devices/filesystem')
        self.assertIsNone(share.find('readonly'))

    def test_unused_devices_are_left_out(self):
        xml = self._domain()
        for name in ('graphics', 'video', 'input'):
            self.assertIsNone(xml.find('devices/' + name), name)
        usb = xml.find("devices/controller[@type='usb']")
        self.assertEqual('none', usb.get('model'))

    def test_status_channel(self):
        channel = self._domain().find('devices/channel')
        self.assertEqual('file', channel.get('type'))
        self.assertEqual('/i/status.log', channel.find('source').get('path'))
        self.assertEqual('org.openstack.containervm.0',
                         channel.find('target').get('name'))

    def test_never_restarts_by_itself(self):
        xml = self._domain()
        self.assertEqual('destroy', xml.findtext('on_reboot'))
        self.assertEqual('destroy', xml.findtext('on_crash'))

    def test_free_memory_is_given_back(self):
        balloon = self._domain().find('devices/memballoon')
        self.assertEqual('virtio', balloon.get('model'))
        self.assertEqual('on', balloon.get('freePageReporting'))

    def test_permanent_devices_need_no_port(self):
        xml = self._domain()
        for path in ("disk/source[@file='/i/disk']/..",
                     "disk/source[@file='/i/disk.config']/..", 'filesystem',
                     "controller[@type='virtio-serial']"):
            address = xml.find('devices/%s/address' % path)
            self.assertEqual('0x00', address.get('bus'), path)
        slots = [a.get('slot') for a in xml.findall('devices/*/address')]
        self.assertEqual(len(slots), len(set(slots)))

    def test_volumes_and_interfaces_have_ports(self):
        xml = self._domain(volumes=2)
        ports = xml.findall("devices/controller[@model='pcie-root-port']")
        self.assertEqual(domain.SPARE_PORTS + 2, len(ports))
        for volume in xml.findall('devices/disk'):
            if 'volume' in volume.find('source').get('file'):
                self.assertIsNone(volume.find('address'))
        conf.CONF.set_override('num_pcie_ports', 8, 'libvirt')
        self.addCleanup(conf.CONF.clear_override, 'num_pcie_ports', 'libvirt')
        ports = self._domain(volumes=2).findall(
            "devices/controller[@model='pcie-root-port']")
        self.assertEqual(8 + 2, len(ports))
