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

import json
import os

import ddt
import fixtures
from lxml import etree
from nova.virt.libvirt import config as vconfig
from oslotest import base

from nova_containervm.rootfs import share
from nova_containervm.rootfs import virtiofs
from tests.unit import test_domain


@ddt.ddt
class VirtiofsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.dir = self.useFixture(fixtures.TempDir()).path
        made = test_domain.choices(rootfs_transport='virtiofs')
        self.assertEqual('passthrough', made.image_form)
        self.rootfs = virtiofs.VirtiofsRootfs('/i', made)
        self.useFixture(fixtures.MockPatchObject(
            virtiofs, 'DESCRIPTIONS', tuple(
                os.path.join(self.dir, d) for d in ('etc', 'usr'))))

    def _memory(self, backing):
        guest = vconfig.LibvirtConfigGuest()
        guest.membacking = backing
        self.rootfs.configure(guest)
        self.assertEqual(1, len(guest.devices))
        return etree.fromstring(guest.membacking.to_xml())

    def test_device(self):
        device, = self.rootfs.devices()
        self.assertTrue(share.is_rootfs(device))
        xml = etree.fromstring(device.to_xml())
        self.assertEqual('virtiofs', xml.find('driver').get('type'))
        self.assertEqual('/i/rootfs', xml.find('source').get('dir'))
        self.assertEqual('containervm-rootfs',
                         xml.find('target').get('dir'))
        binary = xml.find('binary')
        self.assertEqual('on', binary.get('xattr'))
        self.assertEqual('always', binary.find('cache').get('mode'))
        self.assertEqual('namespace', binary.find('sandbox').get('mode'))

    @ddt.data((None, True), ([], True), (['migrate-precopy'], True),
              (['migrate-precopy', 'separate-options'], False))
    @ddt.unpack
    def test_locks_stay_with_the_guest(self, features, told):
        # QEMU's virtiofsd answers ENOTSUP to locks that it is to take.
        # libvirt refuses the option for the one in Rust.
        self._describe('usr', 'fs.json', type='fs', binary='/bin/sh',
                       **({} if features is None else
                          {'features': features}))
        device, = self.rootfs.devices()
        lock = etree.fromstring(device.to_xml()).find('binary/lock')
        self.assertEqual({'posix': 'off', 'flock': 'off'} if told else None,
                         None if lock is None else dict(lock.attrib))

    def test_contract(self):
        self.assertEqual({'transport': 'virtiofs',
                          'rootfs_tag': 'containervm-rootfs',
                          'writable': 'disk'}, self.rootfs.contract())

    def test_memory(self):
        xml = self._memory(None)
        self.assertEqual('memfd', xml.find('source').get('type'))
        self.assertEqual('shared', xml.find('access').get('mode'))

    def test_memory_that_is_backed_already(self):
        other = vconfig.LibvirtConfigGuestMemoryBacking()
        other.locked = True
        xml = self._memory(other)
        self.assertEqual('memfd', xml.find('source').get('type'))
        self.assertIsNotNone(xml.find('locked'))
        other.filesource = True
        self.assertEqual(['file'], [s.get('type') for s in
                                    self._memory(other).findall('source')])
        page = vconfig.LibvirtConfigGuestMemoryBackingPage()
        page.size_kb, page.nodeset = 2048, [0]
        other = vconfig.LibvirtConfigGuestMemoryBacking()
        other.hugepages = [page]
        xml = self._memory(other)
        self.assertIsNone(xml.find('source'))
        self.assertEqual('shared', xml.find('access').get('mode'))

    def _describe(self, directory, name, **described):
        path = os.path.join(self.dir, directory)
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, name), 'w') as f:
            json.dump(described, f)

    def test_find_daemon(self):
        self.assertIsNone(virtiofs.find_daemon())
        self._describe('usr', '10-gpu.json', type='gpu', binary='/bin/sh')
        self._describe('usr', '20-fs.json', type='fs', binary='/nonexistent')
        self._describe('usr', '25-fs.json', nothing=1)
        self.assertIsNone(virtiofs.find_daemon())
        self._describe('usr', '50-fs.json', type='fs', binary='/bin/sh')
        self.assertEqual('/bin/sh', virtiofs.find_daemon().binary)
        # The administrator's of the same name hides it.
        self._describe('etc', '50-fs.json', type='fs', binary='/bin/true')
        self.assertEqual('/bin/true', virtiofs.find_daemon().binary)
