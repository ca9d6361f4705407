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

"""A container server's VM without OpenStack: for quick runs, and to profile.

The contract comes from the code that the driver uses, the devices are those
of the domain that the driver defines (nova_containervm/domain.py). What Nova
adds (its tap device, its files on the config drive) is not there.
"""

import os
import pathlib
import shutil
import stat
import struct
import subprocess
import uuid

from nova_containervm.baseimage import manifest
from nova_containervm.guest import contract

from bench import program
from bench import qemu

# As in nova_containervm.domain, which cannot be imported without Nova
SPARE_PORTS = 3
FIRST_SLOT = 0x10

MAC = 'fa:16:3e:00:00:01'
COMMAND = '/line'
ROOT_SIZE = 1 << 30


def image_config():
    """The config of a docker image with nothing but the program in it."""
    return {'architecture': 'amd64', 'os': 'linux',
            'config': {'Cmd': [COMMAND], 'WorkingDir': '/',
                       'Env': ['PATH=/usr/bin:/bin']}}


def network_info():
    """A network with static IPv4 and IPv6 addresses, as Nova gives it."""
    def subnet(version, cidr, address, gateway):
        return {'version': version, 'cidr': cidr, 'routes': [], 'dns': [],
                'meta': {},
                'gateway': {'address': gateway, 'type': 'gateway',
                            'version': version, 'meta': {}},
                'ips': [{'address': address, 'type': 'fixed', 'meta': {},
                         'version': version, 'floating_ips': []}]}
    return [{'id': str(uuid.UUID(int=1)), 'address': MAC, 'type': 'ovs',
             'meta': {}, 'active': True,
             'network': {'id': str(uuid.UUID(int=2)), 'bridge': 'br-int',
                         'label': 'bench', 'meta': {'mtu': 1450},
                         'subnets': [
                             subnet(4, '192.0.2.0/24', '192.0.2.5',
                                    '192.0.2.1'),
                             subnet(6, '2001:db8::/64', '2001:db8::5',
                                    '2001:db8::1')]}}]


def make_rootfs(path, mapped=True):
    """The unpacked image, in the form that a 9p export has."""
    path = pathlib.Path(path)
    path.mkdir(parents=True)
    command = path / COMMAND.lstrip('/')
    command.write_bytes(program.elf())
    for entry, mode in ((path, stat.S_IFDIR | 0o755),
                        (command, stat.S_IFREG | 0o755)):
        os.chmod(entry, 0o755)
        if mapped:
            for name, value in (('uid', 0), ('gid', 0), ('mode', mode)):
                os.setxattr(entry, f'user.virtfs.{name}',
                            struct.pack('<I', value))
    return path


def config_drive(path, files, work):
    """Make the config drive as Nova does, with ``files`` (path to bytes)."""
    tree = pathlib.Path(work) / 'drive'
    shutil.rmtree(tree, ignore_errors=True)
    for name, content in files.items():
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    subprocess.run(
        ['genisoimage', '-quiet', '-o', str(path), '-ldots',
         '-allow-lowercase', '-allow-multidot', '-l', '-J', '-r',
         '-V', 'config-2', str(tree)], check=True,
        stderr=subprocess.DEVNULL)


class Container:
    """One server's files in ``work``, and the command line of its VM.

    :param base: directory of a base VM image, type minimal
    :param runtime: crun or chroot
    :param ports: free PCI Express ports
    :param memory: MiB
    :param append: more kernel parameters
    :param boot: kernel or disk
    :param more: more arguments for QEMU
    """

    def __init__(self, work, base, *, runtime='crun', ports=SPARE_PORTS,
                 cpu='qemu64', memory=256, append='', boot='kernel',
                 accel='tcg', more=()):
        self.work = pathlib.Path(work)
        self.base = pathlib.Path(base).resolve()
        self.manifest = manifest.read(base)
        self.ports = ports
        self.cpu = cpu
        self.accel = accel
        self.memory = memory
        self.append = append
        self.boot = boot
        self.more = list(more)
        self.work.mkdir(parents=True, exist_ok=True)
        self.rootfs = make_rootfs(self.work / 'rootfs')
        files = contract.build(
            str(uuid.UUID(int=3)), 'bench', image_config(), b'', b'', [],
            network_info(), {}, transport='9p', writable='disk',
            access_mode='mapped', runtime=runtime, base_type='minimal',
            share_options=None, rootfs_tag='rootfs', rootfs_serial='',
            domain='').files()
        config_drive(self.work / 'disk.config', files, self.work)

    @property
    def kernel(self):
        return self.base / self.manifest['kernel']['file']

    @property
    def cmdline(self):
        return (self.manifest['cmdline'] + ' ' + self.append).strip()

    def fresh(self):
        """Make the disk anew, as it is before a server's first boot."""
        qemu.make_overlay(self.work / 'disk', self.base / 'base.qcow2',
                          'qcow2', ROOT_SIZE)

    def argv(self, initrd=None):
        """The command line.

        :param initrd: another than the base VM image's
        """
        argv = [
            qemu.PROGRAM, '-machine', 'q35', '-accel', self.accel,
            '-cpu', self.cpu, '-m', str(self.memory), '-smp', '1',
            '-nodefaults', '-no-user-config', '-display', 'none',
            '-no-reboot', '-serial', 'stdio',
            '-chardev', f'file,id=channel,path={self.work}/channel',
            '-object', 'rng-random,id=rng,filename=/dev/urandom',
            '-netdev', 'user,id=net0,restrict=on',
            '-drive', 'id=disk,if=none,format=qcow2,cache=none,'
                      f'file={self.work}/disk',
            '-drive', 'id=config,if=none,format=raw,readonly=on,cache=none,'
                      f'file={self.work}/disk.config',
            '-fsdev', f'local,id=rootfs,path={self.rootfs},readonly=on,'
                      'security_model=mapped-xattr,multidevs=remap',
        ]
        if self.boot == 'kernel':
            argv += ['-kernel', str(self.kernel), '-initrd',
                     str(initrd or
                         self.base / self.manifest['initrd']['file']),
                     '-append', self.cmdline]
        return argv + self._devices() + self.more

    def _devices(self):
        argv = []
        for i in range(self.ports + 1):
            # eight functions a slot, as libvirt places them
            slot, function = 1 + i // 8, i % 8
            multi = ',multifunction=on' if function == 0 else ''
            argv += ['-device',
                     f'pcie-root-port,id=port{i},chassis={i + 1},'
                     f'port={8 + i},bus=pcie.0,'
                     f'addr={slot:#x}.{function:#x}{multi}']
        argv += ['-device', f'virtio-net-pci,netdev=net0,mac={MAC},bus=port0']
        permanent = (
            'virtio-blk-pci,drive=disk,bootindex=1',
            'virtio-blk-pci,drive=config',
            'virtio-9p-pci,fsdev=rootfs,mount_tag=rootfs',
            'virtio-rng-pci,rng=rng',
            'virtio-balloon-pci,free-page-reporting=on',
            'virtio-serial-pci,id=serial0',
        )
        for slot, device in enumerate(permanent, FIRST_SLOT):
            argv += ['-device', f'{device},bus=pcie.0,addr={slot:#x}']
        return argv + ['-device', 'virtserialport,bus=serial0.0,'
                       f'chardev=channel,name={contract.CHANNEL}']
