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
"""Disks that boot by themselves, where Nova has no driver of ours."""

import os
import pathlib
import shutil

import pytest

from nova_containervm.baseimage import bootable
from nova_containervm.baseimage import tools
from nova_containervm.cli import baseimage as base_cli
from nova_containervm.cli import image as cli
from tests.guest import stockvm

slow = pytest.mark.slow

MAC = stockvm.MAC
NIC = {'backend': 'user,restrict=on', 'mac': MAC}
LINKS = [{'id': 'tap0', 'type': 'ovs', 'mtu': 1400,
          'ethernet_mac_address': MAC}]
STATIC = {
    'links': LINKS,
    'networks': [{
        'id': 'network0', 'link': 'tap0', 'type': 'ipv4',
        'ip_address': '10.0.2.77', 'netmask': '255.255.255.0',
        'routes': [{'network': '0.0.0.0', 'netmask': '0.0.0.0',
                    'gateway': '10.0.2.2'}]}],
    'services': [{'type': 'dns', 'address': '10.0.2.53'}]}
DHCP = {'links': LINKS, 'networks': [
    {'id': 'network0', 'link': 'tap0', 'type': 'ipv4_dhcp'}]}

# What it was told, as it sees that itself
SHOW = '''
echo "$(hostname) $(id -u) $FROM $DISK"
echo "args $*"
ip addr show dev eth0 2>/dev/null | grep -oE 'mtu [0-9]*|inet [^ ]*'
ip route | grep default
cat /etc/resolv.conf
test -e /kept && echo "kept $(cat /kept)"
echo "$FROM" >/kept
sync
df -m / | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2
exit 3
'''
ENDS = 'trap "echo stopping; exit 0" TERM; echo up; while :; do sleep .1; done'


@pytest.fixture(scope='session')
def base(tmp_path_factory):
    """Directory of what bootable disks have in common."""
    given = os.environ.get('CONTAINERVM_BOOTABLE_BASE')
    if given:
        return pathlib.Path(given)
    output = tmp_path_factory.mktemp('bootable')
    bootable.build(output, base_cli.default_cache(), lambda text: None)
    return output


@pytest.fixture
def make_disk(base, tmp_path):
    """Function: a script, and options of convert -> a disk's path."""
    def make(script, *options, size='1G', **config):
        (tmp_path / 'in.tar').write_bytes(stockvm.archive(script, **config))
        made, disk = tmp_path / 'made.qcow2', tmp_path / 'disk'
        assert cli.main([
            'convert', '--bootable', '--base', str(base), '--format',
            'squashfs', *options, str(tmp_path / 'in.tar'), str(made)]) == 0
        tools.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2',
                   '-b', made, disk, size])
        return disk
    return make


@pytest.fixture
def make_vm(base, tmp_path):
    """Function: a disk, what the config drive holds, options -> a VM."""
    made = []

    def make(disk, drive=None, **options):
        work = tmp_path / 'vm'
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        (work / 'disk').symlink_to(disk)
        machine = stockvm.StockVM(base, work, **options)
        if drive is not None:
            machine.drive(drive)
        made.append(machine)
        return machine

    yield make
    for machine in made:
        machine.kill()


@pytest.fixture
def serve():
    """Function: what the metadata service says -> that service."""
    made = []

    def start(files):
        made.append(stockvm.Service(files))
        return made[-1]

    yield start
    for service in made:
        service.stop()


def shown(vm):
    return vm.console().replace('\r', '').splitlines()


def test_config_drive(make_disk, make_vm):
    """All that Nova says; the disk is as large as the flavor has it."""
    disk = make_disk(SHOW, '--property', 'containervm_env_DISK=disk',
                     '--property', 'containervm_env_FROM=disk')
    vm = make_vm(disk, stockvm.metadata(
        {'containervm_env_FROM': 'server', 'containervm_user': 'app'},
        STATIC, b'#containervm\nuser: root\ncommand: [/run, a b, c]\n'),
        nics=[NIC]).run()
    lines = shown(vm)
    assert lines[:-1] == [
        'web1 0 server disk', 'args a b c', 'mtu 1400', 'inet 10.0.2.77/24',
        'default via 10.0.2.2 dev eth0  metric 100 ', 'nameserver 10.0.2.53']
    # 1 GiB but for the other partitions, and what ext4 keeps for itself
    assert 850 < int(lines[-1]) < 1000


@slow
def test_metadata_service(make_disk, make_vm, serve):
    service = serve(stockvm.metadata({'containervm_env_FROM': 'server'},
                                     DHCP))
    vm = make_vm(make_disk(SHOW), nics=[{'backend': service.backend,
                                         'mac': MAC}]).run()
    lines = shown(vm)
    assert lines[:4] == [
        'web1 0 server ', 'args ', 'mtu 1400', 'inet 169.254.0.15/16']
    assert service.asked == [f'/{stockvm.DIRECTORY}/{name}' for name in (
        'meta_data.json', 'network_data.json', 'user_data')]


@slow
def test_dhcp_and_config_drive(make_disk, make_vm):
    vm = make_vm(make_disk(SHOW), stockvm.metadata({}, DHCP),
                 nics=[{'backend': 'user', 'mac': MAC}]).run()
    lines = shown(vm)
    assert 'inet 10.0.2.15/24' in lines
    assert 'default via 10.0.2.2 dev eth0 onlink ' in lines
    assert 'nameserver 10.0.2.3' in lines


@slow
def test_nothing_to_ask(make_disk, make_vm):
    """No config drive, no network: what the image says goes."""
    vm = make_vm(make_disk(SHOW)).run()
    assert shown(vm)[0] == 'container 0 image '


@slow
@pytest.mark.parametrize('machine, bus', [
    ('q35', 'virtio'), ('pc', 'scsi'), ('pc', 'ide'), ('q35', 'ide')])
def test_other_machines(make_disk, make_vm, machine, bus):
    vm = make_vm(make_disk(SHOW), stockvm.metadata(
        {'containervm_env_FROM': 'server'}), machine=machine, bus=bus).run()
    assert shown(vm)[0] == 'web1 0 server '


@slow
@pytest.mark.parametrize('form', ['ext4', 'squashfs'])
def test_writes_are_kept_and_the_disk_grows(make_disk, make_vm, form):
    """As when a server is rebooted, and resized."""
    disk = make_disk(SHOW, '--format', form, size='256M')
    first = shown(make_vm(disk, stockvm.metadata(
        {'containervm_env_FROM': 'first'})).run())
    assert not any(line.startswith('kept') for line in first)
    tools.run(['qemu-img', 'resize', '-q', disk, '3G'])
    second = shown(make_vm(disk, stockvm.metadata(
        {'containervm_env_FROM': 'second'})).run())
    assert 'kept first' in second
    assert 100 < int(first[-1]) < 256
    assert 2600 < int(second[-1]) < 3072


@slow
def test_other_disks_of_the_image_are_left_alone(make_disk, make_vm,
                                                 tmp_path):
    """A volume that was made of the same image."""
    disk = make_disk(SHOW)
    other = tmp_path / 'other'
    tools.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b',
               tmp_path / 'made.qcow2', other, '1G'])
    for number in range(2):
        before = tools.run(['qemu-img', 'map', '--output=json', other])
        vm = make_vm(disk, stockvm.metadata(), extra=[
            '-drive', f'id=other,if=none,format=qcow2,file={other}',
            '-device', 'virtio-blk-pci,drive=other']).run()
        assert ('kept image' in shown(vm)) == bool(number)
        assert before == tools.run(['qemu-img', 'map', '--output=json',
                                    other])


@slow
def test_power_button(make_disk, make_vm):
    vm = make_vm(make_disk(ENDS), stockvm.metadata()).start()
    vm.wait_for('up')
    vm.power_button()
    assert shown(vm.wait()) == ['up', 'stopping']


@slow
def test_restart_policy(make_disk, make_vm):
    vm = make_vm(make_disk('echo run; exit 1'), stockvm.metadata(
        {'containervm_restart_policy': 'on-failure:2'})).run()
    assert shown(vm).count('run') == 3


@slow
@pytest.mark.parametrize('drive, message', [
    (stockvm.metadata({'containervm_shm_size': 'big'}),
     "Invalid value 'big' for containervm_shm_size in the server metadata"),
    (stockvm.metadata(network={'links': 7}), 'network_data.json'),
    ({'openstack/latest/user_data': b''}, 'no openstack/latest/meta_data'),
    ({'openstack/latest/meta_data.json': b'{'}, 'meta_data.json: '),
])
def test_one_line_says_why_not(make_disk, make_vm, drive, message):
    lines = shown(make_vm(make_disk(SHOW), drive).run())
    assert len(lines) == 1
    assert lines[0].startswith('containervm: failed: setup: ')
    assert message in lines[0]


@slow
def test_unknown_network_card(make_disk, make_vm):
    """What it is to run stands in a place that it cannot reach."""
    vm = make_vm(make_disk(SHOW), extra=['-nic', 'user,model=e1000']).run()
    assert shown(vm) == ['containervm: failed: network: no config drive, and '
                         'no network card is virtio']


@slow
def test_no_service(make_disk, make_vm):
    lines = shown(make_vm(make_disk(SHOW), nics=[NIC]).run(timeout=400))
    assert lines == [lines[0]]
    assert lines[0].startswith(
        'containervm: failed: setup: no config drive, and the metadata '
        'service at 169.254.169.254 gives no meta_data.json: ')
