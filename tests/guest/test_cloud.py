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

"""The cloud image, and the contract run in it through vendor-data.

Slow: minutes, most of them to build the image. CONTAINERVM_CLOUD_IMAGE may
name a directory that has one.
"""

import json
import os

import pytest

from nova_containervm.baseimage import cloud as cloud_builder
from nova_containervm.baseimage import manifest
from nova_containervm.cli import baseimage as cli
from nova_containervm.guest import cloud
from tests.guest import contract as contracts
from tests.guest import vm as vm_lib

MAC = 'fa:16:3e:12:34:56'

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def cloud_image(tmp_path_factory):
    given = os.environ.get('CONTAINERVM_CLOUD_IMAGE')
    if given:
        return given
    output = tmp_path_factory.mktemp('cloud')
    cloud_builder.build(output, cli.default_cache(), lambda text: None)
    return output


def drive_files(values):
    network = {
        'links': [{'id': 'l0', 'type': 'phy', 'mtu': 1450,
                   'ethernet_mac_address': MAC}],
        'networks': [{'id': 'n0', 'type': 'ipv4', 'link': 'l0',
                      'ip_address': '10.0.2.15',
                      'netmask': '255.255.255.0',
                      'routes': [{'network': '0.0.0.0', 'netmask': '0.0.0.0',
                                  'gateway': '10.0.2.2'}]}],
        'services': [{'type': 'dns', 'address': '10.0.2.3'}]}
    documents = {
        'meta_data': {'uuid': values['CVM_INSTANCE'], 'hostname': 'web1',
                      'name': 'web1'},
        'network_data': network,
        'vendor_data': cloud.merge_vendor_data({}),
    }
    files = {f'openstack/latest/{name}.json': json.dumps(value).encode()
             for name, value in documents.items()}
    files['containervm/guest.env'] = contracts.guest_env(values).encode()
    files.update((f'containervm/{name}', content)
                 for name, content in cloud.guest_files().items())
    return files


def test_manifest(cloud_image):
    content = manifest.verify(cloud_image)
    assert content['type'] == 'cloud'
    assert content['boot_methods'] == ['disk']
    assert 'cloud-init' in content['packages']


def test_container_runs(cloud_image, rootfs, tmp_path):
    """Output, network and the grown disk; again at the second boot."""
    vm = vm_lib.VM(cloud_image, tmp_path / 'vm', rootfs=rootfs, boot='disk',
                   memory=512, disk_size='5G',
                   nics=[{'backend': 'user,net=10.0.2.0/24', 'mac': MAC}])
    values = contracts.values(
        ('sh', '-c', 'echo hello; ip addr show | grep -o "inet 10[^ ]*"; '
                     'df -m / | tail -1; exit 3'), runtime='chroot')
    contracts.config_drive(vm.work / 'disk.config', drive_files(values),
                           vm.work)
    try:
        for _boot in range(2):
            vm.run(600)
            lines = vm.console().splitlines()
            start = lines.index('hello')
            assert lines[start + 1] == 'inet 10.0.2.15/24'
            assert 4500 < int(lines[start + 2].split()[1]) < 5120
            assert vm.event('exited')['code'] == 3
    finally:
        vm.kill()
