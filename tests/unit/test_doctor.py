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

import contextlib
import importlib.metadata
import io
import json
import os
import pathlib
from unittest import mock

import ddt
import fixtures
from nova import exception
from oslotest import base

from nova_containervm.cli import doctor as doctor_cli
from nova_containervm import conf
from nova_containervm import doctor
from nova_containervm import hostcheck
from nova_containervm.images import mkerofs
from nova_containervm import machine
from nova_containervm import transports
from tests.unit import test_hostcheck

CONF = conf.CONF

CAPABILITIES = """<capabilities><host>%s
<secmodel><model>dac</model><baselabel type='qemu'>+%d:+%d</baselabel>
</secmodel></host></capabilities>"""
DOMAIN = """<domainCapabilities><path>/usr/bin/qemu</path><devices>
<filesystem supported='yes'><enum name='driverType'>%s</enum></filesystem>
</devices></domainCapabilities>"""


def levels(findings):
    """Level and subject of each."""
    return [(f.level, f.subject) for f in findings]


class FakeError(Exception):
    pass


class FakeConnection:
    """A libvirt that says what it is told to."""

    errors = (FakeError,)

    def __init__(self, models=('apparmor',), uid=64055, kinds=('path',),
                 error=None):
        self._capabilities = CAPABILITIES % (''.join(
            '<secmodel><model>%s</model></secmodel>' % m for m in models),
            uid, uid)
        self._domain = DOMAIN % ''.join(
            '<value>%s</value>' % k for k in kinds)
        self._error = error

    def get_connection(self):
        if self._error:
            raise self._error
        return mock.Mock(
            getCapabilities=lambda: self._capabilities,
            getDomainCapabilities=lambda *a: self._domain)


@ddt.ddt
class DoctorTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.path = self.useFixture(fixtures.TempDir()).path
        self.addCleanup(CONF.reset)
        for group, name, value in (
                (None, 'compute_driver', doctor.DRIVER),
                (None, 'instances_path', self.path),
                ('libvirt', 'virt_type', 'qemu'),
                ('libvirt', 'sub_virt_type', 'container')):
            self.set(name, value, group)

    def set(self, name, value, group=None):
        CONF.set_override(name, value, group)
        self.addCleanup(CONF.clear_override, name, group)

    # Nova

    @ddt.data(('31.0.0', doctor.OK), ('34.1.0', doctor.OK),
              ('30.2.0', doctor.ERROR), ('35.0.0.0rc1', doctor.WARNING))
    @ddt.unpack
    def test_nova(self, version, level):
        with mock.patch.object(importlib.metadata, 'version',
                               return_value=version):
            found = list(doctor.check_nova(None))
        self.assertEqual([(level, 'Nova'), (doctor.OK, 'driver')],
                         levels(found))

    def test_driver_not_found(self):
        with mock.patch.object(doctor.importlib, 'import_module',
                               side_effect=ImportError('no such module')):
            found = list(doctor.check_nova(None))
        self.assertEqual(doctor.ERROR, found[-1].level)
        self.assertIn('nova-containervm.pth', found[-1].text)

    @ddt.data(('compute_driver', 'libvirt.LibvirtDriver', None),
              ('sub_virt_type', None, 'libvirt'))
    @ddt.unpack
    def test_not_enabled(self, name, value, group):
        self.set(name, value, group)
        found = list(doctor.check_nova(None))
        self.assertEqual((doctor.ERROR, 'driver'), levels(found)[-1])
        self.assertIn(name, found[-1].text)

    # Settings

    def test_settings(self):
        with mock.patch.object(hostcheck, 'check_settings',
                               return_value=test_hostcheck.base_vm()):
            self.assertEqual(
                [(doctor.OK, 'settings'), (doctor.OK, 'base VM image')],
                levels(doctor.check_settings(None)))

    def test_base_vm_image_of_an_earlier_release(self):
        with mock.patch.object(
                hostcheck, 'check_settings',
                return_value=test_hostcheck.base_vm(features=('agent',))):
            found = list(doctor.check_settings(None))
        self.assertEqual((doctor.NOTE, 'base VM image'), levels(found)[-1])
        self.assertIn('do without: snapshots, mounts for a VOLUME',
                      found[-1].text)

    def test_cloud_image_without_a_manifest(self):
        with mock.patch.object(
                hostcheck, 'check_settings',
                return_value=test_hostcheck.base_vm(
                    type='cloud', kernel=None, initrd=None)):
            self.assertEqual((doctor.NOTE, 'base VM image'),
                             levels(doctor.check_settings(None))[-1])

    def test_settings_wrong(self):
        with mock.patch.object(
                hostcheck, 'check_settings',
                side_effect=exception.InvalidConfiguration('mend\nthis')):
            self.assertEqual(
                [doctor.Finding(doctor.ERROR, 'settings', 'mend this')],
                list(doctor.check_settings(None)))

    # Processors and kernel

    @ddt.data(('kvm', True, 'fpu vmx sse', doctor.OK),
              ('kvm', True, None, doctor.OK),
              ('kvm', True, 'fpu vmmcall', doctor.ERROR),
              ('kvm', False, 'fpu svm', doctor.ERROR),
              ('qemu', True, 'svm', doctor.WARNING),
              ('qemu', True, 'fpu', doctor.NOTE),
              ('qemu', False, 'fpu', doctor.NOTE))
    @ddt.unpack
    def test_kvm(self, virt_type, present, flags, level):
        self.set('virt_type', virt_type, 'libvirt')
        cpuinfo = pathlib.Path(self.useFixture(
            fixtures.TempDir()).path, 'cpuinfo')
        cpuinfo.write_text('model\t: 1\n' + (
            'flags\t\t: %s\n' % flags if flags else 'Features\t: fp\n'))
        with mock.patch.object(machine, '_CPUINFO', cpuinfo), \
                mock.patch.object(
                machine, '_KVM', '/dev/null' if present else '/nowhere/kvm'):
            self.assertEqual([(level, 'KVM')],
                             levels(machine.check_processors(None)))

    @ddt.data(('6.1.0-13-amd64', doctor.OK), ('5.11.0', doctor.OK),
              ('5.10.0-26', doctor.ERROR), ('4.18.0', doctor.ERROR))
    @ddt.unpack
    def test_kernel(self, release, level):
        with mock.patch('platform.release', return_value=release):
            self.assertEqual([(level, 'kernel')],
                             levels(machine.check_kernel(None)))

    # libvirt

    def _libvirt(self, **kwargs):
        with mock.patch.object(hostcheck, '_check_reachable'), \
                mock.patch.object(doctor, '_SELINUX', '/nowhere/enforce'):
            return list(doctor.check_libvirt(FakeConnection(**kwargs)))

    def test_libvirt(self):
        self.assertEqual(
            [(doctor.OK, 'libvirt'), (doctor.OK, 'transport'),
             (doctor.OK, 'QEMU user'), (doctor.NOTE, 'AppArmor')],
            levels(self._libvirt()))

    def test_libvirt_is_away(self):
        found = self._libvirt(error=FakeError('no socket'))
        self.assertEqual([(doctor.ERROR, 'libvirt')], levels(found))
        self.assertIn('no socket', found[0].text)

    def test_no_libvirt_python(self):
        connection = doctor.Connection()
        with mock.patch.object(doctor.importlib, 'import_module',
                               side_effect=ImportError('No module')):
            found = list(doctor.check_libvirt(connection))
        self.assertIn('Install libvirt-python', found[0].text)

    def test_transport_impossible(self):
        found = self._libvirt(kinds=('virtiofs',))
        self.assertIn((doctor.ERROR, 'transport'), levels(found))

    def test_every_transport_is_looked_at(self):
        self.set('allowed_transports', ['virtiofs', 'block'], 'containervm')
        found = self._libvirt(kinds=('path', 'handle'))
        self.assertEqual(
            [(doctor.OK, 'transport'), (doctor.ERROR, 'transport')],
            [entry for entry in levels(found) if entry[1] == 'transport'])

    def test_old_libvirt_does_not_say(self):
        self.assertNotIn('transport',
                         [f.subject for f in self._libvirt(kinds=())])

    def test_qemu_is_root(self):
        self.assertIn((doctor.WARNING, 'QEMU user'),
                      levels(self._libvirt(uid=0)))

    def test_passthrough_needs_root(self):
        self.set('share_access_mode', 'passthrough', 'containervm')
        self.assertIn((doctor.ERROR, 'QEMU user'), levels(self._libvirt()))

    def test_qemu_user_unknown(self):
        self.set('virt_type', 'kvm', 'libvirt')
        self.assertIn((doctor.ERROR, 'QEMU user'), levels(self._libvirt()))

    @ddt.data((('selinux',), (doctor.NOTE, 'SELinux')),
              ((), (doctor.WARNING, 'confinement')))
    @ddt.unpack
    def test_confinement(self, models, expected):
        found = self._libvirt(models=models)
        self.assertEqual(expected, levels(found)[-1])

    def test_selinux_unused(self):
        enforce = os.path.join(self.path, 'enforce')
        with open(enforce, 'w') as f:
            f.write('1')
        with mock.patch.object(doctor, '_SELINUX', enforce):
            self.assertEqual(
                [(doctor.WARNING, 'SELinux'), (doctor.NOTE, 'AppArmor')],
                levels(doctor._confinement({'apparmor'})))

    # The filesystem

    def test_instances_path(self):
        self.assertIn(levels(machine.check_instances_path(None)), (
            [(doctor.OK, 'instances_path')],
            [(doctor.WARNING, 'instances_path')]))
        self.assertEqual([], os.listdir(self.path))

    def test_no_instances_path(self):
        self.set('instances_path', '/nowhere/instances')
        self.assertEqual([(doctor.NOTE, 'instances_path')],
                         levels(machine.check_instances_path(None)))

    def test_remote(self):
        with mock.patch.object(machine, '_filesystem', return_value='nfs4'):
            self.assertEqual([(doctor.ERROR, 'instances_path')],
                             levels(machine.check_instances_path(None)))

    @ddt.data((OSError(95, 'Operation not supported'), doctor.ERROR),
              (PermissionError(13, 'Permission denied'), doctor.NOTE))
    @ddt.unpack
    def test_no_attributes(self, error, level):
        with mock.patch('os.setxattr', side_effect=error):
            self.assertEqual([(level, 'instances_path')],
                             levels(machine.check_instances_path(None)))

    @ddt.data((5 << 30, doctor.WARNING), (50 << 30, doctor.OK))
    @ddt.unpack
    def test_space(self, free, level):
        with mock.patch('os.statvfs', return_value=mock.Mock(
                f_bavail=free >> 12, f_frsize=4096)):
            self.assertEqual([(level, 'instances_path')],
                             levels(machine.check_instances_path(None)))

    # Transports

    def _transports(self, **kwargs):
        with mock.patch.object(transports, 'check', **kwargs):
            return levels(doctor.check_transports(None))

    def test_transports(self):
        self.assertEqual([(doctor.OK, 'transport')], self._transports())

    def test_transport_lacks_its_program(self):
        self.assertEqual([(doctor.ERROR, 'transport')], self._transports(
            side_effect=exception.InvalidConfiguration('mkfs.erofs')))

    @ddt.data(((1, 8, 6), []), ((1, 5), [(doctor.NOTE, 'transport')]))
    @ddt.unpack
    def test_old_mkfs(self, version, more):
        self.set('rootfs_transport', 'block', 'containervm')
        with mock.patch.object(mkerofs, 'find',
                               return_value=mkerofs.Tool('/x', version)):
            self.assertEqual([(doctor.OK, 'transport'), *more],
                             self._transports())

    def test_transports_as_another_user(self):
        self.set('instances_path', '/nowhere')
        self.assertEqual([(doctor.NOTE, 'transport')], self._transports())

    # The privileged helper

    def _privileged(self, uid, **kwargs):
        with mock.patch('os.geteuid', return_value=uid), mock.patch.object(
                hostcheck, '_check_privileged', **kwargs) as self.probe:
            return levels(doctor.check_privileged(None))

    def test_privileged(self):
        self.assertEqual([(doctor.OK, 'privileged helper')],
                         self._privileged(1000))

    def test_privileged_refused(self):
        self.assertEqual(
            [(doctor.ERROR, 'privileged helper')], self._privileged(
                1000, side_effect=exception.InvalidConfiguration('sudo')))

    def test_privileged_not_as_root(self):
        self.assertEqual([(doctor.NOTE, 'privileged helper')],
                         self._privileged(0))
        self.probe.assert_not_called()

    # The command

    def _run(self, *arguments, findings=()):
        out = io.StringIO()
        with mock.patch.object(doctor, 'examine',
                               return_value=iter(findings)), \
                mock.patch.object(conf, 'CONF'), \
                mock.patch('logging.disable'), \
                contextlib.redirect_stdout(out):
            return doctor_cli.main(list(arguments)), out.getvalue()

    def test_command(self):
        status, text = self._run(findings=[
            doctor.Finding(doctor.OK, 'kernel', 'Linux 6.1.'),
            doctor.Finding(doctor.ERROR, 'KVM', 'There is ' + 'no ' * 40)])
        self.assertEqual(1, status)
        self.assertTrue(text.startswith('ok       kernel: Linux 6.1.\n'))
        self.assertLess(max(map(len, text.splitlines())), 80)
        self.assertIn('1 to be mended', text)

    @ddt.data(doctor.OK, doctor.NOTE, doctor.WARNING)
    def test_command_all_well(self, level):
        status, text = self._run(findings=[
            doctor.Finding(level, 'x', 'y')])
        self.assertEqual(0, status)
        self.assertIn('nova-compute can start', text)

    def test_command_json(self):
        status, text = self._run('--json', findings=[
            doctor.Finding(doctor.OK, 'x', 'y')])
        self.assertEqual([{'level': 'ok', 'subject': 'x', 'text': 'y'}],
                         json.loads(text))

    def test_every_check_is_made(self):
        made = {name for module in (doctor, machine) for name in vars(module)
                if name.startswith('check_')}
        self.assertEqual({check.__name__ for check in doctor.CHECKS}, made)
