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

"""The VM around the container: boot methods, disk, and what goes wrong."""

import struct

import pytest

from nova_containervm.baseimage import tools
from tests.guest import contract as contracts
from tests.guest import rootfs as rootfs_lib


@pytest.mark.parametrize('boot', ['kernel', 'disk'])
@pytest.mark.parametrize('runtime', ['crun', 'chroot'])
def test_boot_methods(make_vm, boot, runtime):
    vm = make_vm(('echo', 'hello'), boot=boot, runtime=runtime).run()
    assert vm.console() == 'hello\n'
    assert vm.event('exited')['code'] == 0


@pytest.mark.parametrize('cpu', ['qemu64', 'max'])
def test_cpu_models(make_vm, cpu):
    assert make_vm(('echo', 'hello'), cpu=cpu).run().console() == 'hello\n'


def test_smallest_memory(make_vm):
    vm = make_vm(('sh', '-c', 'echo hello'), memory=96).run()
    assert vm.console() == 'hello\n'


def test_writes_are_kept(make_vm):
    script = ('cat /image-file; echo more >> /image-file; '
              'rm -f /etc/secret; ls /etc/secret 2>&1; mv /home /house; '
              'ls -d /ho*')
    vm = make_vm(('sh', '-c', script)).run()
    first = ("from the image\nls: /etc/secret: No such file or directory\n"
             '/house\n')
    assert vm.console() == first
    vm.run()
    assert vm.console() == (
        'from the image\nmore\n'
        'ls: /etc/secret: No such file or directory\n'
        "mv: can't rename '/home': No such file or directory\n/house\n")


@pytest.mark.parametrize('size', [1, 10])
def test_disk_growth(make_vm, size):
    vm = make_vm(('sh', '-c', 'df -m / | tail -1'), disk_size=f'{size}G')
    vm.run()
    total = int(vm.console().split()[1])
    assert size * 1024 * 0.88 < total < size * 1024
    vm.run()
    assert int(vm.console().split()[1]) == total
    # The growth itself must not fill the host's file with zeros.
    assert vm.disk.stat().st_blocks * 512 < 12 << 20


@pytest.mark.slow
def test_disk_grows_past_the_room_for_its_descriptors(make_vm, tmp_path):
    script = 'echo data >/f; cat /f /kept; mv /f /kept; df -m / | tail -1'
    vm = make_vm(('sh', '-c', script), disk_size='250G')
    vm.run()
    assert vm.console().startswith('data\ncat: ')
    tools.run(['qemu-img', 'resize', '-q', vm.disk, '400G'])
    vm.run()
    *data, last = vm.console().splitlines()
    assert data == ['data', 'data']
    assert 390000 < int(last.split()[1]) < 409600
    raw = tmp_path / 'raw'
    tools.run(['qemu-img', 'convert', '-O', 'raw', vm.disk, raw])
    with open(raw, 'rb') as disk:
        # The second of the MBR's partitions: its first sector
        start, = struct.unpack_from('<I', disk.read(512), 446 + 16 + 8)
    tools.run(['e2fsck', '-fn', '%s?offset=%d' % (raw, 512 * start)])
    raw.unlink()


def test_disk_grows_again(make_vm):
    vm = make_vm(('sh', '-c', 'df -m / | tail -1; echo kept > /f; cat /f'))
    vm.run()
    tools.run(['qemu-img', 'resize', '-q', vm.disk, '3G'])
    vm.run()
    assert 2700 < int(vm.console().split()[1]) < 3072
    tools.run(['qemu-img', 'check', '-q', vm.disk])


def test_full_disk_is_the_containers_matter(make_vm):
    vm = make_vm(('sh', '-c', 'dd if=/dev/zero of=/f bs=1M 2>/dev/null; '
                              'echo $?; rm /f; echo ok > /g; cat /g'),
                 disk_size='200M')
    vm.run()
    assert vm.console() == '1\nok\n'


def test_survives_a_power_cut(make_vm):
    vm = make_vm(('sh', '-c', 'echo data > /f; sync; echo ready; sleep 60'))
    vm.start().wait_for('ready')
    vm.kill()
    vm.contract(contracts.values(('cat', '/f')))
    vm.run()
    assert vm.console() == 'data\n'


@pytest.mark.parametrize('runtime', ['crun', 'runc'])
def test_writable_share(make_vm, tmp_path, runtime):
    root = rootfs_lib.busybox(tmp_path / 'root')
    vm = make_vm(('sh', '-c', 'cat /image-file; echo new > /tmp/f'),
                 rootfs=root.path, writable_share=True, runtime=runtime,
                 contract={'WRITABLE': 'share',
                           'ROOTFS_OPTIONS': 'rw,trans=virtio,'
                           'version=9p2000.L,msize=512000,cache=mmap'})
    vm.run()
    assert vm.console() == 'from the image\n'
    assert (root.path / 'tmp/f').read_text() == 'new\n'


@pytest.mark.skipif('os.geteuid() != 0')
def test_passthrough_share(make_vm, tmp_path):
    root = rootfs_lib.busybox(tmp_path / 'root', mapped=False)
    vm = make_vm(('sh', '-c', 'stat -c %u /home/app; cat /etc/secret'),
                 rootfs=root.path, mapped=False)
    vm.run()
    assert vm.console() == '1000\nfor root only\n'


def test_file_capabilities(make_vm, tmp_path):
    root = rootfs_lib.busybox(tmp_path / 'root')
    # cap_net_raw+ep, VFS_CAP_REVISION_2
    value = struct.pack('<IIIII', 0x02000001, 1 << 13, 0, 0, 0).hex()
    root.file('bin/own/grep', (root.path / 'bin/busybox').read_bytes(),
              0o755)
    vm = make_vm(
        ('/bin/own/grep', 'CapEff', '/proc/self/status'),
        rootfs=root.path,
        contract={'FILECAP': [f'{value} /bin/own/grep'], 'UID': 1000})
    vm.run()
    assert vm.console() == 'CapEff:\t0000000000002000\n'


def test_erofs_disk(make_vm, tmp_path):
    """Transport block: the disk is found by serial, its type by content."""
    root = rootfs_lib.busybox(tmp_path / 'root', mapped=False)
    disk = tmp_path / 'root.erofs'
    tools.run(['mkfs.erofs', '--all-root', disk, root.path])
    serial = 'rootfs-0123456789'
    vm = make_vm(
        ('sh', '-c', 'cat /image-file; echo x > /f; cat /f'), rootfs=None,
        contract={'TRANSPORT': 'block', 'ROOTFS_SERIAL': serial,
                  'ROOTFS_OPTIONS': 'ro'},
        extra=['-drive', f'id=r,if=none,format=raw,readonly=on,file={disk}',
               '-device', f'virtio-blk-pci,drive=r,serial={serial}'])
    vm.run()
    assert vm.console() == 'from the image\nx\n'


def broken(make_vm, *, values=None, text=None, config=None, **options):
    vm = make_vm(('true',), **options)
    vm.contract(values or contracts.values(('true',)), env_text=text,
                config=config)
    vm.run()
    return vm


FAILURES = {
    'no-rootfs': ({'rootfs': None}, 'rootfs',
                  "cannot mount 9p 'containervm-rootfs'"),
    'no-version': ({'text': "CVM_INSTANCE='x'\n"}, 'contract',
                   'guest.env: CVM_VERSION is missing'),
    'other-version': ({'text': "CVM_VERSION='2'\n"}, 'contract',
                      "contract version '2', this base image knows 1"),
    'not-an-env-file': ({'text': "CVM_VERSION='1'\nrm -rf /\n"}, 'contract',
                        'guest.env: line 2: not an assignment'),
    'unclosed-quote': ({'text': "CVM_VERSION='1\n"}, 'contract',
                       'guest.env: line 1: a quote is not closed'),
    'bad-config-json': ({'config': '{"ociVersion": '}, 'run', ''),
    'no-command': ({'values': contracts.values(())}, 'contract',
                   'CVM_ARGC: no command to run'),
    'unknown-transport': (
        {'values': contracts.values(('true',), TRANSPORT='nfs')},
        'contract', "CVM_TRANSPORT='nfs' is not known"),
    'missing-nic': (
        {'values': contracts.values(
            ('true',), NICC='1', NIC_0_MAC='fa:16:3e:00:00:01')},
        'network', 'no interface with address fa:16:3e:00:00:01'),
    'missing-disk': (
        {'values': contracts.values(('true',), TRANSPORT='block',
                                    ROOTFS_SERIAL='none')},
        'rootfs', "no disk has the serial number 'none'"),
    'bad-sysctl': (
        {'values': contracts.values(('true',), SYSCTL=['net/../..'])},
        'sysctl', "'net/../..' is malformed"),
}


@pytest.mark.parametrize('case', FAILURES, ids=str)
def test_failures_say_why_and_end(make_vm, case):
    """One line on the console, one event, and power-off: never a hang."""
    options, stage, reason = FAILURES[case]
    vm = broken(make_vm, **options)
    lines = vm.console().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f'containervm: failed: {stage}: ')
    assert reason in lines[0]
    event = vm.event('failed')
    if stage == 'contract':  # before the channel's name is known
        assert event is None
    else:
        assert event['stage'] == stage
        assert reason in event['reason']


def test_no_config_drive(make_vm):
    vm = make_vm(('true',))
    (vm.work / 'disk.config').unlink()
    vm.run()
    assert vm.console().startswith(
        'containervm: failed: contract: no config drive')


def test_kernel_panic_ends_the_vm(make_vm):
    """-no-reboot is what on_reboot=destroy is in a domain."""
    vm = make_vm(('sh', '-c', 'echo c > /proc/sysrq-trigger; sleep 100'),
                 contract=contracts.PRIVILEGED)
    vm.run()
    assert 'Kernel panic' in vm.console()


def test_debug_trace(make_vm):
    vm = make_vm(('echo', 'hello'), cmdline='containervm.debug').run()
    assert 'containervm: debug: ' in vm.console()
    # Nor does the runtime start anew: that is what it is mounted for.
    assert 'will copy itself' not in vm.console()
