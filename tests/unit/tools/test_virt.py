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
import pathlib
import stat
import tempfile
from unittest import mock

import ddt
from oslotest import base

from tests.unit import tools  # noqa: F401  (finds aiolib)

# isort: split
from aiolib import host
from aiolib import settings
from aiolib import virt

MOUNT = '36 35 98:0 %s %s rw,noatime - ext4 /dev/vda rw\n'
OTHERS = MOUNT % ('/', '/') + MOUNT % ('/kvm', '/dev/kvm')
OURS = MOUNT % ('/var/lib/aio.1/state/no-kvm', '/dev/kvm')


@ddt.ddt
class MountsTestCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        state = tempfile.TemporaryDirectory()
        self.addCleanup(state.cleanup)
        self.cfg = settings.Settings(dir=pathlib.Path(state.name))
        self.cfg.state.mkdir()
        self.run = self._patch(virt.ui, 'run')

    def _patch(self, *args, **kwargs):
        patch = mock.patch.object(*args, **kwargs)
        self.addCleanup(patch.stop)
        return patch.start()

    def _mounted(self, text):
        self._patch(pathlib.Path, 'read_text', return_value=text)

    @ddt.data(
        # what is mounted, whether there is a device, and whether it works
        (OTHERS, True, False, True),
        (OTHERS, True, True, False),
        (OTHERS, False, False, False),
        (OTHERS + OURS, False, False, False),
    )
    @ddt.unpack
    def test_hide_kvm(self, mounts, device, works, hidden):
        self._mounted(mounts)
        self._patch(pathlib.Path, 'is_char_device', return_value=device)
        self._patch(virt, 'kvm_works', return_value=works)
        virt.hide_kvm(self.cfg)
        file = self.cfg.state / 'no-kvm'
        self.assertEqual([
            mock.call(['mount', '--bind', file, virt.KVM]),
            mock.call(['mount', '-o', 'remount,bind,ro', virt.KVM]),
        ] if hidden else [], self.run.mock_calls)
        self.assertEqual(hidden, file.exists())

    @ddt.data(
        # flags of the processor, exit status of the guest, whether it works
        ('fpu vme svm lahf_lm', 0x21, True),
        ('fpu vmx', 0x21, True),
        ('fpu vmx', 0, False),
        ('fpu vmx', -6, False),
        # KVM without the processor's help: no ordinary kernel runs on it
        ('fpu vmmcall vmxoff', 0x21, False),
    )
    @ddt.unpack
    def test_kvm_works(self, flags, status, works):
        self._patch(pathlib.Path, 'is_char_device', return_value=True)
        self._mounted(
            'model name\t: vmx svm\nflags\t\t: %s\nbugs\t:\n' % flags)
        self._patch(virt.subprocess, 'run', return_value=mock.Mock(
            returncode=status))
        self.assertEqual(works, virt.kvm_works())

    @ddt.data((True, True, 0), (False, False, 0), (False, True, 65))
    @ddt.unpack
    def test_make_loop_devices(self, there, known, made):
        self._patch(pathlib.Path, 'exists', autospec=True,
                    side_effect=lambda path: known if path.name == 'dev'
                    else there)
        self._patch(pathlib.Path, 'read_text', return_value='10:237\n')
        make = self._patch(host.os, 'mknod')
        record = mock.Mock(data={})
        host.make_loop_devices(record)
        self.assertEqual(made, make.call_count)
        self.assertEqual(made, len(record.data.get('nodes', [])))
        if made:
            self.assertEqual(
                mock.call(pathlib.Path('/dev/loop-control'),
                          stat.S_IFCHR | 0o600, os.makedev(10, 237)),
                make.mock_calls[0])

    def test_hidden_kvm_is_left_alone(self):
        """By a second "up": it is our own read-only file then."""
        self._patch(pathlib.Path, 'exists', return_value=True)
        self._patch(pathlib.Path, 'is_char_device', return_value=False)
        change = self._patch(host.os, 'chown')
        record = mock.Mock(data={})
        host.open_kvm(record)
        self.assertFalse(change.called)
        self.assertEqual({}, record.data)

    @ddt.data(
        (OTHERS, []),
        (OTHERS + OURS, ['/dev/kvm']),
        (OURS + MOUNT % ('/x/state/libvirt-domains//deleted',
                         '/etc/libvirt/qemu'),
         ['/etc/libvirt/qemu', '/dev/kvm']),
    )
    @ddt.unpack
    def test_remove_mounts(self, mounts, removed):
        self._mounted(mounts)
        self.assertEqual(removed, virt.remove_mounts())
        self.assertEqual([mock.call(['umount', '--lazy', pathlib.Path(path)])
                          for path in removed], self.run.mock_calls)
