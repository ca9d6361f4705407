# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""An image that has an init of its own: that is process 1.

systemd, which wants more than that, is in tests/e2e/test_real_images.py.
"""

import pytest

from tests.guest import rootfs as rootfs_lib

INITTAB = b"""\
::sysinit:/bin/echo sysinit
::respawn:/bin/service
::shutdown:/bin/echo shutdown
"""
SERVICE = b"""\
#!/bin/sh
echo >>/starts
[ $(wc -l </starts) -lt 3 ] && exit
(sleep 0.1 &)
sleep 0.5
echo "$(cat /proc/1/comm) $PPID $(grep -l State:.Z /proc/*/status | wc -l)"
exec sleep 1000
"""
USR2 = 12  # which has it shut down


@pytest.mark.parametrize('runtime', ['crun', 'chroot'])
def test_busybox_init(make_vm, tmp_path, runtime):
    """It starts services anew, buries orphans, and stops in good order."""
    root = rootfs_lib.busybox(tmp_path / 'root')
    root.directory('sbin')
    root.symlink('sbin/init', '../bin/busybox')
    root.file('etc/inittab', INITTAB)
    root.file('bin/service', SERVICE, 0o755)
    vm = make_vm(('/sbin/init',), rootfs=root.path, runtime=runtime,
                 contract={'STOP_SIGNAL': USR2, 'STOP_TIMEOUT': 5}).start()
    vm.wait_for('init 1 0\n')
    vm.power_button()
    vm.wait()
    lines = vm.console().replace('\r', '').splitlines()
    shown = [line for line in lines
             if line in ('sysinit', 'init 1 0', 'shutdown')]
    assert shown == ['sysinit', 'init 1 0', 'shutdown'], lines
    assert vm.event('exited')['final']
