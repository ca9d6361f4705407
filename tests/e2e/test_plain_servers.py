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


"""Servers whose image is no docker image: LibvirtDriver's, in everything."""

import re
import socket
import subprocess

import pytest

from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import host as host_lib

KINDS = ('qcow2', 'raw', 'kernel')


def check(cloud, made):
    """The guest of plain.py is up, with its flavor's disk and its address."""
    console = cloud.wait_console(made, 'plain: up')
    assert 'plain: vda has 1024 MiB' in console
    address = cloud.address(made)
    assert 'plain: address %s/24' % address in console
    assert cloud_lib.http_get(address) == (200, 'plain\n')


def domain(made):
    """The domain's XML, as libvirt keeps it, with AIO for $AIO_DIR."""
    xml = subprocess.run(
        ['virsh', '-c', host_lib.LIBVIRT_URI, 'dumpxml', '--inactive',
         made.id], check=True, capture_output=True, text=True).stdout
    return xml.replace(str(aio.directory()), 'AIO')


def test_beside_container_servers(server, probe, plain_image, cloud, host):
    """All kinds at once on one host, and all reachable."""
    container = server(probe, flavor='c1.tiny')
    made = [server(plain_image(kind), flavor='c1.tiny', wait=None)
            for kind in KINDS]
    for each in made:
        cloud.wait(each, 'ACTIVE')
        check(cloud, each)
        names = {p.name for p in (host.instances / each.id).iterdir()}
        assert not names & {'containervm', 'rootfs', 'rootfs.rw',
                            'disk.config'}, names
        xml = domain(each)
        assert 'containervm' not in xml
        assert '<filesystem' not in xml
        assert not cloud.compute.get_server(each.id).metadata
    assert cloud_lib.answers(cloud.address(container))
    # Operations that container servers refuse work for the others.
    cloud.compute.suspend_server(made[0].id)
    cloud.wait(made[0], 'SUSPENDED')
    cloud.compute.resume_server(made[0].id)
    cloud.wait(made[0], 'ACTIVE')
    cloud.compute.stop_server(made[0].id)
    cloud.wait(made[0], 'SHUTOFF')
    # Of a server that does not run, LibvirtDriver gives no console log.
    log = host.instances / made[0].id / 'console.log'
    assert 'plain: power button' in log.read_text(errors='replace')
    image = cloud.compute.create_server_image(
        made[0].id, 'e2e-plain-snapshot', wait=True, timeout=300)
    try:
        image = cloud.sdk.image.get_image(image.id)
        assert (image.disk_format, image.container_format) == ('qcow2', 'bare')
        # More than Glance's client sends in one piece
        assert image.size > 2 << 20
        check(cloud, server(image, flavor='c1.tiny'))
    finally:
        cloud.sdk.image.delete_image(image.id)


def hosts_for_containers(cloud):
    """What the scheduler finds when it looks for hosts with our trait."""
    return cloud.sdk.placement.get(
        '/resource_providers', params={'required': 'CUSTOM_CONTAINERVM'},
        microversion='1.18').json()['resource_providers']


def comparable(xml):
    """A domain without the time of its making."""
    return re.sub(r'<nova:creationTime>[^<]*</nova:creationTime>', '',
                  re.sub(r'<nova:package [^>]*/>', '', xml))


def test_domains_are_libvirtdrivers(server, plain_image, cloud, own_settings):
    """Of the same server: by ours, by ours switched off, by Nova's own."""
    made = [server(plain_image(kind), flavor='c1.tiny') for kind in KINDS]
    settings = {
        'ours': {},
        'ours, off': {'libvirt.sub_virt_type': None,
                      'libvirt.base_vm_image': None},
        'LibvirtDriver': {'DEFAULT.compute_driver': 'libvirt.LibvirtDriver',
                          'libvirt.sub_virt_type': None,
                          'libvirt.base_vm_image': None},
    }
    seen = {}
    for name, values in settings.items():
        aio.reconfigure(values)
        for each in made:
            cloud.compute.reboot_server(each.id, 'HARD')
        for each in made:
            cloud.wait(each, 'ACTIVE')
        seen[name] = [comparable(domain(each)) for each in made]
    assert seen['ours'] == seen['LibvirtDriver']
    assert seen['ours, off'] == seen['LibvirtDriver']
    assert '<kernel>' in seen['ours'][KINDS.index('kernel')]


@pytest.mark.profile('off')
def test_switched_off(server, probe, plain_image, cloud):
    """A docker image is what LibvirtDriver makes of it: a raw disk."""
    made = server(plain_image('qcow2'), flavor='c1.tiny')
    check(cloud, made)
    assert not hosts_for_containers(cloud)
    # Only who names the host gets there.
    docker = server(probe, flavor='c1.tiny',
                    availability_zone='nova:' + socket.gethostname())
    xml = domain(docker)
    assert 'containervm' not in xml
    assert '<filesystem' not in xml


@pytest.mark.profile('off')
def test_no_host_takes_docker_images(server, probe, cloud):
    made = server(probe, flavor='c1.tiny', wait='ERROR')
    words = made.fault['message']
    assert 'none of the 1 hosts that have room for the server' in words, words


def test_switched_on(cloud):
    """The trait by which the scheduler finds hosts for docker images."""
    assert len(hosts_for_containers(cloud)) == 1
