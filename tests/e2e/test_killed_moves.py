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


"""nova-compute dies of kill -9 in the middle of a resize or a migration.

Nova takes the server back to where it was when nova-compute is back, unless
that died on the host that the server comes to: then it is the operator who
lets it go on there. After that the same works, and nothing is left on a host.
"""

import socket

import pytest

from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import host as host_lib
from tests.e2e.test_faults import each_transport
from tests.e2e.test_faults import is_running
from tests.e2e.test_faults import reached
from tests.e2e.test_faults import works

pytestmark = pytest.mark.slow
FIRST, SECOND = socket.gethostname(), 'aio2'
KEPT = 'cat /srv/data/kept; stat -c %u:%g /srv/data/kept'


@pytest.fixture(autouse=True)
def audited():
    """What Nova leaves in Placement of any move that is cut short goes."""
    yield
    # 4: there was something, and it is deleted
    aio.nova_manage('placement', 'audit', '--delete', statuses=(0, 4))


def begun(cloud, made):
    """Let a server keep something; return the name of its domain."""
    cloud_lib.shell(cloud.address(made),
                    'head -c 100000000 /dev/urandom >/srv/data/much; '
                    'echo kept >/srv/data/kept; '
                    'chown 1234:1235 /srv/data/kept; sync')
    return made.instance_name


def killed(cloud, host, made, name, point):
    """nova-compute dies at a point of a move, and comes back."""
    process = aio.pid('nova-compute')
    resized = host.instances / (made.id + '_resize')
    reached({
        'off': lambda: not is_running(name),
        'moved': resized.exists,
    }[point], point)
    with aio.without('nova-compute', process):
        pass
    now = cloud.until(lambda: cloud.compute.get_server(made.id),
                      lambda s: not s.task_state, 120, 'end of the task')
    assert now.status == 'ACTIVE'
    assert now.compute_host == FIRST
    assert not resized.exists()


def has_all(cloud, made):
    works(cloud, made)
    assert cloud_lib.shell(cloud.address(made), KEPT) == 'kept\n1234:1235\n'


@each_transport
@pytest.mark.parametrize('point', ['off', 'moved'])
def test_killed_in_resize(profile, server, probe, cloud, host, point):
    before = host.state()
    made = server(probe, flavor='c1.tiny')
    name = begun(cloud, made)
    small = cloud.compute.find_flavor('c1.small').id
    cloud.compute.resize_server(made.id, small)
    killed(cloud, host, made, name, point)
    assert cloud.compute.get_server(made.id).flavor.original_name == 'c1.tiny'
    has_all(cloud, made)
    cloud.compute.resize_server(made.id, small)
    cloud.wait(made, 'VERIFY_RESIZE', 240)
    cloud.compute.confirm_server_resize(made.id)
    made = cloud.wait(made, 'ACTIVE')
    assert made.flavor.original_name == 'c1.small'
    has_all(cloud, made)
    cloud.delete(made)
    host.assert_as_before(before)


@each_transport
@pytest.mark.parametrize('point', ['off', 'moved'])
def test_killed_in_migration(profile, server, probe, cloud, host, second_host,
                             point):
    before = host.state(), second_host.state()
    made = server(probe, flavor='c1.tiny', availability_zone='nova:' + FIRST)
    name = begun(cloud, made)
    cloud.compute.migrate_server(made.id)
    killed(cloud, host, made, name, point)
    has_all(cloud, made)
    cloud.compute.migrate_server(made.id)
    cloud.wait(made, 'VERIFY_RESIZE', 240)
    cloud.compute.confirm_server_resize(made.id)
    made = cloud.wait(made, 'ACTIVE')
    assert made.compute_host == SECOND
    has_all(cloud, made)
    cloud.delete(made)
    host.assert_as_before(before[0])
    second_host.assert_as_before(before[1])


@each_transport
def test_killed_at_arrival(profile, server, probe, cloud, host, second_host):
    """Nova leaves the task as it is; what an operator does then works."""
    before = host.state(), second_host.state()
    made = server(probe, flavor='c1.tiny', availability_zone='nova:' + FIRST)
    begun(cloud, made)
    process = aio.pid('nova-compute@' + SECOND)
    cloud.compute.migrate_server(made.id)
    reached(lambda: cloud.compute.get_server(made.id).task_state ==
            'resize_finish', 'arrival')
    with aio.without('nova-compute@' + SECOND, process):
        pass
    now = cloud.compute.get_server(made.id)
    assert (now.task_state, now.compute_host) == ('resize_finish', SECOND)
    cloud.compute.reset_server_state(made.id, 'active')
    cloud.compute.reboot_server(made.id, 'HARD')
    cloud.until(lambda: cloud.compute.get_server(made.id),
                lambda s: s.status == 'ACTIVE' and not s.task_state, 120,
                'end of the reboot')
    has_all(cloud, made)
    cloud.delete(made)
    second_host.assert_as_before(before[1])
    # Nobody says to the first host that the move has ended. Its nova-compute
    # looks for what is deleted by itself: at its start, and each half hour.
    with aio.without('nova-compute'):
        pass
    host.assert_as_before(before[0])


@pytest.mark.profile('block')
@pytest.mark.parametrize('where', [FIRST, SECOND])
def test_killed_in_live_migration(server, probe, cloud, host, second_host,
                                  where):
    before = host.state(), second_host.state()
    made = server(probe, flavor='c1.tiny', availability_zone='nova:' + FIRST)
    name = begun(cloud, made)
    service = 'nova-compute' + ('' if where == FIRST else '@' + SECOND)
    process = aio.pid(service)
    cloud.compute.live_migrate_server(made.id, host=SECOND,
                                      block_migration='auto')
    reached(lambda: name in second_host.run(
        'virsh', '-c', host_lib.LIBVIRT_URI, 'list', '--all', '--name'),
        'domain on the other host')
    with aio.without(service, process):
        pass
    now = cloud.until(lambda: cloud.compute.get_server(made.id),
                      lambda s: not s.task_state, 240, 'end of the task')
    assert now.status == 'ACTIVE'
    has_all(cloud, made)
    assert len(host.domains() - before[0]['domains']) + len(
        second_host.domains() - before[1]['domains']) == 1
