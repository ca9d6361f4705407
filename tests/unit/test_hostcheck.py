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
from oslo_config import cfg
from oslotest import base

from nova_containervm import basevm
from nova_containervm import conf
from nova_containervm import hostcheck

CONF = conf.CONF

CAPABILITIES = """<capabilities><host>
<secmodel><model>apparmor</model></secmodel>
<secmodel><model>dac</model>%s</secmodel>
</host></capabilities>"""


def base_vm(**changes):
    values = {
        'path': '/base/base.qcow2', 'digest': 'a' * 64, 'type': 'minimal',
        'virtual_size': 1 << 26, 'kernel': 'vmlinux', 'initrd': 'initrd.img',
        'cmdline': '', 'boot_methods': ('kernel', 'disk'),
        'runtimes': ('crun', 'chroot'), 'transports': ('9p',),
        'architecture': None, 'features': tuple(basevm.FEATURES)}
    values.update(changes)
    return basevm.BaseVM(**values)


@ddt.ddt
class SettingsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.load = self.useFixture(fixtures.MockPatchObject(
            basevm, 'load', return_value=base_vm())).mock
        self.useFixture(fixtures.MockPatch('shutil.which',
                                           return_value='/bin/x'))
        self.addCleanup(CONF.reset)
        self._set('libvirt', 'virt_type', 'qemu')
        self._set('libvirt', 'base_vm_image', '/base/base.qcow2')

    def _set(self, group, option, value):
        CONF.set_override(option, value, group)
        self.addCleanup(CONF.clear_override, option, group)

    def test_value_out_of_range(self):
        name = os.path.join(self.useFixture(fixtures.TempDir()).path, 'x')
        with open(name, 'w') as f:
            f.write('[containervm]\nmax_layers = 0\n')
        with mock.patch.object(hostcheck, 'CONF', cfg.ConfigOpts()) as own:
            conf.register_opts(own)
            own(['--config-file', name])
            error = self.assertRaises(cfg.ConfigFileValueError,
                                      hostcheck.check_settings)
        self.assertIn('max_layers', str(error))

    def test_good(self):
        self.assertEqual('minimal', hostcheck.check_settings().type)

    @ddt.data(
        ('libvirt', 'virt_type', 'lxc', 'virt_type = kvm or qemu'),
        ('libvirt', 'virt_type', 'parallels', 'virt_type = kvm or qemu'),
        ('libvirt', 'images_type', 'rbd', 'images_type = default'),
        ('libvirt', 'images_type', 'lvm', 'images_type = default'),
        (None, 'config_drive_format', 'vfat', 'config_drive_format'),
        ('libvirt', 'base_vm_image', None, 'nova-containervm-baseimage'),
        ('libvirt', 'base_vm_image', 'base.qcow2', 'no absolute path'),
    )
    @ddt.unpack
    def test_bad(self, group, option, value, words):
        self._set(group, option, value)
        error = self.assertRaises(exception.InvalidConfiguration,
                                  hostcheck.check_settings)
        self.assertIn(words, str(error))
        self.assertIn(option, str(error))

    @ddt.data(
        ('boot_method', {'boot_methods': ('disk',)}),
        ('guest_runtime', {'runtimes': ('chroot',)}),
        ('rootfs_transport', {'transports': ('block',)}),
    )
    @ddt.unpack
    def test_base_image_does_not_offer_it(self, option, change):
        self.load.return_value = base_vm(**change)
        error = self.assertRaises(exception.InvalidConfiguration,
                                  hostcheck.check_settings)
        self.assertIn('[containervm] %s' % option, str(error))

    def test_base_image_of_another_architecture(self):
        self.load.return_value = base_vm(architecture='s390x')
        error = self.assertRaises(exception.InvalidConfiguration,
                                  hostcheck.check_settings)
        self.assertIn('s390x', str(error))

    def test_missing_tool(self):
        with mock.patch('shutil.which', lambda name: None):
            error = self.assertRaises(exception.InvalidConfiguration,
                                      hostcheck.check_settings)
        self.assertIn('genisoimage', str(error))


@ddt.ddt
class HostTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.host = mock.Mock()
        CONF.set_override('virt_type', 'qemu', 'libvirt')
        self.addCleanup(CONF.clear_override, 'virt_type', 'libvirt')

    def _labels(self, text):
        connection = self.host.get_connection.return_value
        connection.getCapabilities.return_value = CAPABILITIES % text

    @ddt.data(
        ("<baselabel type='kvm'>+1:+2</baselabel>"
         "<baselabel type='qemu'>+64055:+106</baselabel>", (64055, 106)),
        ("<baselabel type='qemu'>root:root</baselabel>", (0, 0)),
    )
    @ddt.unpack
    def test_qemu_owner(self, labels, owner):
        self._labels(labels)
        self.assertEqual(owner, hostcheck.qemu_owner(self.host))

    def test_no_label(self):
        self._labels("<baselabel type='kvm'>+1:+2</baselabel>")
        self.assertRaises(exception.InvalidConfiguration,
                          hostcheck.qemu_owner, self.host)

    def test_passthrough_needs_root(self):
        self._labels("<baselabel type='qemu'>+64055:+106</baselabel>")
        CONF.set_override('share_access_mode', 'passthrough', 'containervm')
        self.addCleanup(CONF.clear_override, 'share_access_mode',
                        'containervm')
        error = self.assertRaises(exception.InvalidConfiguration,
                                  hostcheck.check_host, self.host)
        self.assertIn('/etc/libvirt/qemu.conf', str(error))

    def test_unreachable(self):
        top = self.useFixture(fixtures.TempDir()).path
        closed = os.path.join(top, 'closed')
        path = os.path.join(closed, 'instances')
        os.makedirs(path)
        while os.stat(top).st_uid == os.getuid() and top != '/':
            if os.stat(top).st_mode & 0o001:
                break
            os.chmod(top, 0o755)
            top = os.path.dirname(top)
        os.chmod(closed, 0o700)
        error = self.assertRaises(exception.InvalidConfiguration,
                                  hostcheck._check_reachable, path,
                                  (64055, 64055))
        self.assertIn("'chmod o+x %s'" % os.path.realpath(closed), str(error))
        os.chmod(closed, 0o711)
        hostcheck._check_reachable(path, (64055, 64055))
