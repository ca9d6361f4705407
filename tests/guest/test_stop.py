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

"""Stop requests, restarts, and output that must not be lost."""

import hashlib
import time

import pytest

TRAP = ('trap "echo got TERM; exit 5" TERM; echo ready; '
        'while :; do sleep 0.1; done')
DEAF = 'trap "" TERM; echo ready; while :; do sleep 0.1; done'

both_runtimes = pytest.mark.parametrize('runtime', ['crun', 'chroot'])


@both_runtimes
def test_power_button_sends_stop_signal(make_vm, runtime):
    vm = make_vm(('sh', '-c', TRAP), runtime=runtime,
                 contract={'STOP_TIMEOUT': 1000}).start()
    vm.wait_for('ready')
    vm.power_button()
    vm.wait()
    assert vm.console() == 'ready\ngot TERM\n'
    assert vm.event('exited')['code'] == 5


@both_runtimes
def test_stop_signal_of_contract(make_vm, runtime):
    vm = make_vm(('sh', '-c', TRAP.replace('TERM', 'QUIT')), runtime=runtime,
                 contract={'STOP_SIGNAL': 3}).start()
    vm.wait_for('ready')
    vm.power_button()
    vm.wait()
    assert vm.console() == 'ready\ngot QUIT\n'


@both_runtimes
def test_kill_after_grace_period(make_vm, runtime):
    vm = make_vm(('sh', '-c', DEAF), runtime=runtime,
                 contract={'STOP_TIMEOUT': 2}).start()
    vm.wait_for('ready')
    start = time.monotonic()
    vm.power_button()
    vm.wait()
    assert time.monotonic() - start >= 2
    end = vm.event('exited')
    assert (end['code'], end['signal'], end['oom']) == (137, 9, False)


def test_no_grace_period(make_vm):
    vm = make_vm(('sh', '-c', DEAF), contract={'STOP_TIMEOUT': 0}).start()
    vm.wait_for('ready')
    vm.power_button()
    # The grace period of who asks for none is 10 s.
    vm.wait(9)
    assert vm.event('exited')['signal'] == 9


def test_stop_wins_over_restart_always(make_vm):
    vm = make_vm(('sh', '-c', TRAP), contract={'RESTART': 'always'}).start()
    vm.wait_for('ready')
    vm.power_button()
    vm.wait()
    assert [e['event'] for e in vm.events()] == [
        'booted', 'running', 'exited']
    assert vm.event('exited')['final'] is True


def test_stop_while_waiting_to_restart(make_vm):
    vm = make_vm(('sh', '-c', 'echo run; exit 1'),
                 contract={'RESTART': 'always'}).start()
    vm.wait_until(lambda: len(vm.console().split()) >= 5)
    vm.power_button()
    vm.wait()
    assert vm.events()[-1]['event'] == 'exited'
    assert vm.events()[-1]['final'] is True


@both_runtimes
def test_restart_on_failure(make_vm, runtime):
    vm = make_vm(('sh', '-c', 'echo run; exit 4'), runtime=runtime,
                 contract={'RESTART': 'on-failure', 'RESTART_MAX': 2})
    vm.run()
    assert vm.console() == 'run\n' * 3
    events = [(e['event'], e.get('restarts'), e.get('final'))
              for e in vm.events()]
    assert events == [
        ('booted', None, None),
        ('running', 0, None), ('exited', None, False),
        ('restarting', 1, None),
        ('running', 1, None), ('exited', None, False),
        ('restarting', 2, None),
        ('running', 2, None), ('exited', None, True)]
    delays = [e['delay_ms'] for e in vm.events()
              if e['event'] == 'restarting']
    assert delays == [100, 200]


def test_no_restart_after_success(make_vm):
    vm = make_vm(('echo', 'run'), contract={'RESTART': 'on-failure'}).run()
    assert vm.console() == 'run\n'


def test_restart_always_also_after_success(make_vm):
    script = 'echo x >> /count; test $(wc -l < /count) -lt 3 || exec sleep 60'
    vm = make_vm(('sh', '-c', script), contract={'RESTART': 'always'}).start()
    vm.wait_for_event('running', restarts=2)
    vm.kill()


def test_ctrl_alt_del_is_a_stop_too(make_vm):
    vm = make_vm(('sh', '-c', TRAP)).start()
    vm.wait_for('ready')
    vm.qmp('send-key', keys=[{'type': 'qcode', 'data': key}
                             for key in ('ctrl', 'alt', 'delete')])
    vm.wait()
    assert vm.console() == 'ready\ngot TERM\n'


@both_runtimes
def test_output_is_complete(make_vm, runtime):
    """A burst right before the end: all of it arrives, in order."""
    vm = make_vm(('seq', '60000'), runtime=runtime).run()
    assert vm.console() == ''.join(f'{i}\n' for i in range(1, 60001))


@pytest.mark.slow
def test_fifty_megabytes(make_vm):
    """Every byte of it, whatever its value."""
    vm = make_vm(('sh', '-c', 'dd if=/dev/urandom of=/f bs=1M count=50 '
                              '2>/dev/null; md5sum < /f; cat /f; '
                              'echo the last line')).run(1200)
    digest, _newline, rest = vm.console_bytes().partition(b'  -\n')
    data = rest.removesuffix(b'the last line\n')
    assert len(data) == 50 << 20
    assert hashlib.md5(data).hexdigest() == digest.decode()


@both_runtimes
def test_every_byte(make_vm, runtime):
    script = ('i=0; while [ $i -lt 256 ]; do '
              'printf "\\\\$(printf %03o $i)"; i=$((i + 1)); done')
    vm = make_vm(('sh', '-c', script), runtime=runtime).run()
    assert vm.console_bytes() == bytes(range(256))


@both_runtimes
def test_orphans_die_with_the_container(make_vm, runtime):
    vm = make_vm(('sh', '-c', 'sleep 1000 & sleep 1001 & echo end'),
                 runtime=runtime)
    vm.run()
    assert vm.console() == 'end\n'


def test_out_of_memory_is_told(make_vm):
    vm = make_vm(('eat-memory',), memory=128).run()
    end = vm.event('exited')
    assert (end['code'], end['signal'], end['oom']) == (137, 9, True)
    assert vm.console() == ''
