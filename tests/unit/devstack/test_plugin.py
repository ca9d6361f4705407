# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""The DevStack plugin: each phase, in a shell as DevStack sources it.

With the environment variable DEVSTACK_DIR, a checkout of DevStack, the plugin
uses DevStack's own functions here; without it, those of stand_in.sh. What
installs, starts or stops something is replaced in both.
"""

import configparser
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from oslotest import base

from nova_containervm import conf
from nova_containervm.baseimage import cloud
from nova_containervm.baseimage import minimal

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
PLUGIN = CHECKOUT / 'devstack'
PYTHON = sys.executable
STAND_IN = pathlib.Path(__file__).with_name('stand_in.sh')

# Each call of these is a line of the file `calls`.
RECORDED = ('setup_develop', 'stop_process', 'async_wait', 'pip_uninstall')
PROGRAMS = ('sudo', 'openstack', 'umount', 'virsh', 'findmnt', 'python3',
            'nova-containervm-baseimage')

SCRIPT = """
set -o errexit
source "$FUNCTIONS"
source "$PLUGIN/override-defaults"
source "$PLUGIN/settings"
%(replaced)s
source "$PLUGIN/plugin.sh" "$@"
"""


class PluginTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)
        self.calls = self.dir / 'calls'
        self.calls.touch()
        self.nova_conf = self.dir / 'etc' / 'nova.conf'
        self.tempest_conf = self.dir / 'tempest.conf'
        (self.dir / 'etc' / 'rootwrap.d').mkdir(parents=True)
        self.nova_conf.write_text('[DEFAULT]\ndebug = True\n'
                                  '[libvirt]\nvirt_type = qemu\n')
        self.tempest_conf.write_text('[compute]\nimage_ref = plain\n'
                                     'image_ref_alt = docker\n')
        self.bin = self.dir / 'bin'
        self.bin.mkdir()
        for name in PROGRAMS:
            self.program(name)
        # Its output directory.
        self.program('nova-containervm-baseimage', 'mkdir -p "$5"')
        # Not root here: `install` keeps the caller for owner.
        self.program('sudo', 'case $1 in\n'
                     'install) exec install -m 644 "${@:8}";;\n'
                     '*) exec "$@";;\nesac')
        self.variables = {
            'ENABLED_SERVICES': 'n-cpu,g-api,tempest,key',
            'VIRT_DRIVER': 'libvirt',
            'LIBVIRT_TYPE': 'qemu',
            'REGION_NAME': 'RegionOne',
            'INSTANCE_NAME_PREFIX': 'instance-',
            'DATA_DIR': self.dir / 'data',
            'FILES': self.dir / 'files',
            'NOVA_BIN_DIR': self.bin,
            'NOVA_CONF': self.nova_conf,
            'NOVA_CONF_DIR': self.nova_conf.parent,
            'NOVA_INSTANCES_PATH': '/opt/stack/data/nova/instances',
            'TEMPEST_CONFIG': self.tempest_conf,
            # DevStack finds out by programs that there may not be.
            'os_VENDOR': 'Debian',
            'os_PACKAGE': 'deb',
            'os_RELEASE': '12',
            'os_CODENAME': 'bookworm',
        }

    def program(self, name, script=''):
        """Make a program that records its call and does what `script` says."""
        path = self.bin / name
        # One for another one's use: `sudo virsh` is recorded as both.
        path.write_text('#!/bin/bash\n'
                        f'echo {name} "$@" >>{self.calls}\n{script}\n')
        path.chmod(0o755)

    def run_phase(self, *phase, check=True, **variables):
        """Source the plugin for a phase; return (calls, what it printed)."""
        replaced = '\n'.join(
            f'function {name} {{ echo {name} "$@" $PIP_VIRTUAL_ENV '
            f'>>{self.calls}; }}' for name in RECORDED)
        devstack = os.environ.get('DEVSTACK_DIR')
        functions = f'{devstack}/functions' if devstack else STAND_IN
        env = {**self.variables, **variables, 'FUNCTIONS': functions,
               'PLUGIN': PLUGIN, 'HOME': self.dir,
               'PATH': f'{self.bin}:{os.environ["PATH"]}'}
        done = subprocess.run(
            ['bash', '-c', SCRIPT % {'replaced': replaced}, 'plugin', *phase],
            env={k: str(v) for k, v in env.items()}, capture_output=True,
            text=True, check=False, cwd=self.dir)
        if check and done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        if not check:
            self.assertNotEqual(0, done.returncode)
        # The stand-in's own Python is not the plugin's.
        calls = [line for line in self.calls.read_text().splitlines()
                 if not line.startswith('python3 - ')]
        return calls, done.stdout + done.stderr


class StackTest(PluginTestCase):

    def setUp(self):
        super().setUp()
        # The stand-in's iniset needs it.
        self.program('python3', f'case $1 in -) exec {PYTHON} "$@";; esac')

    def options(self, path):
        parser = configparser.RawConfigParser(default_section='none')
        parser.read(path)
        return {(g, o): v for g in parser.sections()
                for o, v in parser[g].items()}

    def test_settings_are_checked(self):
        for variables, word in (
                ({'VIRT_DRIVER': 'fake'}, 'VIRT_DRIVER'),
                ({'LIBVIRT_TYPE': 'lxc'}, 'LIBVIRT_TYPE'),
                ({'os_PACKAGE': 'rpm'}, 'Debian'),
                ({'CONTAINERVM_OPTIONS': 'writable_layer = share'},
                 'CONTAINERVM_OPTIONS')):
            _calls, output = self.run_phase('stack', 'pre-install',
                                            check=False, **variables)
            self.assertIn(word, output)

    def test_usual_settings_pass(self):
        calls, _output = self.run_phase(
            'stack', 'pre-install',
            CONTAINERVM_OPTIONS='rootfs_transport=9p writable_layer=share')
        self.assertEqual([], calls)

    def test_install(self):
        calls, _output = self.run_phase('stack', 'install')
        data = self.dir / 'data'
        self.assertEqual([
            f'setup_develop {CHECKOUT}',
            'python3 -c import nova.virt.containervm',
            'nova-containervm-baseimage build --type minimal --output '
            f'{data}/containervm --cache {data}/containervm-cache/baseimage',
        ], calls)

    def test_the_driver_is_not_found(self):
        self.program('python3', 'exit 1')
        _calls, output = self.run_phase('stack', 'install', check=False)
        self.assertIn('nova.virt.containervm', output)

    def test_a_base_vm_image_of_one_s_own(self):
        image = self.dir / 'mine.qcow2'
        image.touch()
        calls, _output = self.run_phase('stack', 'install',
                                        CONTAINERVM_BASE_VM_IMAGE=image)
        self.assertEqual([], [c for c in calls if 'baseimage' in c])
        image.unlink()
        _calls, output = self.run_phase('stack', 'install', check=False,
                                        CONTAINERVM_BASE_VM_IMAGE=image)
        self.assertIn('mine.qcow2 is not there', output)

    def test_on_ubuntu_packages_come_from_debian(self):
        calls, _output = self.run_phase('stack', 'install',
                                        os_VENDOR='Ubuntu')
        self.assertRegex(calls[-1], r'--mirror \[signed-by=.*\] http://deb')
        calls, _output = self.run_phase(
            'stack', 'install', CONTAINERVM_DEBIAN_MIRROR='http://mirror')
        self.assertTrue(calls[-1].endswith('--mirror http://mirror'))

    def test_configuration(self):
        calls, _output = self.run_phase(
            'stack', 'post-config',
            CONTAINERVM_OPTIONS='rootfs_transport=9p writable_layer=share')
        # Another job of DevStack's writes to the file until then.
        self.assertEqual('async_wait configure_neutron_nova', calls[0])
        self.assertEqual({
            ('DEFAULT', 'debug'): 'True',
            ('DEFAULT', 'compute_driver'): 'containervm.ContainerVMDriver',
            ('libvirt', 'virt_type'): 'qemu',
            ('libvirt', 'sub_virt_type'): 'container',
            ('libvirt', 'base_vm_image'):
                f'{self.dir}/data/containervm/base.qcow2',
            ('containervm', 'rootfs_transport'): '9p',
            ('containervm', 'writable_layer'): 'share',
        }, self.options(self.nova_conf))
        self.assertEqual(
            (CHECKOUT / 'etc/rootwrap.d/containervm.filters').read_text(),
            (self.dir / 'etc/rootwrap.d/containervm.filters').read_text())

    def test_images(self):
        archive = self.dir / 'web.v2.tar.gz'
        archive.touch()
        self.program('python3', 'echo /built/busybox.tar')
        calls, _output = self.run_phase(
            'stack', 'extra', CONTAINERVM_IMAGES=f'busybox,file://{archive}')
        uploads = [c for c in calls if c.startswith('openstack ')]
        common = ('openstack --os-cloud=devstack-admin '
                  '--os-region-name=RegionOne image create --public '
                  '--container-format docker --disk-format raw '
                  '--property trait:CUSTOM_CONTAINERVM=required --file ')
        self.assertEqual([f'{common}/built/busybox.tar busybox',
                          f'{common}{archive} web.v2'], uploads)

    def test_no_image(self):
        calls, _output = self.run_phase('stack', 'extra',
                                        CONTAINERVM_IMAGES='')
        self.assertEqual([], calls)

    def test_tempest_tests_plain_images(self):
        self.run_phase('stack', 'test-config')
        self.assertEqual({('compute', 'image_ref'): 'plain',
                          ('compute', 'image_ref_alt'): 'plain'},
                         self.options(self.tempest_conf))

    def test_tempest_tests_a_container_image(self):
        self.program('openstack', 'echo 1234')
        self.run_phase('stack', 'test-config',
                       CONTAINERVM_TEMPEST_IMAGE='busybox')
        found = self.options(self.tempest_conf)
        self.assertEqual('1234', found['compute', 'image_ref'])
        self.assertEqual('1234', found['compute', 'image_ref_alt'])
        for feature in ('suspend', 'live_migration', 'rescue'):
            self.assertEqual('False',
                             found['compute-feature-enabled', feature])

    def test_block_can_be_suspended(self):
        self.program('openstack', 'echo 1234')
        self.run_phase('stack', 'test-config',
                       CONTAINERVM_TEMPEST_IMAGE='busybox',
                       CONTAINERVM_OPTIONS='rootfs_transport=block')
        found = self.options(self.tempest_conf)
        self.assertEqual('True', found['compute-feature-enabled', 'suspend'])
        self.assertNotIn(('compute-feature-enabled', 'live_migration'), found)

    def test_nothing_without_the_services(self):
        for phase in ('install', 'post-config', 'extra', 'test-config'):
            calls, _output = self.run_phase('stack', phase,
                                            ENABLED_SERVICES='n-api')
            self.assertEqual([], calls)
        self.assertFalse(
            (self.dir / 'etc/rootwrap.d/containervm.filters').exists())


class UnstackTest(PluginTestCase):

    def test_unstack(self):
        self.program('virsh', '[ "$1" = destroy ] || '
                     'printf "instance-0001\\nother\\n\\n"')
        self.program('findmnt', 'printf "/\\n'
                     '/opt/stack/data/nova/instances/a/rootfs\\n'
                     '/opt/stack/data/nova/instances/a/rootfs/inner\\n'
                     '/opt/stack/data/nova/instances-not\\n"')
        calls, _output = self.run_phase('unstack')
        top = '/opt/stack/data/nova/instances/a/rootfs'
        self.assertEqual('stop_process n-cpu', calls[0])
        self.assertEqual(['virsh destroy instance-0001'],
                         [c for c in calls if c.startswith('virsh destroy')])
        self.assertEqual([f'umount --lazy {top}/inner',
                          f'umount --lazy {top}'],
                         [c for c in calls if c.startswith('umount')])

    def test_unstack_with_nothing_there(self):
        self.program('virsh', 'exit 1')
        calls, _output = self.run_phase('unstack')
        self.assertEqual([], [c for c in calls if c.startswith('umount')])

    def test_clean_uninstalls_from_the_environment_of_nova(self):
        self.program('pip')
        calls, _output = self.run_phase('clean')
        self.assertEqual(f'pip_uninstall nova-containervm {self.dir}',
                         calls[0])

    def test_clean(self):
        for name in ('containervm', 'containervm-cache', 'nova'):
            (self.dir / 'data' / name).mkdir(parents=True)
        calls, _output = self.run_phase('clean')
        self.assertEqual('pip_uninstall nova-containervm', calls[0])
        self.assertEqual(['nova'], os.listdir(self.dir / 'data'))


@unittest.skipUnless('DEVSTACK_DIR' in os.environ, 'needs a DevStack')
class DevStackTest(PluginTestCase):
    """What DevStack's own scripts have defined when they call the plugin."""

    def setUp(self):
        super().setUp()
        self.data = self.dir / 'data'
        for name in ('containervm', 'containervm-cache', 'nova'):
            (self.data / name).mkdir(parents=True)
        self.bin = self.data / 'venv' / 'bin'
        self.bin.mkdir(parents=True)
        for name in ('pip', 'findmnt', 'systemctl', 'sudo', 'virsh'):
            self.program(name, 'exec "$@"' if name == 'sudo' else '')
        self.devstack = self.dir / 'devstack'
        shutil.copytree(os.environ['DEVSTACK_DIR'], self.devstack,
                        symlinks=True, ignore=lambda *_a: ['.git'])
        (self.dir / 'nova-containervm').symlink_to(CHECKOUT)
        # What stack.sh makes of local.conf
        (self.devstack / '.localrc.auto').write_text(
            'HOST_IP=192.0.2.1\nADMIN_PASSWORD=secret\n'
            f'DEST={self.dir}\nDATA_DIR={self.data}\n'
            f'DEVSTACK_VENV={self.data}/venv\nVIRT_DRIVER=libvirt\n'
            'enable_plugin nova-containervm nowhere\n'
            'disable_all_services\nenable_service n-cpu\n')

    def run_script(self, name):
        """Run a script of DevStack's up to its phase; return the calls."""
        head, _rest = (self.devstack / name).read_text().split(
            'set -o xtrace\n', 1)
        # The tests may be root.
        head = head.replace('$EUID', '1000').replace(
            '$(dirname "$0")', str(self.devstack))
        phase = name.removesuffix('.sh')
        env = {name: str(value) for name, value in self.variables.items()
               if name.startswith('os_')}
        done = subprocess.run(
            ['bash', '-c', f'{head}\nset -o errexit\nload_plugin_settings\n'
             f'run_phase {phase}\n'], capture_output=True, text=True,
            check=False, cwd=self.dir,
            env={**env, 'HOME': str(self.dir),
                 'PATH': f'{self.bin}:{os.environ["PATH"]}'})
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return self.calls.read_text().splitlines()

    def test_unstack(self):
        inner = self.data / 'nova' / 'instances' / 'a' / 'rootfs'
        self.program('umount')
        self.program('findmnt', f'echo {inner}')
        self.program('virsh', '[ "$1" = destroy ] || echo instance-0001')
        calls = self.run_script('unstack.sh')
        self.assertIn('systemctl stop devstack@n-cpu.service', calls)
        self.assertIn('virsh destroy instance-0001', calls)
        self.assertIn(f'umount --lazy {inner}', calls)

    def test_clean(self):
        calls = self.run_script('clean.sh')
        self.assertIn('pip uninstall -y nova-containervm', calls)
        self.assertEqual(['nova', 'venv'], sorted(os.listdir(self.data)))


class FilesTest(base.BaseTestCase):

    def test_packages_are_those_of_the_builders(self):
        listed = (PLUGIN / 'files/debs/nova-containervm').read_text().split()
        self.assertEqual(sorted(listed), listed)
        # These are of every Debian.
        wanted = {*minimal.BUILD_PACKAGES, *cloud.BUILD_PACKAGES} - {
            'apt', 'dpkg', 'tar', 'util-linux'}
        self.assertEqual(set(), wanted - set(listed))

    def test_the_shutdown_timeout_is_nova_s(self):
        text = (PLUGIN / 'override-defaults').read_text()
        value = re.search(r'NOVA_SHUTDOWN_TIMEOUT:-(\d+)', text).group(1)
        self.assertEqual(conf.CONF.shutdown_timeout, int(value))

    def test_every_setting_is_documented(self):
        readme = (PLUGIN / 'README.rst').read_text()
        for name in re.findall(r'^(CONTAINERVM_\w+)=',
                               (PLUGIN / 'settings').read_text(),
                               re.MULTILINE):
            if name != 'CONTAINERVM_DIR':
                self.assertIn(f'``{name}``', readme)

    def test_samples_enable_the_plugin(self):
        for sample in (PLUGIN / 'samples').iterdir():
            self.assertIn('enable_plugin nova-containervm ',
                          sample.read_text(), sample.name)
