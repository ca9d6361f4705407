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
from nova.virt.libvirt import driver as libvirt_driver
from oslo_config import cfg
from oslo_upgradecheck import upgradecheck
from oslotest import base

from nova_containervm import basevm
from nova_containervm.cli import status
from nova_containervm import conf
from nova_containervm import doctor
from nova_containervm import record
from nova_containervm.rootfs import base as rootfs_base

CONF = conf.CONF
SUCCESS, WARNING, FAILURE = (upgradecheck.Code.SUCCESS,
                             upgradecheck.Code.WARNING,
                             upgradecheck.Code.FAILURE)


@ddt.ddt
class StatusTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.path = self.useFixture(fixtures.TempDir()).path
        self.addCleanup(CONF.reset)
        for name, value, group in (
                ('instances_path', self.path, None),
                ('sub_virt_type', 'container', 'libvirt')):
            CONF.set_override(name, value, group)
            self.addCleanup(CONF.clear_override, name, group)
        self.checks = status.Checks()

    def assertResult(self, code, result, text=''):
        self.assertEqual(code, result.code, result.details)
        self.assertIn(text, result.details or '')

    @ddt.data((doctor.OK, SUCCESS), (doctor.WARNING, WARNING),
              (doctor.ERROR, FAILURE))
    @ddt.unpack
    def test_nova(self, level, code):
        with mock.patch.object(doctor, 'check_nova', return_value=iter([
                doctor.Finding(level, 'Nova', 'Nova x')])):
            self.assertResult(code, self.checks._check_nova(), 'Nova x')

    def test_driver(self):
        self.assertResult(SUCCESS, self.checks._check_driver())

    def test_driver_of_another_nova(self):
        def snapshot(self, context, instance, image_id, update, another):
            pass

        with mock.patch.object(libvirt_driver.LibvirtDriver, 'snapshot',
                               snapshot):
            self.assertResult(FAILURE, self.checks._check_driver(),
                              'snapshot')

    def test_driver_of_a_nova_without_share_info(self):
        def finish_migration(self, context, migration, instance, disk_info,
                             network_info, image_meta, resize_instance,
                             allocations, block_device_info=None,
                             power_on=True):
            pass

        with mock.patch.object(libvirt_driver.LibvirtDriver,
                               'finish_migration', finish_migration):
            self.assertResult(SUCCESS, self.checks._check_driver())

    def test_driver_wants_what_nova_does_not_pass(self):
        def snapshot(self, context, instance, image_id):
            pass

        with mock.patch.object(libvirt_driver.LibvirtDriver, 'snapshot',
                               snapshot):
            self.assertResult(FAILURE, self.checks._check_driver(),
                              'snapshot')

    def test_settings(self):
        self.assertResult(SUCCESS, self.checks._check_settings())

    def test_settings_wrong(self):
        name = os.path.join(self.path, 'nova.conf')
        with open(name, 'w') as f:
            f.write('[containervm]\nrootfs_transport = floppy\n')
        with mock.patch.object(status, 'CONF', cfg.ConfigOpts()) as own:
            conf.register_opts(own)
            own(['--config-file', name])
            self.assertResult(FAILURE, self.checks._check_settings(),
                              'rootfs_transport')

    def test_base(self):
        with mock.patch.object(basevm, 'load'):
            self.assertResult(SUCCESS, self.checks._check_base())

    def test_base_of_another_contract(self):
        with mock.patch.object(
                basevm, 'load', side_effect=exception.InvalidConfiguration(
                    'versions of the contract')):
            self.assertResult(FAILURE, self.checks._check_base(),
                              'the contract')

    def test_not_enabled(self):
        CONF.set_override('sub_virt_type', None, 'libvirt')
        self.assertResult(SUCCESS, self.checks._check_base(), 'not enabled')

    def _server(self, name='server1'):
        instance_dir = os.path.join(self.path, name)
        record.Record(
            image_id='i', base_digest='d', base_type='minimal',
            choices=rootfs_base.Choices.from_conf(CONF.containervm)
        ).save(instance_dir)
        return os.path.join(instance_dir, record.DIRECTORY, 'server.json')

    def test_servers(self):
        self._server()
        os.makedirs(os.path.join(self.path, 'plain'))
        os.makedirs(os.path.join(self.path, 'new', record.DIRECTORY))
        with mock.patch.object(basevm.BaseCache, 'get'):
            self.assertResult(SUCCESS, self.checks._check_servers(),
                              '1 container servers')

    def test_servers_without_their_base(self):
        self._server()
        self.assertResult(FAILURE, self.checks._check_servers(), 'server1')

    @ddt.data('{', '{}', '[]', '{"choices": {"unknown": 1}}')
    def test_servers_with_records_of_another_version(self, text):
        with open(self._server(), 'w') as f:
            f.write(text)
        self.assertResult(FAILURE, self.checks._check_servers(), 'server1')

    def test_store(self):
        self.assertResult(SUCCESS, self.checks._check_store())

    def _store(self):
        layers = os.path.join(self.path, '_base', 'containervm', 'mapped',
                              'layers')
        os.makedirs(os.path.join(layers, '0' * 16))
        return layers

    def test_store_not_understood(self):
        self._store()
        self.assertResult(WARNING, self.checks._check_store(),
                          'mapped/' + '0' * 16)

    def test_command(self):
        def run(conf_, project, checks, argv):
            self.assertIs(CONF, conf_)
            self.assertEqual(('nova', ['upgrade', 'check']), (project, argv))
            return checks.check()

        out = self.useFixture(fixtures.StringStream('stdout')).stream
        with mock.patch.object(upgradecheck, 'main', run), \
                mock.patch.object(basevm, 'load'), \
                mock.patch('sys.stdout', out):
            self.assertEqual(0, status.main(['upgrade', 'check']))

    def test_every_check_is_made(self):
        self.assertEqual(
            {name for name in vars(status.Checks)
             if name.startswith('_check')},
            {check.__name__ for _title, check in
             status.Checks._upgrade_checks})
