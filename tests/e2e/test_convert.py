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

"""Images that were made disks of before their upload; some boot."""

import base64
import os
import subprocess

import pytest

from nova_containervm.cli import image as cli
from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import containers
from tests.e2e import test_images_run as images_run

pytestmark = pytest.mark.slow
block = pytest.mark.profile('block')
# nova-compute as if it had no driver of ours
off = pytest.mark.profile('off')

# The image's VOLUME: a mount of its own, filled from the image
VOLUME = "grep -o ' /volume ext4 rw' /proc/mounts; cat /volume/*"


@pytest.fixture
def converted(tmp_path):
    """A function: an archive and options -> the disk's path."""
    def convert(archive, suffix, *options):
        path = tmp_path / ('disk.' + suffix)
        assert cli.main(['convert', *options, str(archive), str(path)]) == 0
        return path
    return convert


@block
@pytest.mark.parametrize('options, suffix', [
    (('--format', 'erofs', '--compress'), 'qcow2'),
    (('--format', 'squashfs'), 'raw'), (('--format', 'ext4'), 'qcow2'),
    (('--format', 'ext4', '--method', 'guestfs'), 'qcow2')])
def test_files_are_what_umoci_makes_of_them(
        server, builder, upload, converted, cloud, tmp_path, monkeypatch,
        options, suffix):
    # Wherever this runs: libguestfs would take a KVM that does not work.
    monkeypatch.setenv('LIBGUESTFS_BACKEND_SETTINGS', 'force_tcg')
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


@block
def test_life(server, builder, upload, converted, cloud):
    """Writes are kept, and are the server's own."""
    image = upload('disk', converted(builder.probe(), 'qcow2'),
                   disk_format='qcow2')
    made = server(image)
    cloud.wait_console(made, 'probe: up', 60)
    address = cloud.address(made)
    assert cloud_lib.shell(address, VOLUME) == ' /volume ext4 rw\n1\n2\n'
    cloud_lib.shell(address, 'echo mine | tee /etc/mine >/volume/mine; sync')
    cloud.compute.reboot_server(made.id, 'HARD')
    cloud.wait(made, 'ACTIVE')
    cloud.wait_console(made, 'probe: up', 60)
    assert cloud_lib.shell(
        address, 'cat /etc/mine /volume/mine') == 'mine\nmine\n'
    other = server(image)
    cloud.wait_console(other, 'probe: up', 60)
    assert 'mine' not in cloud_lib.shell(cloud.address(other), 'ls /etc')


@block
def test_backing_file(server, upload, cloud, tmp_path):
    """The oldest trick: a qcow2 on a file of the host."""
    path = tmp_path / 'evil.qcow2'
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw',
                    '-b', '/etc/passwd', str(path), '1M'], check=True)
    made = server(upload('evil', path, disk_format='qcow2'), wait='ERROR')
    assert 'could refer to other files' in cloud.compute.get_server(
        made.id).fault['message']


@pytest.fixture
def bootable(converted, upload):
    """A function: an archive and options -> an image that boots by itself."""
    base = os.path.dirname(aio.base_image('bootable'))

    def make(archive, *options):
        return upload('bootable', converted(
            archive, 'qcow2', '--bootable', '--base', base, *options),
            container_format='bare', disk_format='qcow2')
    return make


OWN = 'CMD ["/bin/sh", "-c", "echo by $WHO $SINGLE; exit 3"]\n'


@off
@pytest.mark.parametrize('config_drive', [True, False])
def test_bootable(server, builder, bootable, cloud, config_drive):
    """A container on a Nova that knows of none, as any other server."""
    image = bootable(builder.probe(), '--property',
                     'containervm_env_SINGLE=one')
    made = server(image, config_drive=config_drive, flavor='c1.small',
                  metadata={'containervm_env_WHO': 'metadata',
                            'containervm_user': 'root'},
                  user_data=base64.b64encode(
                      b'#containervm\nenv: {WHO: document}\n').decode())
    cloud.wait_console(made, 'probe: up as 0:0', 180)
    address = cloud.address(made)
    name = cloud_lib.shell(address, 'hostname').strip()
    assert name == made.name.lower()
    assert cloud_lib.shell(
        address, "tr '\\0' '\\n' </proc/1/environ | grep -E '^(WHO|SINGLE)=' "
                 '| sort') == 'SINGLE=one\nWHO=document\n'
    # Nova's disk of the flavor, 5 GiB, for the container to write to
    free = int(cloud_lib.shell(
        address, "df -m / | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4"))
    assert 4500 < free < 5120
    assert cloud_lib.shell(address, VOLUME) == ' /volume ext4 rw\n1\n2\n'
    cloud_lib.shell(address, 'echo mine | tee /etc/mine >/volume/mine; sync')
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    cloud.compute.start_server(made.id)
    cloud.wait(made, 'ACTIVE')
    cloud.until(lambda: cloud_lib.answers(address), bool, 180, 'answer')
    assert cloud_lib.shell(address, 'cat /etc/mine /volume/mine /stopped') == (
        'mine\nmine\nclean\n')


@off
def test_bootable_ends(server, builder, bootable, cloud):
    """The server ends with its container."""
    made = server(bootable(builder.build(containers.BASE + OWN)), wait=None,
                  config_drive=True, flavor='c1.tiny',
                  metadata={'containervm_env_WHO': 'me'})
    cloud.ends_by_itself(made, 300)


@block
def test_bootable_beside_containers(server, probe, builder, bootable, cloud):
    """The same image on a host with our driver, which leaves it alone."""
    container = server(probe)
    made = server(bootable(builder.probe()), flavor='c1.small')
    for each in (container, made):
        cloud.wait_console(each, 'probe: up', 180)
        assert cloud_lib.shell(cloud.address(each), 'echo here') == 'here\n'
