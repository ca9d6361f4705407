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

"""The image's HEALTHCHECK, and what is reported of it."""

import pytest

both_runtimes = pytest.mark.parametrize('runtime', [
    'crun', pytest.param('chroot', marks=pytest.mark.slow)])
all_runtimes = pytest.mark.parametrize('runtime', [
    'crun', pytest.param('runc', marks=pytest.mark.slow),
    pytest.param('chroot', marks=pytest.mark.slow)])


def health(*command, **changes):
    """Contract of a container with a check that runs twice a second."""
    values = {'interval_ms': 500, 'timeout_ms': 60000, 'start_period_ms': 0,
              'start_interval_ms': 200, 'retries': 2, **changes}
    return {'HEALTH': list(command),
            **{f'HEALTH_{k.upper()}': v for k, v in values.items()}}


def states(vm):
    return [e['status'] for e in vm.events() if e['event'] == 'health']


@all_runtimes
def test_healthy_and_not(make_vm, runtime):
    """Healthy, twice in a row not, and healthy again."""
    vm = make_vm(
        ('sh', '-c', 'echo up; sleep 1000'), runtime=runtime,
        contract=health('sh', '-c', 'echo >> /tmp/n; n=$(wc -l < /tmp/n); '
                        'test $n = 1 || test $n = 4 || '
                        '{ echo "not well: $n $HOSTNAME"; exit 1; }')).start()
    vm.wait_for_event('health', status='unhealthy')
    event = vm.event('health')
    vm.wait_until(lambda: len(states(vm)) >= 4)
    assert states(vm)[:4] == ['starting', 'healthy', 'unhealthy', 'healthy']
    assert event['output'] == 'not well: 3 web1\n'
    vm.power_button()
    vm.wait()
    # What the check says is not the container's output.
    assert vm.console() == 'up\n'


@both_runtimes
def test_environment_of_the_check(make_vm, runtime):
    """It runs in the container, as its user, in its directory."""
    vm = make_vm(
        ('sleep', '1000'), runtime=runtime, contract={
            **health('sh', '-c', 'echo "$(id -u) $(id -G) $(pwd) $A '
                     '$(hostname) $(umask) $(ps -o pid,comm | '
                     'grep -c "1 sleep") $(ls /dev/vd* 2>/dev/null | wc -l) '
                     '$(grep CapEff /proc/self/status | tr -s "\\t" " ")"; '
                     'exit 1'),
            'UID': 1000, 'GID': 1000, 'GROUPS': '1000 2000',
            'CWD': '/home/app', 'UMASK': '0027', 'ENV': ('A=b',)}).start()
    event = vm.wait_for_event('health', status='unhealthy')
    assert event['output'] == (
        '1000 1000 2000 /home/app b web1 0027 1 0 '
        'CapEff: 0000000000000000\n')


def test_rights_of_the_check(make_vm):
    """It is filtered as the container is."""
    script = 'grep Seccomp: /proc/self/status; swapoff / 2>&1'
    vm = make_vm(('sh', '-c', script + '; sleep 1000'),
                 contract=health('sh', '-c', script + '; exit 1')).start()
    event = vm.wait_for_event('health', status='unhealthy')
    assert event['output'] == (
        'Seccomp:\t2\nswapoff: /: Operation not permitted\n')
    assert vm.console() == event['output']


@all_runtimes
def test_slow_check_is_killed(make_vm, runtime):
    vm = make_vm(('sh', '-c', 'while :; do sleep 1; ps -o comm | '
                              'grep -c "^tail"; done'), runtime=runtime,
                 contract=health('tail', '-f', '/dev/null', timeout_ms=700,
                                 retries=1)).start()
    event = vm.wait_for_event('health', status='unhealthy')
    assert event['output'] == 'took longer than 700 ms'
    vm.power_button()
    vm.wait()
    # Never two of them at a time, and none is left behind.
    assert set(vm.console().split()) <= {'0', '1'}


@both_runtimes
def test_check_that_does_not_exist(make_vm, runtime):
    vm = make_vm(('sleep', '1000'), runtime=runtime,
                 contract=health('/no/such/check', retries=1)).start()
    event = vm.wait_for_event('health', status='unhealthy')
    assert 'o such file' in event['output']


@pytest.mark.slow
def test_start_period(make_vm):
    """Failures in it do not count; the first success ends it."""
    vm = make_vm(
        ('sh', '-c', 'sleep 4; touch /tmp/well; sleep 1000'),
        contract=health('test', '-e', '/tmp/well', retries=1,
                        start_period_ms=60000)).start()
    vm.wait_for_event('health', status='healthy')
    assert states(vm) == ['starting', 'healthy']


def test_no_check(make_vm):
    vm = make_vm(('sleep', '1')).run()
    assert vm.event('health') is None


def test_restart_starts_anew(make_vm):
    # Who sees a second check knows that the first one has been reported.
    vm = make_vm(
        ('sh', '-c', ': >/tmp/checks; '
                     'until test $(wc -l </tmp/checks) -ge 2; do sleep 0.1; '
                     'done; exit 1'),
        contract={'RESTART': 'on-failure', 'RESTART_MAX': 1,
                  **health('sh', '-c', 'echo >>/tmp/checks')}).run()
    names = [e.get('status', e['event']) for e in vm.events()]
    assert names == ['booted', 'running', 'starting', 'healthy', 'exited',
                     'restarting', 'running', 'starting', 'healthy',
                     'exited']


@pytest.mark.slow
def test_much_output_is_cut(make_vm):
    vm = make_vm(('sleep', '1000'),
                 contract=health('sh', '-c', 'seq 100000; exit 1',
                                 retries=1)).start()
    event = vm.wait_for_event('health', status='unhealthy')
    assert event['output'].startswith('1\n2\n3\n')
    assert len(event['output']) <= 200
