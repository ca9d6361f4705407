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


"""Two compute hosts, and what moves servers between them.

LibvirtDriver's own operations first: what fails there is the all-in-one's
fault, not the driver's.
"""

import socket

import openstack
import pytest

from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import profiles

FIRST, SECOND = socket.gethostname(), 'aio2'
# The others have one host; a second one takes some minutes.
pytestmark = pytest.mark.slow
BOOT_ID = 'cat /proc/sys/kernel/random/boot_id'


@pytest.fixture(autouse=True)
def clean_second_host(second_host):
    """Nothing that the test has made is on the second host after it."""
    before = second_host.state()
    yield
    second_host.assert_as_before(before)


@pytest.fixture
def placed(server):
    """A function that creates a server on a host."""
    def create(image, name, **kwargs):
        return server(image, flavor='c1.tiny',
                      availability_zone='nova:' + name, **kwargs)
    return create


def where(cloud, made):
    return cloud.compute.get_server(made.id).compute_host


def answers(cloud, made):
    return cloud_lib.http_get(cloud.address(made)) == (200, 'plain\n')


def networks(cloud, *names):
    return [{'uuid': cloud.sdk.network.find_network(name).id}
            for name in names]


def live_migrate(cloud, made, name, timeout):
    cloud.compute.live_migrate_server(made.id, host=name,
                                      block_migration='auto')
    cloud.until(lambda: cloud.compute.get_server(made.id),
                lambda s: s.status == 'ACTIVE' and s.compute_host == name,
                timeout, 'end of live migration')


def test_servers_reach_each_other(placed, probe, plain_image, cloud):
    """By the network of the project, from one host to the other."""
    here = placed(probe, FIRST, networks=networks(cloud, 'public', 'private'))
    there = placed(plain_image('qcow2'), SECOND,
                   networks=networks(cloud, 'private'))
    assert (where(cloud, here), where(cloud, there)) == (FIRST, SECOND)
    cloud.wait_console(there, 'plain: up')
    public = cloud.sdk.network.find_network('public')
    port, = cloud.sdk.network.ports(device_id=here.id, network_id=public.id)
    page = cloud_lib.shell(
        port.fixed_ips[0]['ip_address'],
        'wget -q -O - http://%s/' % cloud.address(there))
    assert page == 'plain\n'


def test_containers_run_on_both(placed, probe, cloud):
    for name in (FIRST, SECOND):
        made = placed(probe, name)
        assert where(cloud, made) == name
        assert cloud_lib.shell(cloud.address(made), 'echo here') == 'here\n'


def test_cold_migration(placed, plain_image, cloud, host, second_host):
    """There, confirmed; and back, reverted."""
    made = placed(plain_image('qcow2'), FIRST)
    assert answers(cloud, made)
    cloud.compute.migrate_server(made.id)
    cloud.wait(made, 'VERIFY_RESIZE')
    cloud.compute.confirm_server_resize(made.id)
    cloud.wait(made, 'ACTIVE')
    assert where(cloud, made) == SECOND
    assert answers(cloud, made)
    assert not host.domains() & second_host.domains()
    cloud.until(host.directories, lambda names: made.id not in names, 30,
                'end of its directory')
    cloud.compute.migrate_server(made.id)
    cloud.wait(made, 'VERIFY_RESIZE')
    assert where(cloud, made) == FIRST
    cloud.compute.revert_server_resize(made.id)
    cloud.wait(made, 'ACTIVE')
    assert where(cloud, made) == SECOND
    assert answers(cloud, made)


def test_live_migration(placed, plain_image, cloud, host, second_host):
    made = placed(plain_image('qcow2'), FIRST)
    assert answers(cloud, made)
    for target, source in ((second_host, host), (host, second_host)):
        live_migrate(cloud, made, target.name or FIRST, timeout=120)
        assert answers(cloud, made)
        assert target.domains() and not source.domains()
        # The guest has not started again.
        log = (target.instances / made.id / 'console.log').read_text()
        assert 'plain: up' not in log


# Servers that run a container

def move_there(cloud, made):
    """Migrate a server that is off or not, up to the user's decision."""
    cloud.compute.migrate_server(made.id)
    cloud.wait(made, 'VERIFY_RESIZE', 300)


@pytest.mark.operation('cold-migrate')
@profiles.everywhere((*profiles.COLUMNS, 'share-copy'))
def test_container_cold_migration(profile, placed, probe, cloud, host,
                                  second_host):
    """There, confirmed; and back, reverted. What it wrote comes along."""
    made = placed(probe, FIRST)
    address = cloud.address(made)
    cloud_lib.shell(address, 'echo first >/srv/data/file; '
                             'chown 1234:1235 /srv/data/file')
    look = 'cat /srv/data/file; stat -c %u:%g /srv/data/file'
    move_there(cloud, made)
    cloud.compute.confirm_server_resize(made.id)
    cloud.wait(made, 'ACTIVE')
    assert where(cloud, made) == SECOND
    assert cloud_lib.shell(address, look) == 'first\n1234:1235\n'
    cloud.until(host.directories, lambda names: made.id not in names, 30,
                'end of its directory')
    cloud_lib.shell(address, 'echo second >/srv/data/file')
    move_there(cloud, made)
    assert where(cloud, made) == FIRST
    cloud_lib.shell(address, 'echo third >/srv/data/file')
    cloud.compute.revert_server_resize(made.id)
    cloud.wait(made, 'ACTIVE')
    assert where(cloud, made) == SECOND
    assert cloud_lib.shell(address, look) == 'second\n1234:1235\n'


def test_container_whose_image_is_gone_migrates(placed, builder, cloud):
    """The other host gets the image from this one."""
    image = cloud.upload('e2e-gone', builder.probe())
    try:
        made = placed(image, FIRST)
        address = cloud.address(made)
        cloud_lib.shell(address, 'true')
    finally:
        cloud.sdk.image.delete_image(image.id)
    move_there(cloud, made)
    cloud.compute.confirm_server_resize(made.id)
    cloud.wait(made, 'ACTIVE')
    assert where(cloud, made) == SECOND
    assert cloud_lib.http_get(address) == (200, 'probe\n')


@pytest.mark.operation('live-migrate', refused=True)
@profiles.everywhere([name for name in profiles.COLUMNS if name != 'block'])
def test_live_migration_of_a_share_is_refused(profile, placed, probe, cloud,
                                              configured):
    """Whether a host is named or not, the answer says why."""
    made = placed(probe, FIRST)
    address = cloud.address(made)
    before = cloud_lib.shell(address, BOOT_ID)
    for target in SECOND, None:
        with pytest.raises(openstack.exceptions.BadRequestException) as why:
            cloud.compute.live_migrate_server(made.id, host=target,
                                              block_migration='auto')
        assert ('is a %s share, which QEMU cannot migrate; stop it' %
                configured.transport) in str(why.value)
    cloud.wait(made, 'ACTIVE')
    assert where(cloud, made) == FIRST
    assert cloud_lib.shell(address, BOOT_ID) == before


@pytest.mark.operation('live-migrate')
@pytest.mark.profile('block')
def test_container_live_migration(placed, probe, cloud, host, second_host):
    made = placed(probe, FIRST)
    address = cloud.address(made)
    before = cloud_lib.shell(address, BOOT_ID)
    cloud_lib.shell(address, 'echo kept >/srv/data/file')
    for target, source in ((second_host, host), (host, second_host)):
        live_migrate(cloud, made, target.name or FIRST, timeout=180)
        assert cloud_lib.shell(address, BOOT_ID) == before
        assert cloud_lib.shell(address, 'cat /srv/data/file') == 'kept\n'
        assert target.domains() and not source.domains()


@pytest.mark.profile('block')
def test_container_stays_where_its_disk_is(placed, builder, upload, cloud):
    """The other host makes one on which a guest would not find its files."""
    image = upload('other-disk', builder.probe('RUN echo other >/new\n'))
    made = placed(image, FIRST)
    address = cloud.address(made)
    before = cloud_lib.shell(address, BOOT_ID)
    aio.run('reconfigure', '--host', SECOND, '--set',
            'containervm.disk_compression=lz4')
    try:
        cloud.compute.live_migrate_server(made.id, host=SECOND,
                                          block_migration='auto')
        cloud.until(lambda: [m.status for m in cloud.compute.migrations(
            instance_uuid=made.id)], lambda found: found == ['failed'], 60,
            'failure of the migration')
        cloud.wait(made, 'ACTIVE')
        # That host has the image now, and can be asked. The conductor would
        # take another one; why there is none is in the log of both hosts.
        begin = aio.log_end('nova-compute')
        with pytest.raises(openstack.exceptions.BadRequestException) as why:
            cloud.compute.live_migrate_server(made.id, host=SECOND,
                                              block_migration='auto')
        assert 'No valid host was found' in str(why.value)
        assert ('is not the same on the other host' in
                aio.log('nova-compute', begin))
    finally:
        aio.run('reconfigure', '--host', SECOND, '--set',
                'containervm.disk_compression=none')
    cloud.wait(made, 'ACTIVE')
    assert where(cloud, made) == FIRST
    assert cloud_lib.shell(address, BOOT_ID) == before
    # It can come in the other way.
    move_there(cloud, made)
    cloud.compute.confirm_server_resize(made.id)
    cloud.wait(made, 'ACTIVE')
    assert where(cloud, made) == SECOND
    assert cloud_lib.shell(address, 'cat /new') == 'other\n'


@pytest.mark.operation('evacuate')
@profiles.everywhere()
def test_evacuation(profile, placed, probe, cloud, second_host):
    """The other host is dead; the container starts afresh on this one."""
    made = placed(probe, SECOND)
    address = cloud.address(made)
    cloud_lib.shell(address, 'true')
    service, = cloud.compute.services(binary='nova-compute', host=SECOND)
    second_host.run('virsh', '-c', 'qemu:///system', 'destroy', made.id)
    cloud.compute.update_service_forced_down(service, SECOND, 'nova-compute',
                                             True)
    try:
        cloud.compute.evacuate_server(made.id, host=FIRST)
        # Nova leaves it to the user when it is to run again.
        cloud.until(lambda: cloud.compute.get_server(made.id),
                    lambda s: s.compute_host == FIRST and
                    s.status == 'SHUTOFF' and not s.task_state, 180,
                    'end of the evacuation')
        cloud.compute.start_server(made.id)
        assert cloud_lib.http_get(address) == (200, 'probe\n')
    finally:
        # When the host is back, its nova-compute removes what was taken away.
        aio.run('restart', 'nova-compute@' + SECOND)
        cloud.until(second_host.directories,
                    lambda names: made.id not in names, 60,
                    'end of its directory on ' + SECOND)
        cloud.compute.update_service_forced_down(service, SECOND,
                                                 'nova-compute', False)
    assert cloud_lib.http_get(address) == (200, 'probe\n')
