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

"""Volumes: disks found by serial number, formatted, filled and mounted."""

import subprocess

import pytest

from nova_containervm.baseimage import tools
from tests.guest import rootfs as rootfs_lib

ID = '0f3e2a90-7d0b-4c3e-9a56-1c2d3e4f5a6b'
OTHER = '1a2b3c4d-7d0b-4c3e-9a56-1c2d3e4f5a6b'

both_runtimes = pytest.mark.parametrize('runtime', [
    'crun', pytest.param('chroot', marks=pytest.mark.slow)])


def make_disk(path, size='64M'):
    tools.run(['qemu-img', 'create', '-q', '-f', 'raw', path, size])
    return path


def attached(*disks, readonly=False):
    """QEMU's arguments for (id, path) each."""
    args = []
    for number, (volume, path) in enumerate(disks):
        mode = ',readonly=on' if readonly else ''
        args += ['-drive', f'id=v{number},if=none,format=raw,cache=unsafe,'
                           f'file={path}{mode}',
                 '-device', f'virtio-blk-pci,drive=v{number},serial={volume}']
    return args


def fsck(path):
    """e2fsck finds nothing to mend, but the journal to replay."""
    subprocess.run(['e2fsck', '-E', 'journal_only', '-p', path], check=False,
                   stdout=subprocess.DEVNULL)
    subprocess.run(['e2fsck', '-f', '-n', path], check=True,
                   stdout=subprocess.DEVNULL)


@both_runtimes
def test_new_volume(make_vm, tmp_path, runtime):
    """Formatted, filled with what the image has there, kept from then on."""
    root = rootfs_lib.busybox(tmp_path / 'root')
    root.directory('data', 0o2750, 1000, 2000)
    root.file('data/first', b'from the image\n', 0o640, 1000, 3)
    root.directory('data/sub', 0o700, 7, 8)
    root.symlink('data/link', 'first')
    root.file('elsewhere', b'')
    disk = make_disk(tmp_path / 'volume')
    script = ('stat -c "%a %u:%g %n" /data /data/*; cat /data/link; '
              'echo more >> /data/first; rm -r /data/sub; '
              'grep " /data " /proc/mounts | tr " " "\\n" | '
              'grep -E "^(ext|rw)"')
    vm = make_vm(('sh', '-c', script), runtime=runtime, rootfs=root.path,
                 extra=attached((ID, disk)),
                 contract={'VOLUME': [f'{ID} rw /data']})
    vm.run()
    assert vm.console() == (
        '2750 1000:2000 /data\n640 1000:3 /data/first\n'
        '777 0:0 /data/link\n700 7:8 /data/sub\nfrom the image\n'
        'ext4\nrw,relatime,noinit_itable,errors=remount-ro\n')
    fsck(disk)
    vm.run()
    assert vm.console() == (
        '2750 1000:2000 /data\n640 1000:3 /data/first\n'
        '777 0:0 /data/link\nfrom the image\nmore\n'
        "rm: can't remove '/data/sub': No such file or directory\n"
        'ext4\nrw,relatime,noinit_itable,errors=remount-ro\n')
    fsck(disk)


def test_path_that_the_image_lacks(make_vm, tmp_path):
    disk = make_disk(tmp_path / 'volume')
    vm = make_vm(('sh', '-c', 'ls -a /srv/new; touch /srv/new/x && echo ok'),
                 extra=attached((ID, disk)),
                 contract={'VOLUME': [f'{ID} rw /srv/new']})
    vm.run()
    assert vm.console() == '.\n..\nok\n'


@both_runtimes
def test_two_volumes_one_in_the_other(make_vm, tmp_path, runtime):
    disks = [(name, make_disk(tmp_path / name)) for name in (ID, OTHER)]
    vm = make_vm(
        ('sh', '-c', 'touch /data/a; touch /data/in/b; ls /data /data/in; '
                     'df -m /data /data/in | grep -c /dev/vd'),
        runtime=runtime, extra=attached(*disks),
        contract={'VOLUME': [f'{OTHER} rw /data/in', f'{ID} rw /data']})
    vm.run()
    assert vm.console() == '/data:\na\nin\n\n/data/in:\nb\n2\n'


@pytest.mark.parametrize('command, what', [
    (['mkswap', '-q'], 'holds swap space; only ext4 can be mounted'),
    (['mkfs.erofs', '-x-1'], 'holds erofs; only ext4 can be mounted'),
    (None, 'holds data, but no file system that is known here'),
])
def test_never_formats_what_has_anything(make_vm, tmp_path, rootfs, command,
                                         what):
    disk = make_disk(tmp_path / 'volume')
    if command is None:
        with disk.open('r+b') as stream:
            stream.seek(-100, 2)
            stream.write(b'a label at the end')
    elif command[0] == 'mkfs.erofs':
        disk.unlink()
        tools.run([*command, '--quiet', disk, rootfs / 'etc'])
    else:
        tools.run([*command, disk])
    before = disk.read_bytes()
    vm = make_vm(('true',), extra=attached((ID, disk)),
                 contract={'VOLUME': [f'{ID} rw /data']})
    vm.run()
    assert vm.console().startswith(
        f'containervm: failed: volume: {ID} {what}')
    assert vm.event('failed')['stage'] == 'volume'
    assert disk.read_bytes() == before


def test_users_own_file_system(make_vm, tmp_path):
    """One that has files is mounted as it is."""
    disk = make_disk(tmp_path / 'volume')
    content = tmp_path / 'content'
    content.mkdir()
    (content / 'mine').write_text('mine\n')
    tools.run(['mke2fs', '-q', '-t', 'ext4', '-d', content, disk])
    vm = make_vm(('sh', '-c', 'ls /etc2; cat /etc2/mine'),
                 extra=attached((ID, disk)),
                 contract={'VOLUME': [f'{ID} rw /etc2']})
    vm.run()
    assert vm.console() == 'lost+found\nmine\nmine\n'


@both_runtimes
def test_read_only(make_vm, tmp_path, runtime):
    disk = make_disk(tmp_path / 'volume')
    tools.run(['mke2fs', '-q', '-t', 'ext4', disk])
    vm = make_vm(('sh', '-c', 'touch /data/x 2>/dev/null || echo ro'),
                 runtime=runtime, extra=attached((ID, disk), readonly=True),
                 contract={'VOLUME': [f'{ID} ro /data']})
    vm.run()
    assert vm.console() == 'ro\n'


def test_new_and_read_only(make_vm, tmp_path):
    """Filled, and then read only, as docker does it."""
    disk = make_disk(tmp_path / 'volume')
    vm = make_vm(('sh', '-c', 'cat /etc/passwd | wc -l; '
                              'touch /etc/x 2>/dev/null || echo ro'),
                 extra=attached((ID, disk)),
                 contract={'VOLUME': [f'{ID} ro /etc']})
    vm.run()
    assert vm.console() == '2\nro\n'


def test_filling_that_was_cut_off_is_done_again(make_vm, tmp_path):
    disk = make_disk(tmp_path / 'volume')
    content = tmp_path / 'content'
    (content / 'half').mkdir(parents=True)
    (content / 'half/file').write_text('half')
    tools.run(['mke2fs', '-q', '-t', 'ext4', '-d', content, disk])
    tools.run(['debugfs', '-w', '-R', 'ea_set / trusted.containervm filling',
               disk])
    vm = make_vm(('ls', '/home'), extra=attached((ID, disk)),
                 contract={'VOLUME': [f'{ID} rw /home']})
    vm.run()
    assert vm.console() == 'app\n'


@pytest.mark.slow
def test_larger_volume(make_vm, tmp_path):
    """The file system grows with a volume that was formatted here."""
    disk = make_disk(tmp_path / 'volume')
    vm = make_vm(('sh', '-c', 'df -m /data | tail -1 | tr -s " " | '
                              'cut -d " " -f 2; cat /data/* 2>/dev/null; '
                              'echo kept > /data/f'),
                 extra=attached((ID, disk)),
                 contract={'VOLUME': [f'{ID} rw /data']})
    vm.run()
    assert int(vm.console()) < 64
    tools.run(['qemu-img', 'resize', '-q', '-f', 'raw', disk, '1G'])
    vm.run()
    size, kept = vm.console().split()
    assert int(size) > 800
    assert kept == 'kept'
    fsck(disk)


def test_volume_that_is_not_there(make_vm):
    vm = make_vm(('true',), contract={'VOLUME': [f'{ID} rw /data'],
                                      'VOLUME_WAIT': 3})
    vm.run()
    assert vm.console() == (
        f'containervm: warning: volume: {ID} is not attached yet; waiting up '
        f'to 3 s\r\ncontainervm: failed: volume: {ID} is not attached; '
        'waited 3 s for it\r\n')


def test_volume_that_comes_later(make_vm, tmp_path):
    disk = make_disk(tmp_path / 'volume')
    vm = make_vm(('sh', '-c', 'touch /data/x && echo ok'),
                 extra=['-device', 'pcie-root-port,id=slot1,chassis=1'],
                 contract={'VOLUME': [f'{ID} rw /data']}).start()
    vm.wait_for('is not attached yet')
    vm.qmp('blockdev-add', **{'node-name': 'v', 'driver': 'file',
                              'filename': str(disk)})
    vm.qmp('device_add', driver='virtio-blk-pci', drive='v', serial=ID,
           bus='slot1')
    vm.wait()
    assert vm.console().endswith('\r\nok\n')


def test_stop_while_waiting(make_vm):
    vm = make_vm(('true',), contract={'VOLUME': [f'{ID} rw /data']}).start()
    vm.wait_for('is not attached yet')
    vm.power_button()
    vm.wait()
    assert vm.event('failed')['reason'] == (
        f'stopped before {ID} was attached')


def make_fat(path):
    """As Nova makes an ephemeral disk."""
    make_disk(path)
    tools.run(['mformat', '-i', path, '-v', 'ephemeral0', '-F', '::'])
    return path


@both_runtimes
def test_ephemeral_disk(make_vm, tmp_path, runtime):
    """What Nova has made on it is nothing that one would keep."""
    disk = make_fat(tmp_path / 'ephemeral')
    vm = make_vm(('sh', '-c', 'grep -o "/data ext4" /proc/mounts; '
                              'cat /data/*; echo mine > /data/file'),
                 runtime=runtime, extra=attached(('ephemeral0', disk)),
                 contract={'VOLUME': ['ephemeral0 rw /data']})
    vm.run()
    assert vm.console() == (
        "/data ext4\ncat: can't open '/data/*': No such file or directory\n")
    fsck(disk)
    vm.run()
    assert vm.console() == '/data ext4\nmine\n'


def test_fat_of_somebody_elses(make_vm, tmp_path):
    """A volume with the same on it is left alone."""
    disk = make_fat(tmp_path / 'volume')
    before = disk.read_bytes()
    vm = make_vm(('true',), extra=attached((ID, disk)),
                 contract={'VOLUME': [f'{ID} rw /data']})
    vm.run()
    assert f'{ID} holds vfat; only ext4' in vm.console()
    assert disk.read_bytes() == before


@both_runtimes
def test_swap(make_vm, tmp_path, runtime):
    """Also for what is more than the machine's memory."""
    disk = make_disk(tmp_path / 'swap', '256M')
    tools.run(['mkswap', disk])
    vm = make_vm(('sh', '-c', 'grep -c ^/dev/vd /proc/swaps; '
                              'dd if=/dev/zero of=/dev/shm/x bs=1M count=150 '
                              '2>/dev/null; wc -c < /dev/shm/x'),
                 runtime=runtime, memory=128,
                 extra=attached(('swap', disk)),
                 contract={'SWAP': 1, 'SHM_SIZE': 200 << 20})
    vm.run()
    assert vm.console() == f'1\n{150 << 20}\n'
    assert vm.event('exited')['code'] == 0


def test_swap_that_is_none(make_vm, tmp_path):
    """The container runs all the same."""
    vm = make_vm(('echo', 'runs'), contract={'SWAP': 1},
                 extra=attached(('swap', make_disk(tmp_path / 'swap'))))
    vm.run()
    assert vm.console() == ('containervm: warning: swap: /dev/vdc: Invalid '
                            'argument\r\nruns\n')


def test_swap_of_a_machine_without(make_vm):
    vm = make_vm(('echo', 'runs'), contract={'SWAP': 1})
    vm.run()
    assert vm.console() == ('containervm: warning: swap: there is no such '
                            'disk\r\nruns\n')
