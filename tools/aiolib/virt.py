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
"""Whether KVM works here, and the guests on this host."""

import pathlib
import re
import subprocess
import tempfile

from aiolib import nodes
from aiolib import ui

KVM = pathlib.Path('/dev/kvm')
CPUINFO = pathlib.Path('/proc/cpuinfo')
# Intel's and AMD's for virtual machines
_EXTENSIONS = re.compile(r'^flags\b.*\b(vmx|svm)\b', re.MULTILINE)
DEFINITIONS = pathlib.Path('/etc/libvirt/qemu')
# What of a cloud's state is mounted on them
_OURS = {DEFINITIONS: 'libvirt-domains', KVM: 'no-kvm'}
URI = ('virsh', '--connect', 'qemu:///system')
# A boot sector in real mode: write 0x10 to port 0xf4 and halt.
#   mov al, 0x10 ; out 0xf4, al ; hlt ; jmp $-1
_BOOT_SECTOR = (bytes((0xb0, 0x10, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd))
                .ljust(510, b'\0') + b'\x55\xaa')


def kvm_works():
    """Run a guest of seven bytes under KVM.

    /dev/kvm may be there and yet not run anything (nested virtualization that
    is switched off), or much slower than TCG does: KVM needs a tenth of a
    second for this. Or it is there without the processor's help and runs only
    kernels that were made for it. QEMU's isa-debug-exit device makes
    (0x10 << 1) | 1 the exit status.
    """
    if not KVM.is_char_device() or not _EXTENSIONS.search(
            CPUINFO.read_text()):
        return False
    with tempfile.TemporaryDirectory() as directory:
        disk = pathlib.Path(directory) / 'boot'
        disk.write_bytes(_BOOT_SECTOR)
        try:
            done = subprocess.run(
                # The processor that servers get: with others KVM may work
                # where it does not with this one.
                ['qemu-system-x86_64', '-accel', 'kvm', '-cpu', 'host',
                 '-m', '16', '-display', 'none', '-nodefaults', '-no-reboot',
                 '-device', 'isa-debug-exit,iobase=0xf4,iosize=4',
                 '-drive', f'file={disk},format=raw'],
                timeout=3, check=False, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except (subprocess.TimeoutExpired, OSError):
            return False
    return done.returncode == 0x21


def virt_type(cfg):
    """Return kvm or qemu.

    The answer is kept: it must not change between two starts.
    """
    if cfg.virt_type != 'auto':
        return cfg.virt_type
    kept = cfg.state / 'virt_type'
    if not kept.exists():
        kept.write_text('kvm' if kvm_works() else 'qemu')
    return kept.read_text().strip()


def hide_kvm(cfg):
    """Hide a KVM that runs no guests from libvirtd.

    libvirtd tests QEMU with it, and again for every domain whenever QEMU's
    user may not open it as its own may: minutes for each server. The group
    changes behind our back where containers share the device.

    A file on a read-only mount is one that not even root may write to.
    """
    if _mounts(KVM) or not KVM.is_char_device() or kvm_works():
        return
    ours = cfg.state / _OURS[KVM]
    ours.touch(mode=0o400)
    ui.run(['mount', '--bind', ours, KVM])
    ui.run(['mount', '-o', 'remount,bind,ro', KVM])


def own_definitions(cfg):
    """Give libvirtd a directory of ours for the definitions of domains.

    In /etc/libvirt/qemu, a path that libvirtd has built in, there may be
    domains of somebody else, or of an all-in-one whose directory was removed
    while it ran. With those and a new database nova-compute does not start.
    """
    ours = cfg.state / _OURS[DEFINITIONS]
    ours.mkdir(mode=0o700, exist_ok=True)
    _unmount(DEFINITIONS)
    DEFINITIONS.mkdir(parents=True, exist_ok=True)
    ui.run(['mount', '--bind', ours, DEFINITIONS])


def remove_mounts():
    """Undo hide_kvm() and own_definitions(); return what was undone.

    That of another all-in-one, too: of two only one can run.
    """
    return [str(path) for path in _OURS if _unmount(path)]


def _unmount(path):
    count = _mounts(path)
    for _ in range(count):
        ui.run(['umount', '--lazy', path])
    return count


def _mounts(path):
    """Return how often something of an all-in-one is mounted there."""
    mounts = pathlib.Path('/proc/self/mountinfo').read_text()
    fields = [line.split(' ') for line in mounts.splitlines()]
    return sum(f[4] == str(path) and f'/{_OURS[path]}' in f[3]
               for f in fields)


def domains(node):
    """Return the names of a host's domains that are of this all-in-one."""
    names = node.run([*URI, 'list', '--all', '--name']).split()
    return [n for n in names if f'{node.cfg.dir}/' in
            node.run([*URI, 'dumpxml', n], check=False)]


def any_domains(cfg, running):
    """Say whether a host with a running libvirtd has domains of ours."""
    return any(domains(node) for node in nodes.every(cfg)
               if node.program('libvirtd') in running)


def destroy_domains(node, undefine):
    """Power off a host's guests; with `undefine` remove them from libvirt."""
    running = node.run([*URI, 'list', '--name']).split()
    names = domains(node)
    for name in names:
        if name in running:
            node.run([*URI, 'destroy', name], check=False)
        if undefine:
            node.run([*URI, 'undefine', name, '--nvram',
                      '--managed-save', '--snapshots-metadata'], check=False)
            (node.libvirt('log') / 'qemu' / f'{name}.log').unlink(
                missing_ok=True)
    return names
