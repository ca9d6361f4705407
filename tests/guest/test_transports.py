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

"""The transports beside 9p: a disk that the store has made, and virtiofs."""

import os
import struct
import subprocess

import pytest

from nova_containervm.cli import image as cli
from nova_containervm.images import diskstore
from nova_containervm.images import layout
from nova_containervm.rootfs import block
from tests.guest import rootfs as rootfs_lib
from tests.unit.images import builders

pytestmark = pytest.mark.skipif(os.geteuid() != 0,
                                reason='needs root, as virtiofsd does')

# u::rw-,u:1000:r--,g::---,m::r--,o::---, in the form that the kernel has
ACL = struct.pack('<I', 2) + b''.join(
    struct.pack('<HHI', *entry) for entry in (
        (1, 6, 0xffffffff), (2, 4, 1000), (4, 0, 0xffffffff),
        (16, 4, 0xffffffff), (32, 0, 0xffffffff)))

# What shares and disks get wrong most easily, seen by user 1000
LOOK = '''
cd /x; stat -c '%n %F %a %u:%g %h %t:%T' acl dev fifo hard own/grep own/euid
own/grep CapEff /proc/self/status
own/euid
cat acl
echo new >>hard; cat hard other; mv made moved; mkdir moved/new; ls moved
rm other; ls
'''
SEEN = '''\
acl regular file 640 0:0 1 0:0
dev character special file 666 0:0 1 1:3
fifo fifo 644 5:6 1 0:0
hard regular file 666 0:0 2 0:0
own/grep regular file 755 0:0 1 0:0
own/euid regular file 4755 0:0 1 0:0
CapEff:\t0000000000002000
0
%sold
new
%snew
acl
dev
fifo
hard
moved
own
'''
# By the group's bits. virtiofsd heeds ACLs with an option that libvirt lacks.
NO_ACL = "cat: can't open 'acl': Permission denied\n"
# An overlay filesystem parts hard links when it copies a file up.
BLOCK = SEEN % ('acl\n', 'old\n')
VIRTIOFS_DISK = SEEN % (NO_ACL, 'old\n')
VIRTIOFS_SHARE = SEEN % (NO_ACL, 'old\nnew\n')

# busybox gives a setuid bit up.
EUID = b'''
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%d\\n", geteuid()); }
'''


def _fill(root):
    """What LOOK looks at, in a tree of busybox()."""
    busybox = (root.path / 'bin/busybox').read_bytes()
    root.directory('x', 0o777)
    root.directory('x/own')
    root.directory('x/made', 0o755, 1000, 1000)
    root.file('x/own/grep', busybox, 0o755)
    root.program('x/own/euid', EUID, 0o4755)
    os.setxattr(root.path / 'x/own/grep', 'security.capability',
                builders.capability(1 << 13))
    root.file('x/acl', b'acl\n', 0o640)
    os.setxattr(root.path / 'x/acl', 'system.posix_acl_access', ACL)
    root.file('x/hard', b'old\n', 0o666)
    os.link(root.path / 'x/hard', root.path / 'x/other')
    for name, mode, rdev, owner in (
            ('dev', 0o20666, os.makedev(1, 3), (0, 0)),
            ('fifo', 0o10644, 0, (5, 6))):
        os.mknod(root.path / 'x' / name, mode, rdev)
        os.chmod(root.path / 'x' / name, mode & 0o777)
        os.chown(root.path / 'x' / name, *owner)


@pytest.fixture
def tree(tmp_path):
    root = rootfs_lib.busybox(tmp_path / 'root', mapped=False)
    _fill(root)
    return root.path


def _layer(tree):
    return subprocess.run(
        ['tar', '-C', tree, '--format=posix', '--xattrs',
         '--xattrs-include=*', '-c', '.'], check=True,
        capture_output=True).stdout


def _disk(tree, work, **options):
    """What the image store makes of an image with the files of a tree."""
    work.chmod(0o755)
    layer = _layer(tree)
    store = diskstore.DiskStore(str(work / 'store'), **options)
    return store.ensure('image', builders.chunks(builders.docker(
        [layer], architecture=store._architecture))).disk


@pytest.mark.parametrize('runtime, compression', [
    ('crun', 'none'),
    pytest.param('chroot', 'lz4', marks=pytest.mark.slow),
    pytest.param('crun', 'lz4', marks=pytest.mark.slow),
    pytest.param('chroot', 'none', marks=pytest.mark.slow)])
def test_block(make_vm, tree, tmp_path, compression, runtime):
    disk = _disk(tree, tmp_path, compression=compression)
    vm = make_vm(
        ('sh', '-c', LOOK), rootfs=None, runtime=runtime,
        contract={'TRANSPORT': 'block', 'ROOTFS_SERIAL': block.SERIAL,
                  'ROOTFS_OPTIONS': 'ro', 'UID': 1000, 'GID': 1000},
        extra=['-drive', f'id=r,if=none,format=raw,readonly=on,file={disk}',
               '-device', f'virtio-blk-pci,drive=r,serial={block.SERIAL}'])
    vm.run()
    assert vm.console() == BLOCK


@pytest.mark.parametrize('kind', ['erofs', 'squashfs', 'ext4'])
def test_converted(make_vm, tree, tmp_path, kind):
    """What nova-containervm-image makes is what guests mount."""
    seen = BLOCK
    if kind == 'squashfs':
        # It has no ACLs.
        os.removexattr(tree / 'x/acl', 'system.posix_acl_access')
        os.chmod(tree / 'x/acl', 0o644)
        seen = seen.replace('acl regular file 640', 'acl regular file 644')
    archive = tmp_path / 'image.tar'
    architecture = layout.host_architecture()
    archive.write_bytes(builders.docker(
        [_layer(tree)], architecture=architecture))
    disk = tmp_path / 'image.raw'
    assert cli.main(['convert', '--format', kind, str(archive),
                     str(disk)]) == 0
    vm = make_vm(
        ('sh', '-c', LOOK), rootfs=None,
        contract={'TRANSPORT': 'block', 'ROOTFS_SERIAL': block.SERIAL,
                  'ROOTFS_OPTIONS': 'ro', 'UID': 1000, 'GID': 1000},
        extra=['-drive', f'id=r,if=none,format=raw,readonly=on,file={disk}',
               '-device', f'virtio-blk-pci,drive=r,serial={block.SERIAL}'])
    vm.run()
    assert vm.console() == seen


def _virtiofs(make_vm, extra, script, layer, runtime='crun'):
    vm = make_vm(
        ('sh', '-c', script), rootfs=None, runtime=runtime, extra=extra,
        contract={'TRANSPORT': 'virtiofs', 'WRITABLE': layer,
                  'ROOTFS_OPTIONS': 'ro' if layer == 'disk' else 'rw',
                  'UID': 1000, 'GID': 1000})
    vm.run()
    return vm.console()


@pytest.mark.parametrize('runtime', [
    'crun', pytest.param('chroot', marks=pytest.mark.slow)])
def test_virtiofs(make_vm, tree, virtiofs, runtime):
    before = sorted(tree.rglob('*'))
    assert _virtiofs(make_vm, virtiofs(tree), LOOK, 'disk',
                     runtime) == VIRTIOFS_DISK
    assert sorted(tree.rglob('*')) == before
    assert (tree / 'x/hard').read_bytes() == b'old\n'


def test_virtiofs_share_is_written_to(make_vm, tree, virtiofs):
    assert _virtiofs(make_vm, virtiofs(tree), LOOK,
                     'share') == VIRTIOFS_SHARE
    # With the owners that the container sees
    assert (tree / 'x/hard').read_bytes() == b'old\nnew\n'
    made = (tree / 'x/moved/new').stat()
    assert (made.st_uid, made.st_gid) == (1000, 1000)
    assert not (tree / 'x/other').exists()
