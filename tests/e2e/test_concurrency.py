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


"""Many servers of one image: one download, one copy on the host."""

import re
import subprocess

import pytest

from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import host as host_lib
from tests.e2e import profiles


def downloads(image, since):
    """How often an image was downloaded, by Glance's own log."""
    return len(re.findall('GET /v2/images/%s/file' % image.id,
                          aio.log('glance', since)))


def test_concurrent_creates_share_one_download(
        server, builder, upload, cloud, host):
    image = upload('concurrent', builder.probe('RUN echo new >/new\n'))
    layers = set(host.store.glob('mapped/layers/*'))
    begin = aio.log_end('glance')
    made = [server(image, flavor='c1.tiny', wait=None) for _n in range(4)]
    for each in made:
        cloud.wait(each, 'ACTIVE', 180)
    for each in made:
        assert cloud_lib.shell(cloud.address(each), 'cat /new') == 'new\n'
    assert downloads(image, begin) == 1
    new = set(host.store.glob('mapped/layers/*')) - layers
    print('%d new layers' % len(new))
    # Each server has its own; nobody sees what another writes.
    cloud_lib.shell(cloud.address(made[0]), 'echo mine >/new')
    assert cloud_lib.shell(cloud.address(made[1]), 'cat /new') == 'new\n'

    begin = aio.log_end('glance')
    later = server(image, flavor='c1.tiny')
    cloud_lib.http_get(cloud.address(later))
    assert downloads(image, begin) == 0


@pytest.mark.operation('image-cache')
@pytest.mark.slow
@profiles.everywhere()
def test_an_image_cached_beforehand_is_not_downloaded(
        profile, server, builder, upload, cloud):
    """``openstack aggregate cache image``."""
    image = upload('cached', builder.probe('RUN echo cached >/new\n'))
    begin = aio.log_end('glance')
    aggregate = cloud.compute.create_aggregate(
        name='e2e-' + image.id, availability_zone=None)
    hosts = {h.host for h in cloud.compute.services(binary='nova-compute')}
    try:
        for name in hosts:
            cloud.compute.add_host_to_aggregate(aggregate, name)
        cloud.compute.aggregate_precache_images(aggregate, image.id)
        cloud.until(lambda: downloads(image, begin),
                    lambda count: count == len(hosts), 60, 'download')
    finally:
        for name in hosts:
            cloud.compute.remove_host_from_aggregate(aggregate, name)
        cloud.compute.delete_aggregate(aggregate)
    made = server(image, flavor='c1.tiny')
    assert cloud_lib.shell(cloud.address(made), 'cat /new') == 'cached\n'
    assert downloads(image, begin) == len(hosts)


def written(made):
    """Bytes that a server's guest has written to its disk."""
    stats = subprocess.run(
        ['virsh', '-c', host_lib.LIBVIRT_URI, 'domblkstat', made.id, 'vda'],
        check=True, capture_output=True, text=True).stdout
    return int(re.search(r'wr_bytes (\d+)', stats)[1])


def test_a_second_server_costs_no_disk(server, probe, cloud, host):
    """Under 1 MB, plus what the guest writes."""
    first = server(probe)
    cloud_lib.http_get(cloud.address(first))
    before = host.disk_use(host.instances)
    second = server(probe)
    cloud_lib.http_get(cloud.address(second))
    cloud.compute.pause_server(second.id)
    cloud.wait(second, 'PAUSED')
    by_guest = written(second)
    used = host.disk_use(host.instances) - before
    print('%d KiB used, %d KiB of it written by the guest' % (
        used >> 10, by_guest >> 10))
    assert used - by_guest < 1 << 20
