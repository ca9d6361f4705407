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

import ddt
import fixtures
from nova import exception
from nova.virt.libvirt import config as vconfig
from oslotest import base

from nova_containervm import conf
from nova_containervm.images import errors
from nova_containervm.images import mkerofs
from nova_containervm.privsep import limits
from nova_containervm.rootfs import block
from nova_containervm.rootfs import ninep
from nova_containervm import transports
from tests.unit import test_domain

CONF = conf.CONF


@ddt.ddt
class TransportsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        CONF.set_override('instances_path',
                          self.useFixture(fixtures.TempDir()).path)
        self.addCleanup(CONF.clear_override, 'instances_path')

    def _set(self, option, value):
        CONF.set_override(option, value, 'containervm')
        self.addCleanup(CONF.clear_override, option, 'containervm')

    def test_offered(self):
        self.assertEqual(('9p',), transports.offered())
        self._set('allowed_transports', ['block', '9p'])
        self.assertEqual(('9p', 'block'), transports.offered())
        self._set('rootfs_transport', 'block')
        self.assertEqual(('block', '9p'), transports.offered())

    @ddt.data(
        ({}, '9p', 'share', 'mapped'),
        ({'containervm_rootfs_transport': '9p'}, '9p', 'share', 'mapped'),
        ({'containervm_rootfs_transport': 'block'}, 'block', 'disk',
         'block'))
    @ddt.unpack
    def test_choices(self, properties, transport, layer, form):
        self._set('allowed_transports', ['block'])
        self._set('writable_layer', 'share')
        self.probe = self.useFixture(fixtures.MockPatchObject(
            limits, 'probe_project_quota', return_value='ext4')).mock
        made = transports.choices(properties, 'image')
        self.assertEqual((transport, layer, form), (
            made.rootfs_transport, made.writable_layer, made.image_form))
        self.assertEqual('file' if layer == 'share' else 'none',
                         made.share_limit)

    @ddt.data(('auto', 'xfs', 'project'), ('auto', 'ext2/ext3', 'file'),
              ('auto', None, 'file'), ('project', None, 'project'),
              ('none', 'xfs', 'none'))
    @ddt.unpack
    def test_limit(self, option, filesystem, limit):
        self._set('share_limit', option)
        self._set('writable_layer', 'share')
        with mock.patch.object(limits, 'probe_project_quota',
                               return_value=filesystem):
            made = transports.choices({}, 'image')
        self.assertEqual(limit, made.share_limit)

    def test_no_project_quotas(self):
        self._set('share_limit', 'project')
        self._set('writable_layer', 'share')
        with mock.patch.object(limits, 'probe_project_quota',
                               return_value=None):
            error = self.assertRaises(exception.InvalidConfiguration,
                                      transports.check)
        self.assertIn('share_limit = file', str(error))

    @ddt.data(('9p', 'passthrough', 'ext2/ext3', True),
              ('9p', 'passthrough', 'xfs', False),
              ('9p', 'mapped', 'ext2/ext3', False),
              # The daemon has no such capability, whatever QEMU runs as.
              ('virtiofs', 'passthrough', 'ext2/ext3', False))
    @ddt.unpack
    def test_who_is_above_project_quotas(self, transport, access, kind,
                                         refused):
        self._set('rootfs_transport', transport)
        self._set('share_access_mode', access)
        self._set('share_limit', 'project')
        self._set('writable_layer', 'share')
        with mock.patch.object(limits, 'probe_project_quota',
                               return_value=kind), \
                mock.patch.object(transports, 'check_tools'):
            if not refused:
                transports.check()
                return
            error = self.assertRaises(exception.InvalidConfiguration,
                                      transports.check)
        self.assertIn('CAP_SYS_RESOURCE', str(error))
        self.assertIn('share_limit = file', str(error))

    @ddt.data('block', 'nfs', '')
    def test_not_offered(self, value):
        error = self.assertRaises(
            exception.ImageUnacceptable, transports.choices,
            {'containervm_rootfs_transport': value}, 'image')
        self.assertIn('containervm_rootfs_transport is %r' % value,
                      str(error))
        self.assertIn('offers only 9p; trait:', str(error))

    def test_rootfs(self):
        for name, cls in (('9p', ninep.NinePRootfs),
                          ('block', block.BlockRootfs)):
            made = test_domain.choices(rootfs_transport=name)
            self.assertIs(cls, type(transports.rootfs('/i', made)))

    def test_disk_is_no_servers_own(self):
        guest = vconfig.LibvirtConfigGuest()
        guest.add_device(test_domain.disk('/i/disk'))
        guest.add_device(vconfig.LibvirtConfigGuestInterface())
        self.assertIs(guest, transports.without_rootfs(guest))
        guest.add_device(test_domain.disk('/i/disk.rootfs'))
        self.assertEqual(guest.devices[:2],
                         transports.without_rootfs(guest).devices)
        self.assertEqual(3, len(guest.devices))

    def test_nothing_to_check(self):
        self._set('mkfs_erofs_cmd', '/nonexistent')
        transports.check()

    def test_block_cannot_be_written_to(self):
        self._set('rootfs_transport', 'block')
        self._set('writable_layer', 'share')
        error = self.assertRaises(exception.InvalidConfiguration,
                                  transports.check)
        self.assertIn('writable_layer = disk', str(error))

    def test_mkfs_is_missing(self):
        self._set('allowed_transports', ['block'])
        self._set('mkfs_erofs_cmd', '/nonexistent')
        error = self.assertRaises(exception.InvalidConfiguration,
                                  transports.check)
        self.assertIn('/nonexistent is not installed', str(error))
        self.assertIn('mkfs_erofs_cmd', str(error))

    def test_mkfs_fails(self):
        self._set('rootfs_transport', 'block')
        with mock.patch.object(mkerofs, 'find'), mock.patch.object(
                mkerofs, 'probe',
                side_effect=errors.StoreError('no lz4 in it')):
            error = self.assertRaises(exception.InvalidConfiguration,
                                      transports.check)
        self.assertIn('no lz4 in it', str(error))
        self.assertEqual([], os.listdir(CONF.instances_path))
