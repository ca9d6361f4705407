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


"""Images of an ordinary guest: Debian's kernel and busybox, no container.

The same guest as kernel and ramdisk, as a raw disk and as qcow2. It prints
what it finds, gets an address by DHCP, says over HTTP what disks it has, and
powers off when told to by ACPI.
"""

import hashlib
import lzma
import os
import pathlib
import re
import shutil
import struct
import subprocess

from nova_containervm.baseimage import apt

# Of package syslinux-common
MBR = pathlib.Path('/usr/lib/syslinux/mbr/mbr.bin')

MODULES = ('virtio_pci', 'virtio_blk', 'virtio_net', 'button', 'evdev')

INIT = '''\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in %s; do insmod /modules/$module; done
for disk in /sys/block/vd?; do
    echo "plain: ${disk##*/} has $(($(cat $disk/size) / 2048)) MiB"
done
ip link set lo up
ip link set eth0 up
udhcpc -q -f -n -t 20 -T 1 -i eth0 -s /bin/lease >/dev/null &&
    echo "plain: address $(ip -4 -o address show dev eth0 | awk '{print $4}')"
echo "plain: up"
for input in /sys/class/input/event*; do
    grep -q 'Power Button' $input/device/name || continue
    (head -c 24 /dev/input/${input##*/} >/dev/null
     echo "plain: power button"; poweroff -f) &
done
httpd -f -p 80 -h /www
'''

DISKS = '''\
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
for disk in /sys/block/vd?; do
    echo "${disk##*/} $(cat $disk/serial)"
done
'''

LEASE = '''\
#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add $ip/$mask dev $interface
[ -z "$router" ] || ip route add default via ${router%% *}
'''

CMDLINE = 'console=ttyS0 quiet'

SYSLINUX = '''\
SERIAL 0
DEFAULT plain
LABEL plain
LINUX vmlinuz
INITRD initrd
APPEND %s
''' % CMDLINE


def _run(*command, **kwargs):
    result = subprocess.run([str(c) for c in command], capture_output=True,
                            text=True, **kwargs)
    assert result.returncode == 0, '%s: %s%s' % (command, result.stdout,
                                                 result.stderr)
    return result.stdout


def build(directory):
    """Build into a directory, once; return it.

    It then holds vmlinuz, initrd, plain.raw and plain.qcow2.
    """
    directory = pathlib.Path(directory)
    done = directory / 'done'
    key = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()
    if done.exists() and done.read_text() == key:
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    version = _kernel(directory)
    _initrd(directory, version)
    _disks(directory)
    done.write_text(key)
    return directory


def _kernel(directory):
    """Unpack Debian's kernel for clouds; return its version."""
    fields = _run('apt-cache', 'show', '--no-all-versions',
                  'linux-image-cloud-amd64')
    package = re.search(r'^Depends: (linux-image-\S+)', fields, re.M)[1]
    # apt's own user must be able to write there
    os.chmod(directory, 0o777)
    _run('apt-get', 'download', package, cwd=directory)
    os.chmod(directory, 0o755)
    archive, = directory.glob('*.deb')
    _run('dpkg-deb', '--extract', archive, directory / 'kernel')
    apt.merge_usr(directory / 'kernel')
    archive.unlink()
    version = package.removeprefix('linux-image-')
    shutil.copy(directory / 'kernel/boot' / ('vmlinuz-' + version),
                directory / 'vmlinuz')
    return version


def _initrd(directory, version):
    kernel, tree = directory / 'kernel', directory / 'tree'
    for name in ('bin', 'proc', 'sys', 'dev', 'www/cgi-bin', 'modules'):
        (tree / name).mkdir(parents=True)
    _run('depmod', '--basedir', kernel, version)
    wanted = []
    for module in MODULES:
        for line in _run('modprobe', '--dirname', kernel, '--set-version',
                         version, '--show-depends', module).splitlines():
            kind, _, path = line.partition(' ')
            path = pathlib.Path(path.strip())
            name = path.name.removesuffix('.xz')
            if kind == 'insmod' and name not in wanted:
                data = path.read_bytes()
                (tree / 'modules' / name).write_bytes(
                    data if name == path.name else lzma.decompress(data))
                wanted.append(name)
    shutil.copy('/bin/busybox', tree / 'bin')
    (tree / 'init').write_text(INIT % ' '.join(wanted))
    (tree / 'bin/lease').write_text(LEASE)
    (tree / 'www/index.html').write_text('plain\n')
    (tree / 'www/cgi-bin/disks').write_text(DISKS)
    for name in ('init', 'bin/lease', 'www/cgi-bin/disks'):
        (tree / name).chmod(0o755)
    with open(directory / 'initrd', 'wb') as f:
        names = ''.join('%s\n' % path.relative_to(tree)
                        for path in sorted(tree.rglob('*')))
        subprocess.run(['busybox', 'cpio', '-o', '-H', 'newc'], cwd=tree,
                       input=names.encode(), stdout=f, check=True,
                       stderr=subprocess.DEVNULL)
    shutil.rmtree(kernel)
    shutil.rmtree(tree)


def _disks(directory):
    raw = directory / 'plain.raw'
    sectors, begin = 64 << 11, 1 << 11
    # One active partition of type FAT32; without one, Glance and Nova take
    # the disk for a damaged one.
    entry = struct.pack('<B3sB3sII', 0x80, b'\xfe\xff\xff', 0x0c,
                        b'\xfe\xff\xff', begin, sectors - begin)
    with open(raw, 'wb') as f:
        f.write(MBR.read_bytes()[:440].ljust(446, b'\0') + entry +
                bytes(48) + b'\x55\xaa')
        f.truncate(sectors << 9)
    partition = '%s@@%d' % (raw, begin << 9)
    _run('mformat', '-i', partition, '-h', '64', '-s', '32', '-H', begin,
         '-T', sectors - begin, '::')
    (directory / 'syslinux.cfg').write_text(SYSLINUX)
    _run('syslinux', '--install', '--offset', begin << 9, raw)
    for name in ('vmlinuz', 'initrd', 'syslinux.cfg'):
        _run('mcopy', '-i', partition, directory / name, '::' + name)
    _run('qemu-img', 'convert', '-O', 'qcow2', raw, directory / 'plain.qcow2')
