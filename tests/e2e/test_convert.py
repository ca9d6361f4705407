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

"""Images that were made disks of before their upload."""

import subprocess

import pytest

from nova_containervm.cli import image as cli
from tests.e2e import cloud as cloud_lib
from tests.e2e import test_images_run as images_run

pytestmark = [pytest.mark.slow, pytest.mark.profile('block')]


@pytest.fixture
def converted(tmp_path):
    """A function: an archive and options -> the disk's path."""
    def convert(archive, suffix, *options):
        path = tmp_path / ('disk.' + suffix)
        assert cli.main(['convert', *options, str(archive), str(path)]) == 0
        return path
    return convert


@pytest.mark.parametrize('options, suffix', [
    (('--format', 'erofs', '--compress'), 'qcow2'),
    (('--format', 'squashfs'), 'raw'), (('--format', 'ext4'), 'qcow2')])
def test_files_are_what_umoci_makes_of_them(
        server, builder, upload, converted, cloud, tmp_path, options, suffix):
    archive = builder.build(images_run.LAYERS, {'list': images_run.LIST})
    images_run.run('skopeo', 'copy', '--quiet',
                   'docker-archive:%s' % archive,
                   'oci:%s/layout:e2e' % tmp_path)
    images_run.run('umoci', 'unpack', '--image',
                   '%s/layout:e2e' % tmp_path, str(tmp_path / 'bundle'))
    image = upload('disk', converted(archive, suffix, *options),
                   disk_format=suffix)
    made = server(image, wait=None, flavor='c1.tiny')
    cloud.ends_by_itself(made)
    console = cloud.console(made).replace('\r', '').splitlines()
    end = console.index('end of list')
    expected = images_run.listing_of(tmp_path / 'bundle' / 'rootfs')
    assert len(expected) > 12
    assert sorted(console[end - len(expected):end]) == expected


def test_life(server, builder, upload, converted, cloud):
    """Writes are kept, and are the server's own."""
    image = upload('disk', converted(builder.probe(), 'qcow2'),
                   disk_format='qcow2')
    made = server(image)
    cloud.wait_console(made, 'probe: up', 60)
    address = cloud.address(made)
    cloud_lib.shell(address, 'echo mine >/etc/mine; sync')
    cloud.compute.reboot_server(made.id, 'HARD')
    cloud.wait(made, 'ACTIVE')
    cloud.wait_console(made, 'probe: up', 60)
    assert cloud_lib.shell(address, 'cat /etc/mine') == 'mine\n'
    other = server(image)
    cloud.wait_console(other, 'probe: up', 60)
    assert 'mine' not in cloud_lib.shell(cloud.address(other), 'ls /etc')


def test_backing_file(server, upload, cloud, tmp_path):
    """The oldest trick: a qcow2 on a file of the host."""
    path = tmp_path / 'evil.qcow2'
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw',
                    '-b', '/etc/passwd', str(path), '1M'], check=True)
    made = server(upload('evil', path, disk_format='qcow2'), wait='ERROR')
    assert 'could refer to other files' in cloud.compute.get_server(
        made.id).fault['message']
