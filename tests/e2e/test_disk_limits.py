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

"""Containers that write until nothing goes any more."""

import re

import pytest

from tests.e2e import cloud as cloud_lib
from tests.e2e import containers

pytestmark = pytest.mark.slow

GIB = 1 << 30
#: Root size of the flavor c1.tiny
LIMIT = 1 * GIB
# What qcow2 and ext4 need for themselves, of what is written
OVERHEAD = 1.04

# Fill the root filesystem, and say what that came to.
FILL = '''\
#!/bin/sh
dd if=/dev/zero of=/zeros bs=1M conv=fsync 2>&1
echo "written: $(stat -c %s /zeros) bytes"
'''
# Make room, and go on. virtiofsd has a removed file open until the guest's
# kernel has told it that nobody knows the file any more, which takes a moment.
GO_ON = '''\
rm /zeros
until echo after 2>/dev/null >/srv/data/file; do sleep 1; done
sync && echo "room again: $(cat /srv/data/file)"
exec /start
'''
# No space that the guest frees goes back to the host.
STAY = '''\
while :; do sleep 1000; done
'''


@pytest.fixture(scope='module')
def filling(cloud, builder):
    """The probe with two more programs."""
    made = cloud.upload('e2e-filling', builder.build(
        containers.PROBE + 'COPY go-on stay /\nRUN chmod 755 /go-on /stay\n',
        {**containers.PROBE_FILES, 'go-on': FILL + GO_ON,
         'stay': FILL + STAY}))
    yield made
    cloud.sdk.image.delete_image(made.id)


def filled(cloud, made, timeout=600):
    """Wait until a server's root disk is full; return the bytes written."""
    console = cloud.wait_console(made, 'written: ', timeout)
    assert 'No space left on device' in console, console
    return int(re.search(r'written: (\d+) bytes', console)[1])


@pytest.mark.parametrize('profile', [
    'default', 'virtiofs', 'block', 'share-overlay', 'share-copy',
    'share-reflink', 'virtiofs-kernel-crun-share-overlay'], indirect=True)
def test_full(profile, server, filling, cloud, host):
    """ENOSPC in the container; the host and the neighbour go on."""
    neighbour = server(filling, flavor='c1.tiny')
    address = cloud.address(neighbour)
    cloud_lib.shell(address, 'echo mine >/srv/data/file; sync')
    before = host.disk_use(host.path)
    made = server(filling, flavor='c1.tiny', wait=None,
                  metadata={'containervm_command': '/go-on'})
    written = filled(cloud, made)
    print('%.3f of the flavor' % (written / LIMIT))
    # The flavor's size, less what an ext4 of it takes
    assert 0.85 * LIMIT < written < LIMIT
    cloud.wait_console(made, 'room again: after')
    assert host.disk_use(host.path) - before < OVERHEAD * LIMIT
    assert cloud_lib.shell(cloud.address(made),
                           'cat /srv/data/file') == 'after\n'
    assert cloud_lib.shell(address, 'echo more >>/srv/data/file; sync; '
                                    'cat /srv/data/file') == 'mine\nmore\n'


# Emulated processors take their time to write ten GiB.
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('profile', ['default', 'block', 'share-overlay'],
                         indirect=True)
def test_ten_at_once(profile, server, filling, cloud, host):
    """The host gives no more than the flavors allow, and runs the next."""
    before = host.disk_use(host.path)
    made = [server(filling, flavor='c1.tiny', wait=None,
                   metadata={'containervm_command': '/stay'})
            for _ in range(10)]
    written = [filled(cloud, each, 1500) for each in made]
    taken = host.disk_use(host.path) - before
    print('written %d MiB, taken %d MiB' % (sum(written) >> 20, taken >> 20))
    assert all(0.85 * LIMIT < each < LIMIT for each in written), written
    assert sum(written) < taken < OVERHEAD * LIMIT * len(made)
    for each in made:
        assert cloud.compute.get_server(each.id).status == 'ACTIVE'
    other = server(filling, flavor='c1.tiny', timeout=300)
    assert cloud_lib.shell(
        cloud.address(other),
        'echo x >/srv/data/file && sync && cat /srv/data/file') == 'x\n'
