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

"""What the machine's devices are for: entropy, and memory that goes back."""

RNG = '/sys/class/misc/hw_random/rng_current'


def test_entropy(make_vm):
    """The host's; who asks for random numbers does not wait."""
    vm = make_vm(('sh', '-c', f'cat {RNG}; '
                              'head -c 16 /dev/random | wc -c')).run()
    assert vm.console() == 'virtio_rng.0\n16\n'


def test_memory_goes_back(make_vm):
    """What a container no longer uses, the host gets back by itself."""
    vm = make_vm(('sh', '-c', 'dd if=/dev/zero of=/dev/shm/f bs=1M count=256 '
                              '2>/dev/null; echo full; read x; '
                              'rm /dev/shm/f; sleep 1000'),
                 memory=512, terminal=True,
                 contract={'SHM_SIZE': 300 << 20, 'TTY': 1}).start()
    vm.wait_for('full')
    full = vm.resident()
    assert full > 256
    vm.type('\n')
    vm.wait_until(lambda: vm.resident() < full - 128)
