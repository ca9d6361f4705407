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

"""The clock: right at boot, after a pause of the VM, and when it is set."""

import time

import pytest

from tests.guest import contract as contracts

# Seconds. The clock is right if it is off by clearly less: it may be off by
# one, and what a busy machine shows of it is old.
PAUSE = 8
TICK = ('sh', '-c', 'while :; do date +%s; sleep 1; done')


def last_tick(vm):
    lines = vm.console().split('\n')
    return int(lines[-2]) if len(lines) > 1 else 0


def off(vm, expected):
    return abs(last_tick(vm) - expected)


@pytest.mark.parametrize('runtime', [
    'crun', pytest.param('chroot', marks=pytest.mark.slow)])
def test_pause(make_vm, runtime):
    vm = make_vm(TICK, runtime=runtime).start()
    vm.wait_for_event('running')
    vm.wait_until(lambda: off(vm, time.time()) <= PAUSE - 3)
    vm.qmp('stop')
    time.sleep(PAUSE)
    vm.qmp('cont')
    # Sooner or later; the guest looks at it every five seconds.
    vm.wait_until(lambda: off(vm, time.time()) <= PAUSE - 3)


@pytest.mark.slow
def test_clock_of_the_container(make_vm):
    """A container that may set the clock keeps its time through a pause."""
    day = 24 * 60 * 60
    vm = make_vm(('sh', '-c', f'date -s @$(($(date +%s) + {day})) >/dev/null; '
                              + TICK[2]),
                 contract=contracts.PRIVILEGED).start()
    vm.wait_until(lambda: off(vm, time.time() + day) <= PAUSE - 3)
    vm.qmp('stop')
    time.sleep(PAUSE)
    vm.qmp('cont')
    vm.wait_until(lambda: off(vm, time.time() + day) <= PAUSE - 3)
    # Not only for a moment.
    ticks = len(vm.console().split())
    vm.wait_until(lambda: len(vm.console().split()) > ticks + 7)
    assert off(vm, time.time() + day) <= PAUSE - 3
