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

import os
from unittest import mock

import fixtures
from lxml import etree
from oslotest import base

from nova_containervm.rootfs import block
from tests.unit import test_domain


class BlockTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.dir = self.useFixture(fixtures.TempDir()).path
        self.rootfs = block.BlockRootfs(self.dir, test_domain.choices(
            rootfs_transport='block'))
        self.link = os.path.join(self.dir, 'disk.rootfs')

    def test_link(self):
        for path in ('/store/a/disk', '/store/b/disk'):
            self.rootfs.prepare(mock.Mock(disk=path), 1)
            self.assertEqual(path, os.readlink(self.link))
        self.rootfs.release()
        self.assertEqual([self.link], [e.path for e in os.scandir(self.dir)])
        self.rootfs.remove()
        self.rootfs.remove()
        self.assertEqual([], os.listdir(self.dir))

    def test_left_over_of_a_crash(self):
        os.symlink('/old', self.link + '.new')
        self.rootfs.prepare(mock.Mock(disk='/new'), 1)
        self.assertEqual('/new', os.readlink(self.link))
        self.assertEqual(['disk.rootfs'], os.listdir(self.dir))

    def test_device(self):
        disk = etree.fromstring(self.rootfs.devices()[0].to_xml())
        self.assertEqual(self.link, disk.find('source').get('file'))
        self.assertEqual({'name': 'qemu', 'type': 'raw',
                          'cache': 'writeback'}, dict(disk.find(
                              'driver').attrib))
        self.assertEqual('virtio', disk.find('target').get('bus'))
        self.assertIsNotNone(disk.find('readonly'))
        self.assertIsNotNone(disk.find('shareable'))
        # What the guest looks for, in as many bytes as virtio-blk has
        serial = disk.findtext('serial')
        self.assertLessEqual(len(serial), 20)
        self.assertEqual(serial, self.rootfs.contract()['rootfs_serial'])
