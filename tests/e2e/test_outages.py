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


"""Services of the cloud that are gone for a while, and a host that is full.

After each: what Nova shows is true, the next operation works, and nothing is
left on the host (clean_host).
"""

import contextlib
import datetime
import os
import stat
import subprocess

import openstack
import pytest

from tests.e2e import aio
from tests.e2e.test_faults import next_one_works
from tests.e2e.test_faults import reached
from tests.e2e.test_faults import works

pytestmark = pytest.mark.slow


def comes_to_an_end(cloud, made, timeout=420):
    """Wait until Nova does nothing more with a server; return it."""
    return cloud.until(lambda: cloud.compute.get_server(made.id),
                       lambda s: s.status in ('ACTIVE', 'ERROR') and
                       not s.task_state, timeout, 'end of what was begun')


def is_true(cloud, made, host, before):
    """A server works if it is ACTIVE, and has nothing if it is ERROR."""
    if made.status == 'ACTIVE':
        works(cloud, made)
        return
    assert made.fault['message']
    assert not host.domains() - before['domains']
    assert not host.staging()
    assert not host.mounts() - before['mounts']


@contextlib.contextmanager
def without(service, cloud):
    """A service is down.

    In the end the scheduler knows of this host again: without messages
    nova-compute cannot say that it is there, and its attempt to does not end
    before its timeout of a minute.
    """
    with aio.without(service):
        yield
    if service == 'rabbitmq':
        back = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        cloud.until(
            lambda: next(cloud.compute.services(binary='nova-compute')),
            lambda s: datetime.datetime.fromisoformat(s.updated_at) > back,
            180, 'sign of nova-compute')


@pytest.mark.parametrize('profile', ['default', 'block'], indirect=True)
@pytest.mark.parametrize('service', ['neutron-api', 'rabbitmq'])
def test_gone_in_create(profile, server, large, cloud, host, service):
    """It goes while the image is fetched, and is back a while later."""
    before = host.state()
    made = server(large, wait=None, flavor='c1.tiny')
    reached(host.staging, 'download')
    with without(service, cloud):
        # Unpacked meanwhile, or given up
        cloud.until(host.staging, lambda names: not names, 120,
                    'end of the download')
    is_true(cloud, comes_to_an_end(cloud, made), host, before)
    cloud.delete(made)
    host.assert_as_before(before)
    next_one_works(server, large, cloud)


def test_no_neutron_in_delete(server, probe, cloud, host):
    """The container ends; what is Neutron's goes when Neutron is back."""
    before = host.state()
    made = server(probe, flavor='c1.tiny')
    works(cloud, made)
    # Nova's API asks Neutron itself before it deletes.
    cloud.compute.delete_server(made.id)
    with without('neutron-api', cloud):
        # Not even what it has of a server does Nova's API say meanwhile.
        cloud.until(host.domains, lambda names: names == before['domains'],
                    60, 'end of the domain')
    try:
        comes_to_an_end(cloud, made, 120)
    except openstack.exceptions.NotFoundException:
        pass  # Neutron was back in time for one of Nova's attempts.
    cloud.delete(made)
    host.assert_as_before(before)
    assert not list(cloud.sdk.network.ports(device_id=made.id))
    next_one_works(server, probe, cloud)


def test_no_rabbitmq_for_a_server_that_runs(server, probe, cloud):
    """It goes on, and Nova reaches it when messages are there again."""
    made = server(probe, flavor='c1.tiny')
    works(cloud, made)
    with without('rabbitmq', cloud):
        works(cloud, made)
    # One that waits for its answer. Of others, the first that a service sends
    # after an outage can be lost: it has not noticed, and nobody tells it.
    cloud.wait_console(made, 'probe: up')
    works(cloud, made)
    next_one_works(server, probe, cloud)


@pytest.fixture
def small_disk(host, tmp_path):
    """The image store is on a file system with little space.

    Nothing of it is in use: no test's server lives longer than its test.
    """
    disk = tmp_path / 'disk'
    disk.touch()
    os.truncate(disk, 100 << 20)
    subprocess.run(['mkfs.ext4', '-q', str(disk)], check=True)
    owner = host.store.stat()
    point = host.store
    subprocess.run(['mount', '-o', 'loop', str(disk), str(point)], check=True)
    try:
        os.chown(point, owner.st_uid, owner.st_gid)
        os.chmod(point, stat.S_IMODE(owner.st_mode))
        yield
    finally:
        subprocess.run(['umount', str(point)], check=True)


@pytest.mark.parametrize('profile', ['default', 'block'], indirect=True)
def test_disk_is_full(profile, small_disk, server, large, probe, cloud, host):
    """The log says so, and an image that fits still works."""
    before, begin = host.state(), aio.log_end('nova-compute')
    made = cloud.wait(server(large, wait=None, flavor='c1.tiny'), 'ERROR')
    assert 'no space left in the image store' in aio.log('nova-compute', begin)
    assert not host.staging()
    cloud.delete(made)
    host.assert_as_before(before)
    last = server(probe, flavor='c1.tiny')
    works(cloud, last)
    cloud.delete(last)
