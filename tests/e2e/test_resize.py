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


"""Resizing a container server on its host."""

import openstack
import pytest

from tests.e2e import cloud as cloud_lib
from tests.e2e import profiles

everywhere = profiles.everywhere((*profiles.COLUMNS, 'share-copy'))


def resize(cloud, made, flavor):
    cloud.compute.resize_server(made.id, cloud.compute.find_flavor(flavor).id)
    cloud.wait(made, 'VERIFY_RESIZE', 300)


def size(address):
    """Megabytes of memory, and of the root filesystem."""
    memory = cloud_lib.shell(address, 'grep MemTotal /proc/meminfo')
    disk = cloud_lib.shell(address, 'df -Pm /').splitlines()[-1]
    return int(memory.split()[1]) >> 10, int(disk.split()[1])


@pytest.mark.operation('resize')
@everywhere
def test_resize(profile, server, probe, cloud, host):
    """Larger, confirmed; what it has written comes along."""
    made = server(probe, flavor='c1.tiny')
    address = cloud.address(made)
    cloud_lib.shell(address, 'echo written >/srv/data/file')
    memory, disk = size(address)
    assert memory <= 256
    resize(cloud, made, 'c1.small')
    assert cloud_lib.shell(address, 'cat /srv/data/file') == 'written\n'
    cloud.compute.confirm_server_resize(made.id)
    cloud.wait(made, 'ACTIVE')
    now = size(address)
    assert 256 < now[0] <= 512, now
    assert now[1] > disk, (disk, now)
    assert not (host.instances / (made.id + '_resize')).exists()
    # A hard reboot makes everything from what is on record.
    cloud.compute.reboot_server(made.id, 'HARD')
    cloud.wait(made, 'ACTIVE')
    assert cloud_lib.shell(address, 'cat /srv/data/file') == 'written\n'
    for path in host.disk_files(made.id):
        host.check_disk(path)


@pytest.mark.operation('resize')
@pytest.mark.slow
@everywhere
def test_revert(profile, server, probe, cloud, host):
    made = server(probe, flavor='c1.tiny')
    address = cloud.address(made)
    cloud_lib.shell(address, 'echo before >/srv/data/file')
    before = size(address)
    resize(cloud, made, 'c1.small')
    cloud_lib.shell(address, 'echo after >/srv/data/file')
    cloud.compute.revert_server_resize(made.id)
    cloud.wait(made, 'ACTIVE')
    assert cloud_lib.shell(address, 'cat /srv/data/file') == 'before\n'
    assert size(address) == before
    assert not (host.instances / (made.id + '_resize')).exists()


def test_smaller_disk_is_refused(server, probe, cloud):
    made = server(probe, flavor='c1.small')
    address = cloud.address(made)
    cloud_lib.shell(address, 'echo kept >/srv/data/file')
    with pytest.raises(openstack.exceptions.BadRequestException) as caught:
        cloud.compute.resize_server(
            made.id, cloud.compute.find_flavor('c1.tiny').id)
    assert "Flavor's disk is smaller" in str(caught.value)
    assert cloud_lib.shell(address, 'cat /srv/data/file') == 'kept\n'
