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

"""VOLUME of an image: beside the overlay, kept, and in the snapshot."""

import pytest

from tests.guest import contract as contracts
from tests.guest import rootfs as rootfs_lib

both_runtimes = pytest.mark.parametrize('runtime', [
    'crun', pytest.param('chroot', marks=pytest.mark.slow)])

TYPE = 'grep " /data " /proc/mounts | cut -d " " -f 3,4; '


def filled(path):
    root = rootfs_lib.busybox(path)
    root.directory('data', 0o2750, 1000, 2000)
    root.file('data/first', b'from the image\n', 0o640, 1000, 3)
    root.directory('data/sub', 0o700, 7, 8)
    root.file('data/sub/deep', b'deep\n')
    root.symlink('data/link', 'first')
    root.symlink('link', 'data/sub')
    return root.path


@both_runtimes
def test_is_on_the_disk_itself(make_vm, tmp_path, runtime):
    """With the image's files, once; what is written stays."""
    script = ('stat -c "%a %u:%g %n" /data /data/*; cat /data/link; ' + TYPE +
              'echo more >> /data/first; rm -r /data/sub; touch -d @5 /data')
    vm = make_vm(('sh', '-c', script), runtime=runtime,
                 rootfs=filled(tmp_path / 'root'),
                 contract={'VOLUME': ['image0 rw /data']})
    kind = 'ext4 rw,relatime,noinit_itable,errors=remount-ro\n'
    vm.run()
    assert vm.console() == (
        '2750 1000:2000 /data\n640 1000:3 /data/first\n'
        '777 0:0 /data/link\n700 7:8 /data/sub\nfrom the image\n' + kind)
    vm.run()
    assert vm.console() == (
        '2750 1000:2000 /data\n640 1000:3 /data/first\n'
        '777 0:0 /data/link\nfrom the image\nmore\n' + kind +
        "rm: can't remove '/data/sub': No such file or directory\n")


def test_one_that_the_image_lacks_and_one_in_another(make_vm, tmp_path):
    script = ('ls -A /srv/new /data/sub; echo x > /srv/new/x; '
              'echo y > /data/sub/y; ls -A /data; cat /link/deep; '
              'stat -c %Y /srv; grep -c " ext4 " /proc/mounts')
    root = filled(tmp_path / 'root')
    vm = make_vm(('sh', '-c', script), rootfs=root, contract={'VOLUME': [
        'image0 rw /data', 'image1 rw /link', 'image2 rw /srv/new']})
    vm.run()
    first = vm.console().splitlines()
    assert first[:4] == ['/data/sub:', 'deep', '', '/srv/new:']
    assert first[4:8] == ['first', 'link', 'sub', 'deep']
    vm.run()
    again = vm.console().splitlines()
    assert again[:6] == ['/data/sub:', 'deep', 'y', '', '/srv/new:', 'x']
    # The time of a directory that has got a volume is not changed by it.
    assert again[-2] == first[-2]


@both_runtimes
def test_can_be_written_to_under_a_readonly_root(make_vm, tmp_path, runtime):
    script = 'echo x > /x; echo y > /data/y && cat /data/y'
    vm = make_vm(('sh', '-c', script), runtime=runtime,
                 rootfs=filled(tmp_path / 'root'),
                 contract={'VOLUME': ['image0 rw /data'], 'READONLY': 1})
    vm.run()
    assert vm.console() == (
        "sh: can't create /x: Read-only file system\ny\n")


def test_can_be_written_to_on_a_readonly_share(make_vm, tmp_path):
    """A share that is written to has no overlay to keep volumes out of."""
    script = 'echo x > /x; echo y > /data/y && cat /data/y'
    vm = make_vm(('sh', '-c', script), rootfs=filled(tmp_path / 'root'),
                 writable_share=True,
                 contract={'VOLUME': ['image0 rw /data'], 'READONLY': 1})
    vm.run()
    assert vm.console() == (
        "sh: can't create /x: Read-only file system\ny\n")


def test_takes_an_overlay(make_vm, tmp_path):
    """A container engine in the container, whose images declare a VOLUME."""
    script = ('cd /data && mkdir l u w m && echo low > l/f && '
              'mount -t overlay -o lowerdir=l,upperdir=u,workdir=w none m && '
              'rm m/f && ls -l u | grep -c ^c')
    vm = make_vm(('sh', '-c', script), rootfs=filled(tmp_path / 'root'),
                 contract={'VOLUME': ['image0 rw /data'],
                           **contracts.PRIVILEGED})
    vm.run()
    assert vm.console() == '1\n'


# The host lets none through that is longer than a path may be.
@pytest.mark.parametrize('path, reason', [
    ('/data/first', 'Not a directory'), ('/data/' + 'x' * 256, 'File name ')])
def test_cannot_be_made(make_vm, tmp_path, path, reason):
    vm = make_vm(('true',), rootfs=filled(tmp_path / 'root'),
                 contract={'VOLUME': ['image0 rw ' + path]})
    vm.run()
    assert ('containervm: failed: volume: %s, a VOLUME of the image: %s' % (
        path, reason)) in vm.console()


def test_of_a_start_that_was_cut_off(make_vm, tmp_path):
    """What it had copied is made anew, and nothing else comes with it."""
    cut_off = ('for d in /dev/vd?[0-9]; do mount $d /mnt && '
               '[ -d /mnt/upper ] && break; umount /mnt; done; '
               'mkdir -p /mnt/new-volume/deep && echo half >/mnt/new-volume/x '
               '&& umount /mnt && echo done')
    root = rootfs_lib.Rootfs(filled(tmp_path / 'root'))
    root.directory('mnt')
    vm = make_vm(('sh', '-c', cut_off), rootfs=root.path,
                 contract=contracts.PRIVILEGED)
    vm.run()
    assert vm.console().endswith('done\n'), vm.console()
    vm.contract(contracts.values(('sh', '-c', 'ls -A /data'),
                                 VOLUME=['image0 rw /data']))
    vm.run()
    assert vm.console() == 'first\nlink\nsub\n'
