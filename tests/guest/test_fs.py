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

"""What programs do to a filesystem, on every kind that a guest can have."""

import pytest

from nova_containervm.baseimage import manifest
from nova_containervm.baseimage import tools
from tests.e2e import fs_probe
from tests.guest import contract as contracts
from tests.guest import rootfs as rootfs_lib

ARGS = ('/bin/fs-probe', '/work', '/image')


@pytest.fixture(scope='module')
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp('program') / 'fs-probe'
    fs_probe.build(path)
    return path.read_bytes()


def make_root(path, program, mapped=True):
    root = rootfs_lib.busybox(path, mapped)
    root.file('bin/fs-probe', program, 0o755)
    root.directory('work')
    for name, content in fs_probe.IMAGE_FILES.items():
        root.file(f'image/{name}', content)
    return root.path


def check(vm, column):
    vm.run()
    failed = fs_probe.failures(vm.console())
    version = manifest.read(vm.image)['kernel']['version']
    kernel = tuple(int(n) for n in version.split('.')[:2])
    assert set(failed) == fs_probe.expected(column, kernel), failed


def test_9p_disk(make_vm, tmp_path, program):
    vm = make_vm(ARGS, rootfs=make_root(tmp_path / 'root', program),
                 contract=contracts.PRIVILEGED)
    check(vm, '9p, disk')


@pytest.mark.slow
@pytest.mark.parametrize('access', ['mapped', 'passthrough'])
def test_9p_share(make_vm, tmp_path, program, access):
    mapped = access == 'mapped'
    vm = make_vm(ARGS, rootfs=make_root(tmp_path / 'root', program, mapped),
                 mapped=mapped, writable_share=True,
                 contract={**contracts.PRIVILEGED, 'WRITABLE': 'share',
                           'ROOTFS_OPTIONS': 'rw,trans=virtio,'
                           'version=9p2000.L,msize=512000,cache=mmap'})
    check(vm, '9p, share' if mapped else '9p, passthrough')


def test_block_disk(make_vm, tmp_path, program):
    root = make_root(tmp_path / 'root', program, mapped=False)
    disk = tmp_path / 'root.erofs'
    tools.run(['mkfs.erofs', '--quiet', disk, root])
    vm = make_vm(ARGS, rootfs=None,
                 contract={**contracts.PRIVILEGED, 'TRANSPORT': 'block',
                           'ROOTFS_SERIAL': 'rootfs',
                           'ROOTFS_OPTIONS': 'ro'},
                 extra=['-drive', f'id=r,if=none,format=raw,readonly=on,'
                                  f'file={disk}',
                        '-device', 'virtio-blk-pci,drive=r,serial=rootfs'])
    check(vm, 'block, disk')


@pytest.mark.slow
@pytest.mark.parametrize('layer', ['disk', 'share'])
def test_virtiofs(make_vm, tmp_path, program, virtiofs, layer):
    root = make_root(tmp_path / 'root', program, mapped=False)
    vm = make_vm(ARGS, rootfs=None, extra=virtiofs(root),
                 contract={**contracts.PRIVILEGED, 'TRANSPORT': 'virtiofs',
                           'WRITABLE': layer,
                           'ROOTFS_OPTIONS': 'ro' if layer == 'disk'
                                             else 'rw'})
    check(vm, f'virtiofs, {layer}')
