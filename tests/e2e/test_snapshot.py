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


"""Images made of servers. podman says whether they are right."""

import contextlib
import json
import tarfile

import pytest

from tests.e2e import cloud as cloud_lib
from tests.e2e import profiles

# What the server does to its image, and what that is to look like.
CHANGE = r'''
set -e
echo changed >/www/index.html
rm /etc/group
mkdir -p /srv/data/new/deep
echo text >/srv/data/new/deep/file
chown 1234:1235 /srv/data/new/deep/file
chmod 4750 /srv/data/new/deep/file
ln /srv/data/new/deep/file /srv/data/new/second-name
ln -s ../nowhere /srv/data/new/link
mkfifo /srv/data/new/fifo
rm -r /tmp && mkdir /tmp && echo only >/tmp/only
rm /volume/first && echo changed >/volume/second && echo new >/volume/third
'''
LOOK = (
    'cat /www/index.html; ls /etc/group 2>&1; cat /srv/data/new/deep/file; '
    'stat -c "%a %u:%g %h" /srv/data/new/deep/file; '
    'readlink /srv/data/new/link; stat -c %F /srv/data/new/fifo; ls /tmp; '
    'head -n 1 /volume/*')
SEEN = '''\
changed
ls: /etc/group: No such file or directory
text
4750 1234:1235 2
../nowhere
fifo
only
==> /volume/second <==
changed

==> /volume/third <==
new
'''


@pytest.fixture
def snapshot(cloud):
    """A function that makes an image of a server."""
    with contextlib.ExitStack() as stack:
        def make(server, name):
            made = cloud.compute.create_server_image(server.id, name,
                                                     wait=True, timeout=300)
            stack.callback(cloud.sdk.image.delete_image, made.id)
            return cloud.sdk.image.get_image(made.id)
        yield make


def downloaded(cloud, image, tmp_path):
    path = tmp_path / (image.id + '.tar')
    cloud.sdk.image.download_image(image, stream=False, output=str(path))
    return path


def manifest(path):
    """The manifest of an archive, and the config of its image."""
    with tarfile.open(path) as tar:
        entry, = json.load(tar.extractfile('manifest.json'))
        return entry, json.load(tar.extractfile(entry['Config']))


@pytest.mark.operation('snapshot')
@profiles.everywhere()
def test_snapshot(profile, server, probe, cloud, builder, snapshot, tmp_path):
    """Of a running server; podman loads it, a server boots it; and again."""
    origin = manifest(downloaded(cloud, probe, tmp_path))
    made = server(probe, flavor='c1.tiny')
    address = cloud.address(made)
    cloud_lib.shell(address, CHANGE)
    image = snapshot(made, 'e2e-snapshot')
    assert image.container_format == 'docker'
    # It went on all the time.
    assert cloud_lib.shell(address, 'cat /www/index.html') == 'changed\n'

    path = downloaded(cloud, image, tmp_path)
    entry, config = manifest(path)
    layers = config['rootfs']['diff_ids']
    assert layers[:-1] == origin[1]['rootfs']['diff_ids']
    assert len(entry['Layers']) == len(layers)
    assert made.id in config['history'][-1]['created_by'] + \
        config['history'][-1].get('comment', '')
    code, output, errors = builder.podman_run(path, '/bin/sh', '-c', LOOK)
    assert (code, output) == (0, SEEN), errors

    # The new server runs what the image's config says.
    second = server(image, flavor='c1.tiny')
    address = cloud.address(second)
    assert cloud_lib.http_get(address) == (200, 'changed\n')
    assert cloud_lib.shell(address, LOOK) == SEEN
    cloud_lib.shell(address, 'rm /www/index.html; echo 2 >/second')
    image = snapshot(second, 'e2e-snapshot-2')
    path = downloaded(cloud, image, tmp_path)
    assert manifest(path)[1]['rootfs']['diff_ids'][:-1] == layers
    code, output, errors = builder.podman_run(
        path, '/bin/sh', '-c', 'cat /second; ls /www')
    assert (code, output) == (0, '2\ncgi-bin\n'), errors


@pytest.mark.slow
def test_snapshot_of_a_stopped_server(server, probe, cloud, builder, snapshot,
                                      tmp_path):
    made = server(probe, flavor='c1.tiny')
    cloud_lib.shell(cloud.address(made), CHANGE)
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    path = downloaded(cloud, snapshot(made, 'e2e-stopped'), tmp_path)
    code, output, errors = builder.podman_run(path, '/bin/sh', '-c', LOOK)
    assert (code, output) == (0, SEEN), errors
    assert cloud.compute.get_server(made.id).status == 'SHUTOFF'


@pytest.mark.operation('shelve')
@profiles.everywhere()
def test_shelve_and_unshelve(profile, server, probe, cloud, host):
    made = server(probe, flavor='c1.tiny')
    cloud_lib.shell(cloud.address(made), CHANGE)
    cloud.compute.shelve_server(made.id)
    cloud.wait(made, 'SHELVED_OFFLOADED', 300)
    assert not (host.instances / made.id).exists()
    cloud.compute.unshelve_server(made.id)
    cloud.wait(made, 'ACTIVE', 300)
    assert cloud_lib.shell(cloud.address(made), LOOK) == SEEN
    # Nova removes the image that it has made itself.
    assert not list(cloud.sdk.image.images(name=made.name + '-shelved'))
