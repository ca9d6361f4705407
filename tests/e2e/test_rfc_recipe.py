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


"""The RFC's recipe to the letter.

The cloud base image boots from its disk, with cloud-init; the container's
root is a writable copy for each server, shared in passthrough mode by a QEMU
that runs as root; cloud-init mounts it (mount -t 9p) and runs it by chroot.
See the documentation, "The RFC's recipe".
"""

import subprocess
import xml.etree.ElementTree as etree

import pytest

from tests.e2e import cloud as cloud_lib
from tests.e2e import host as host_lib

# Making its base image, and one boot of it, take as long as fifteen of the
# other tests.
pytestmark = [pytest.mark.profile('rfc'), pytest.mark.slow]

# systemd and cloud-init under TCG: 76 s on an idle host
BOOT = 400


def domain(made):
    return etree.fromstring(subprocess.run(
        ['virsh', '-c', host_lib.LIBVIRT_URI, 'dumpxml', made.id],
        check=True, capture_output=True, text=True).stdout)


def test_nginx(server, image, cloud, host):
    made = server(image('nginx'))
    # It is the recipe, and not something that works better.
    xml = domain(made)
    share = xml.find('./devices/filesystem')
    assert share.get('accessmode') == 'passthrough'
    assert share.find('driver') is None or (
        share.find('driver').get('type') in (None, 'path'))
    assert share.find('readonly') is None
    assert xml.find('./os/kernel') is None

    status, page = cloud_lib.http_get(cloud.address(made), timeout=BOOT)
    assert status == 200
    assert 'It works' in page
    rootfs = host.rootfs(made.id)
    pid_file = rootfs / 'run' / 'nginx.pid'
    assert pid_file.read_text().strip().isdigit()
    # A copy: one file system with the host's own, not an overlay.
    kind = subprocess.run(['stat', '-f', '-c', '%T', str(rootfs)],
                          check=True, capture_output=True, text=True).stdout
    assert kind != 'overlayfs\n'
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF', 120)


def test_second_boot(server, image, cloud):
    """cloud-init runs it on every boot."""
    made = server(image('nginx'))
    assert cloud_lib.http_get(cloud.address(made), timeout=BOOT)[0] == 200
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF', 120)
    cloud.compute.start_server(made.id)
    cloud.wait(made, 'ACTIVE')
    assert cloud_lib.http_get(cloud.address(made), timeout=BOOT)[0] == 200


def test_one_shot(server, image, cloud):
    made = server(image('exit3'), wait=None)
    cloud.wait(made, 'SHUTOFF', BOOT)
    assert 'about to exit with 3' in cloud.console(made)
    cloud.wait_metadata(made, 'containervm_exit_code', '3')
