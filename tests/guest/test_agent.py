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

"""The guest agent, as libvirt uses it."""

import json
import time

import pytest

from tests.guest import rootfs as rootfs_lib
from tests.guest import test_network

INTERFACE_UP = '__org.openstack.containervm_interface-up'
COUNT = ('i=0; while :; do i=$((i+1)); echo $i >/count; echo $i; '
         'sleep 0.05; done')


class Agent:
    """The host's end of the agent's port."""

    def __init__(self, connection):
        self._socket = connection
        self._socket.settimeout(30)
        self._lines = self._socket.makefile('rb')

    def close(self):
        self._lines.close()
        self._socket.close()

    def ask(self, command, **arguments):
        """What the agent answers."""
        request = {'execute': command}
        if arguments:
            request['arguments'] = arguments
        self._socket.sendall(json.dumps(request).encode() + b'\n')
        return json.loads(self._lines.readline())

    def returned(self, command, **arguments):
        answer = self.ask(command, **arguments)
        assert 'return' in answer, answer
        return answer['return']


@pytest.fixture
def agent(make_vm, tmp_path):
    """A function that starts a VM; returns it and an Agent."""
    agents = []

    def start(command=COUNT, extra=(), **options):
        path = tmp_path / 'agent'
        vm = make_vm(('sh', '-c', command), extra=[
            '-chardev', f'socket,id=agent,path={path},server=on,wait=off',
            '-device', 'virtserialport,chardev=agent,'
                       'name=org.qemu.guest_agent.0', *extra],
            **options).start()
        vm.wait_for('1')
        agents.append(Agent(vm.connect(path)))
        assert agents[-1].returned('guest-sync', id=5) == 5
        return vm, agents[-1]

    yield start
    for each in agents:
        each.close()


def count(vm):
    """The last number on the console."""
    return int(vm.console().split()[-1])


def goes_on(vm, seconds):
    """Whether the container writes within a time."""
    before = count(vm)
    deadline = time.monotonic() + seconds
    while count(vm) <= before + 1:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_freeze_holds_writes_up(agent):
    vm, host = agent()
    assert goes_on(vm, 30)
    assert host.returned('guest-fsfreeze-freeze') == 1
    assert host.returned('guest-fsfreeze-status') == 'frozen'
    assert not goes_on(vm, 2)
    assert 'error' in host.ask('guest-fsfreeze-freeze')
    assert host.returned('guest-fsfreeze-thaw') == 1
    assert goes_on(vm, 30)
    assert host.returned('guest-fsfreeze-status') == 'thawed'
    assert host.returned('guest-fsfreeze-thaw') == 0


def test_stop_of_a_frozen_guest(agent):
    vm, host = agent()
    host.returned('guest-fsfreeze-freeze')
    host.returned('guest-shutdown')
    vm.wait()
    assert vm.event('exited')['final']


def test_set_time(agent):
    vm, host = agent('while :; do busybox date +%s; sleep 0.1; done')
    host.returned('guest-set-time', time=1500000000 * 10 ** 9)
    vm.wait_for('15000000')
    # From the machine's clock
    host.returned('guest-set-time')
    deadline = time.monotonic() + 30
    while abs(count(vm) - time.time()) > 5:
        assert time.monotonic() < deadline, vm.console()[-200:]
        time.sleep(0.1)


def test_client_that_comes_again(agent, tmp_path):
    vm, host = agent()
    host._socket.sendall(b'{"execute": "guest-pi')
    host.close()
    again = Agent(vm.connect(tmp_path / 'agent'))
    # 0xff ends what the other one has begun.
    again._socket.sendall(b'\xff')
    assert again.returned('guest-sync', id=7) == 7
    again.close()


def test_nobody_listens(agent):
    """As while libvirtd restarts. The port is readable all the time then."""
    vm, host = agent('echo 1; exec sleep 1000')
    host.close()
    # What the start of the container leaves to do, takes no 20 seconds.
    deadline = time.monotonic() + 60
    used = 1
    while used > 0.3:
        assert time.monotonic() < deadline, used
        begin, before = time.monotonic(), vm.processor_time()
        time.sleep(4)
        used = (vm.processor_time() - before) / (time.monotonic() - begin)


def test_garbage(agent):
    vm, host = agent()
    host._socket.sendall(b'x' * 10000 + b'\n')
    assert 'error' in json.loads(host._lines.readline())
    assert host.returned('guest-ping') == {}
    assert goes_on(vm, 30)


def test_share_is_written_out(agent, tmp_path):
    """It cannot be frozen; nobody is told that it was."""
    _vm, host = agent(
        rootfs=rootfs_lib.busybox(tmp_path / 'root').path,
        writable_share=True, contract={
            'WRITABLE': 'share',
            'ROOTFS_OPTIONS': 'rw,trans=virtio,version=9p2000.L,cache=mmap'})
    assert host.returned('guest-fsfreeze-freeze') == 0
    assert host.returned('guest-fsfreeze-thaw') == 0


def test_interface_that_comes_later(agent):
    """To a machine that had none, and no driver loaded for want of one."""
    vm, host = agent(
        'echo 1; until ip route | grep ^default; do sleep 0.1; done; '
        'ip addr show dev eth0; echo ping | nc 10.0.2.100 7; '
        'while ip link show dev eth0 >/dev/null 2>&1; do sleep 0.1; done; '
        'echo gone; exec sleep 1000',
        extra=['-device', 'pcie-root-port,id=slot1,chassis=1',
               '-netdev', test_network.USER_NET + ',id=late'])
    vm.qmp('device_add', driver='virtio-net-pci', netdev='late', id='nic',
           mac=test_network.MAC, bus='slot1')
    assert host.returned(
        INTERFACE_UP, mac=test_network.MAC, mtu=1400, number=1, dhcp='',
        addrs='10.0.2.15/24 fd00:1::15/64',
        routes='0.0.0.0/0,10.0.2.2 ::/0,fd00:1::2') == {}
    vm.wait_for('ping')
    console = vm.console()
    assert 'default via 10.0.2.2 dev eth0  metric 101' in console
    assert 'mtu 1400' in console
    assert 'inet 10.0.2.15/24' in console
    assert 'inet6 fd00:1::15/64 scope global' in console
    assert 'warning' not in console
    vm.qmp('device_del', id='nic')
    vm.wait_for('gone')


def test_interface_that_does_not_come(agent):
    """The container goes on, whatever cannot be done."""
    vm, host = agent(nics=test_network.nics(test_network.MAC),
                     contract={'NICC': 1, **test_network.nic(
                         ADDRS='10.0.2.15/24')})
    for arguments, error in (
            ({'mac': test_network.OTHER_MAC},
             'no interface with address ' + test_network.OTHER_MAC),
            ({'mac': test_network.MAC, 'addrs': 'nonsense'},
             "eth0: 'nonsense' is no address"),
            ({'mac': test_network.MAC, 'dhcp': '4'},
             'there is no DHCP client any more')):
        assert host.ask(INTERFACE_UP, **arguments)['error']['desc'] == error
    assert goes_on(vm, 30)
    assert 'failed' not in vm.console()
