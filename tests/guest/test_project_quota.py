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

"""``share_limit = project`` on Debian's kernel.

Not of the guest: here a compute host is in the VM, with this machine's files
and a disk for its instances. The kernel that the tests run on may have no
project quotas.
"""

import json
import pathlib
import subprocess
import sys

import pytest

from nova_containervm.baseimage import cpio
from nova_containervm.baseimage import manifest
from nova_containervm.baseimage import minimal
from nova_containervm.baseimage import modules
from nova_containervm.cli import baseimage as cli
from tests.guest import vm as vm_lib

pytestmark = pytest.mark.slow

CHECKOUT = pathlib.Path(__file__).parents[2]
BUSYBOX = pathlib.Path('/bin/busybox')
# crc32c_generic is nobody's dependency by name.
MODULES = ('virtio_pci', 'virtio_blk', '9pnet_virtio', '9p', 'crc32c_generic',
           'ext4', 'quota_v2', 'xfs')
MAKE = {
    'ext4': ['mkfs.ext4', '-q', '-O', 'quota,project', '-E', 'nodiscard'],
    'xfs': ['mkfs.xfs', '-q'],
}

INIT = '''\
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc none /proc
$b mount -t devtmpfs none /dev
$b hostname host
for name in %(modules)s; do
    $b insmod /modules/$name.ko || echo "no $name"
done
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose \
    containervm-rootfs /host || echo 'no 9p'
$b mount -t proc none /host/proc
$b mount -t sysfs none /host/sys
$b mount -t devtmpfs none /host/dev
$b mount -t tmpfs none /host/tmp
$b mount -t %(fstype)s -o prjquota /dev/vda /host/mnt || echo 'no disk'
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=%(checkout)s
$b chroot /host %(python)s -c "$($b cat /program)"
$b umount /host/mnt
$b poweroff -f
'''

# Prints a line of JSON with what it has found.
PROGRAM = '''
import errno, json, os
from nova_containervm import conf, privsep
from nova_containervm.privsep import limits
MIB = 1 << 20
QEMU = 64055
conf.CONF.set_override('instances_path', '/mnt')
privsep.ctx.set_client_mode(False)

def fill(path, user=QEMU):
    os.seteuid(user)
    written = 0
    try:
        with open(path, 'wb', 0) as out:
            while True:
                written += out.write(bytes(MIB))
    except OSError as error:
        return [written, errno.errorcode[error.errno]]
    finally:
        os.seteuid(0)

one, two = '/mnt/one/rootfs.rw', '/mnt/two/rootfs.rw'
for path in one, two:
    os.mkdir(os.path.dirname(path))
found = {'kind': limits.probe_project_quota('/mnt/one')}
limits.limit_directory(one, 16 * MIB)
limits.limit_directory(two, 24 * MIB)
found['room'] = limits.room_in_directory(one)
os.makedirs(one + '/a/b')
for path in one, one + '/a/b', two:
    os.chown(path, QEMU, QEMU)
found['one'] = fill(one + '/a/b/file')
found['left'] = limits.room_in_directory(one)
found['two'] = fill(two + '/file')
limits.limit_directory(one, 20 * MIB)
os.chown(one, QEMU, QEMU)
found['larger'] = fill(one + '/more')
found['root'] = fill(one + '/a/root', 0)[0]
for name in 'root', 'b/file':
    if os.path.exists(one + '/a/' + name):
        os.unlink(one + '/a/' + name)
found['freed'] = limits.room_in_directory(one)
info = os.statvfs(one)
found['seen'] = info.f_blocks * info.f_frsize
limits.release_directory(one)
found['released'] = fill(one + '/released')[0]
print('found: ' + json.dumps(found), flush=True)
'''


class Host(vm_lib.VM):
    """A VM with Debian's kernel and the files of this machine.

    :param tree: the kernel's modules
    :param fstype: of what it has its instances on
    """

    def __init__(self, image, work, tree, fstype):
        super().__init__(image, work, rootfs='/', mapped=False, memory=1024)
        self._tree = tree
        self._fstype = fstype
        self.disk.unlink()
        raw = self.work / 'raw'
        with raw.open('wb') as out:
            out.truncate(512 << 20)
        subprocess.run([*MAKE[fstype], str(raw)], check=True)
        subprocess.run(['qemu-img', 'convert', '-O', 'qcow2', str(raw),
                        str(self.disk)], check=True)
        raw.unlink()

    def _initrd(self, _info):
        order = self._tree.order(MODULES)
        archive = cpio.Archive(0)
        for name in ('proc', 'dev', 'host'):
            archive.directory(name)
        archive.chardev('dev/console', 5, 1)
        archive.file('bin/busybox', BUSYBOX.read_bytes(), 0o755)
        for name in order:
            archive.file('modules/%s.ko' % name, self._tree.content(name))
        archive.file('program', PROGRAM.encode())
        archive.file('init', (INIT % {
            'modules': ' '.join(order), 'fstype': self._fstype,
            'checkout': CHECKOUT, 'python': sys.executable}).encode(), 0o755)
        path = self.work / 'host.img'
        path.write_bytes(archive.build())
        return path


@pytest.fixture(scope='module')
def tree(image, tmp_path_factory):
    """The modules of the base VM image's kernel."""
    debs = minimal.packages(cli.default_cache(), print, None, None)
    root = minimal.unpack(debs, tmp_path_factory.mktemp('packages'), print)
    version = manifest.read(image)['kernel']['version']
    return modules.ModuleTree(root / 'lib' / 'modules' / version)


@pytest.mark.parametrize('fstype', MAKE)
def test_limit(image, tree, tmp_path, fstype):
    console = Host(image, tmp_path, tree, fstype).run(600).console()
    lines = [line for line in console.splitlines()
             if line.startswith('found: ')]
    assert lines, console[-3000:]
    found = json.loads(lines[0].removeprefix('found: '))
    print(found)
    mib = 1 << 20
    # statfs(2) calls the three of a family ext2/ext3.
    assert found['kind'] == {'ext4': 'ext2/ext3', 'xfs': 'xfs'}[fstype]
    full = {'ext4': 'EDQUOT', 'xfs': 'ENOSPC'}[fstype]
    for name, size in ('one', 16), ('two', 24):
        written, error = found[name]
        assert error == full
        assert (size - 1) * mib <= written <= size * mib
    assert 15 * mib < found['room'] <= 16 * mib
    assert found['left'] < mib
    written, error = found['larger']
    assert (error, 3 * mib <= written <= 4 * mib) == (full, True)
    # ext4 holds nobody to it who has CAP_SYS_RESOURCE.
    assert (found['root'] < mib) == (fstype == 'xfs')
    assert 15 * mib < found['freed'] <= 16 * mib
    # What the container sees as the size of its root filesystem
    assert found['seen'] == 20 * mib
    assert found['released'] > 100 * mib
