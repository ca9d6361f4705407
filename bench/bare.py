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

"""The reference of the boot figures: nothing but a kernel that prints a line.

No device but the serial port, and an initramfs with one program in it. No
container, on no OpenStack, can be up before this is.
"""

import pathlib

from nova_containervm.baseimage import cpio

from bench import program
from bench import qemu

# no_timer_check: or the kernel panics on a busy host without KVM
CMDLINE = 'console=ttyS0 quiet panic=1 no_timer_check'


def initramfs():
    """An initramfs whose /init prints the line and waits."""
    archive = cpio.Archive(0)
    archive.directory('dev')
    archive.chardev('dev/console', 5, 1)
    archive.file('init', program.elf(), 0o755)
    return archive.build()


def argv(work, kernel, cmdline, *, machine='q35', accel='tcg', cpu='qemu64',
         memory=256, smp='1'):
    """Command line of the reference.

    :param work: directory for the initramfs
    :param kernel: the vmlinux that the container's VM boots
    :param memory: MiB
    """
    initrd = pathlib.Path(work) / 'bare.cpio'
    initrd.write_bytes(initramfs())
    return [qemu.PROGRAM, '-machine', machine, '-accel', accel, '-cpu', cpu,
            '-m', str(memory), '-smp', smp, '-nodefaults', '-no-user-config',
            '-display', 'none', '-no-reboot', '-serial', 'stdio',
            '-kernel', str(kernel), '-initrd', str(initrd),
            '-append', cmdline]
