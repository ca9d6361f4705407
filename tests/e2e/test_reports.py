#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.



"""What the metadata of a server says of its container, while that runs.

tests/guest has what the guest reports; here it goes all the way.
"""

import pytest

from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import profiles

pytestmark = pytest.mark.slow

HEALTHCHECK = '''\
HEALTHCHECK --interval=1s --timeout=5s --retries=2 \\
    CMD test ! -e /sick || { echo "has a fever"; exit 1; }
'''


@pytest.fixture(scope='module')
def checked(cloud, builder):
    """The probe with a health check, which /sick lets fail."""
    made = cloud.upload('e2e-checked', builder.probe(HEALTHCHECK))
    yield made
    cloud.sdk.image.delete_image(made.id)


def of_container(cloud, made):
    """What the metadata says of the container, without the prefix."""
    prefix = 'containervm_'
    return {key.removeprefix(prefix): value for key, value in
            cloud.compute.get_server(made.id).metadata.items()
            if key.startswith(prefix)}


@pytest.mark.operation('health')
@profiles.everywhere()
def test_health(profile, server, checked, cloud):
    made = server(checked, flavor='c1.tiny')
    address = cloud.address(made)
    cloud.wait_metadata(made, 'containervm_health', 'healthy', 60)
    assert 'error' not in of_container(cloud, made)
    cloud_lib.shell(address, 'touch /sick')
    metadata = cloud.wait_metadata(made, 'containervm_health', 'unhealthy')
    assert metadata['containervm_error'] == 'health check: has a fever'
    # As in docker, it goes on.
    assert metadata['containervm_state'] == 'running'
    cloud_lib.shell(address, 'rm /sick')
    metadata = cloud.wait_metadata(made, 'containervm_health', 'healthy')
    assert 'containervm_error' not in metadata


def test_restart_on_failure(server, probe, cloud):
    """So often as it says; then the server is off."""
    made = server(probe, wait=None, flavor='c1.tiny', metadata={
        'containervm_command': 'sh -c "echo a run; exit 3"',
        'containervm_restart_policy': 'on-failure:2'})
    cloud.ends_by_itself(made)
    cloud.wait_metadata(made, 'containervm_restarts', '2')
    cloud.wait_metadata(made, 'containervm_exit_code', '3')
    cloud.wait_metadata(made, 'containervm_state', 'exited')
    assert cloud.console(made).count('a run') == 3


def test_stop_wins_over_restart_always(server, probe, cloud):
    made = server(probe, flavor='c1.tiny', metadata={
        'containervm_command': 'sh -c "echo a run; sleep 1"',
        'containervm_restart_policy': 'always'})
    cloud.until(lambda: of_container(cloud, made),
                lambda now: int(now.get('restarts', 0)) >= 2, 60,
                'second restart')
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF', 60)
    runs = cloud.console(made).count('a run')
    assert runs >= 3
    # The user's word counts until the next one.
    cloud.compute.start_server(made.id)
    cloud.wait(made, 'ACTIVE')
    cloud.until(lambda: of_container(cloud, made),
                lambda now: int(now.get('restarts', 0)) >= 1, 60, 'restart')


def test_end_while_nova_compute_is_down(server, probe, cloud, host):
    """What has happened meanwhile is shown when it is back."""
    made = server(probe, flavor='c1.tiny', metadata={
        'containervm_command': 'sh -c "echo begun; sleep 15; exit 9"',
        'containervm_restart_policy': 'on-failure:1'})
    cloud.wait_metadata(made, 'containervm_state', 'running')
    domain = cloud.compute.get_server(made.id).instance_name
    with aio.without('nova-compute'):
        def running():
            return host.run('virsh', '-c', 'qemu:///system', 'domstate',
                            domain).strip() == 'running'
        assert running()
        cloud.until(running, lambda now: not now, 90, 'end of the guest')
        assert of_container(cloud, made)['state'] == 'running'
        assert cloud.compute.get_server(made.id).status == 'ACTIVE'
    metadata = cloud.wait_metadata(made, 'containervm_exit_code', '9')
    assert metadata['containervm_state'] == 'exited'
    assert metadata['containervm_restarts'] == '1'
    cloud.wait(made, 'SHUTOFF', 60)


def test_out_of_memory(server, probe, cloud):
    made = server(probe, wait=None, flavor='c1.tiny', metadata={
        'containervm_command': 'sh -c "echo begun; exec tail /dev/zero"'})
    cloud.ends_by_itself(made)
    metadata = cloud.wait_metadata(made, 'containervm_exit_code', '137')
    assert metadata['containervm_error'] == 'killed: out of memory'


# A privileged container has the port's device. It writes reports that are
# none, some that are lies, and a lot.
RUBBISH = r'''
port=$(ls /dev/vport* | head -n 1)
test -c "$port" || { echo no port; exit 1; }
{
    printf '{"v":1,"event":"running","at":1e999,"restarts":-1}\n'
    printf '{"v":1,"event":"exited","code":"x","final":true}\n'
    printf '{"v":1,"event":["exited"],"code":0}\n'
    head -c 3000000 /dev/urandom
    printf '\n[[[[[[[[[[[[[[[[[[[[\n\0\0\0\n'
    yes '{"v":1,"event":"health","status":"healthy"}' | head -n 100000
    printf '\n{"v":1,"event":"health","status":"unhealthy",'
    printf '"output":"\\u001b[31m<b>%%s%%n"}\n'
} 2>/tmp/said >"$port" || cat /tmp/said
'''


def test_rubbish_on_the_channel(server, probe, cloud, host):
    made = server(probe, flavor='c1.tiny', metadata={
        'containervm_privileged': 'true'})
    other = server(probe, flavor='c1.tiny', metadata={
        'containervm_command': 'sh -c "sleep 20; exit 6"'})
    cloud.wait_metadata(made, 'containervm_state', 'running')
    begin = aio.log_end('nova-compute')
    print(cloud_lib.shell(cloud.address(made), RUBBISH))
    size = sum(path.stat().st_size for path in
               (host.instances / made.id / 'containervm').iterdir())
    assert size < 16 << 20, size
    # Another server is told of in time, and this one obeys.
    cloud.wait_metadata(other, 'containervm_exit_code', '6', 60)
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    told = of_container(cloud, made)
    assert set(told) <= {'privileged', 'state', 'exit_code', 'restarts',
                         'started_at', 'health', 'error'}
    assert told['state'] == 'exited'
    assert 'Traceback' not in aio.log('nova-compute', begin)
