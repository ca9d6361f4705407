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



"""Servers that go on while parts of their host start again."""

import pathlib
import subprocess

import pytest

from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import host as host_lib
from tests.e2e import profiles

pytestmark = pytest.mark.slow

TRANSPORTS = ['default', 'virtiofs', 'block', 'share-overlay']
HEALTHCHECK = 'HEALTHCHECK --interval=1s --retries=1 CMD test ! -e /sick\n'


@pytest.fixture(scope='module')
def checked(cloud, builder):
    """The probe with a health check, which /sick lets fail."""
    made = cloud.upload('e2e-checked', builder.probe(HEALTHCHECK))
    yield made
    cloud.sdk.image.delete_image(made.id)


def boot_id(address):
    return cloud_lib.shell(address, 'cat /proc/sys/kernel/random/boot_id')


def is_told_of(cloud, made):
    """Whether what the guest reports reaches the metadata."""
    address = cloud.address(made)
    cloud_lib.shell(address, 'touch /sick')
    cloud.wait_metadata(made, 'containervm_health', 'unhealthy')
    cloud_lib.shell(address, 'rm /sick')
    cloud.wait_metadata(made, 'containervm_health', 'healthy')


def stop_and_start(cloud, made, written):
    """Stop and start a server that has written something."""
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    cloud.wait_metadata(made, 'containervm_exit_code', '42')
    cloud.compute.start_server(made.id)
    cloud.wait(made, 'ACTIVE')
    assert cloud_lib.shell(cloud.address(made),
                           'cat /srv/data/file') == written


def virsh(*arguments):
    return subprocess.run(
        ['virsh', '-c', host_lib.LIBVIRT_URI, *arguments], check=True,
        capture_output=True, text=True).stdout


@pytest.mark.parametrize('profile', TRANSPORTS, indirect=True)
@pytest.mark.parametrize('how', ['restart', 'kill', 'libvirtd'])
def test_service(profile, server, checked, cloud, how):
    """nova-compute or libvirtd; a server does not notice."""
    made = server(checked, flavor='c1.tiny')
    address = cloud.address(made)
    cloud_lib.shell(address, 'echo before >/srv/data/file')
    before = boot_id(address)
    cloud.wait_metadata(made, 'containervm_health', 'healthy', 60)
    if how == 'restart':
        aio.run('restart', 'nova-compute')
    elif how == 'kill':
        with aio.without('nova-compute'):
            assert cloud_lib.answers(address)
    else:
        aio.run('restart', 'libvirtd')
        # Nova takes a host whose libvirtd is away for one that is down.
        cloud.until(lambda: [s for s in cloud.compute.services()
                             if s.binary == 'nova-compute'],
                    lambda found: all(s.status == 'enabled' and s.state == 'up'
                                      for s in found), 120, 'nova-compute')
    assert boot_id(address) == before
    assert cloud.compute.get_server(made.id).status == 'ACTIVE'
    is_told_of(cloud, made)
    stop_and_start(cloud, made, 'before\n')
    is_told_of(cloud, made)
    other = server(checked, flavor='c1.tiny')
    assert cloud_lib.answers(cloud.address(made))
    cloud_lib.http_get(cloud.address(other))


def power_cut(host):
    """What a host has left of its servers when its power comes back."""
    for name in host.domains():
        if virsh('domstate', name).strip() != 'shut off':
            virsh('destroy', name)
    # What is mounted over something goes first.
    mounts = [line.split(' ')[4] for line in
              pathlib.Path('/proc/self/mountinfo').read_text().splitlines()]
    top = '%s/' % host.path.resolve()
    for point in reversed(mounts):
        if point.startswith(top):
            subprocess.run(['umount', point], check=True)
    assert not host.mounts()


@pytest.mark.parametrize('profile', [*TRANSPORTS, 'share-copy'],
                         indirect=True)
def test_reboot_of_the_host(profile, server, probe, cloud, host, configured,
                            own_settings):
    """With resume_guests_state_on_host_boot; writes are kept."""
    made = server(probe, flavor='c1.tiny')
    off = server(probe, flavor='c1.tiny')
    for each in (made, off):
        cloud_lib.shell(cloud.address(each),
                        'echo before >/srv/data/file; sync')
    cloud.compute.stop_server(off.id)
    cloud.wait(off, 'SHUTOFF')
    before = boot_id(cloud.address(made))

    aio.kill('nova-compute')
    power_cut(host)
    aio.reconfigure({**configured.settings,
                     'DEFAULT.resume_guests_state_on_host_boot': 'true'},
                    configured.qemu_user)
    address = cloud.address(made)
    cloud.until(lambda: cloud_lib.answers(address), bool, 120, 'answer')
    assert boot_id(address) != before
    assert cloud_lib.shell(address, 'cat /srv/data/file') == 'before\n'
    cloud.wait(made, 'ACTIVE')
    cloud.wait_metadata(made, 'containervm_state', 'running')
    stop_and_start(cloud, made, 'before\n')
    # The other one is still as its user wants it.
    assert cloud.compute.get_server(off.id).status == 'SHUTOFF'
    cloud.compute.start_server(off.id)
    cloud.wait(off, 'ACTIVE')
    assert cloud_lib.shell(cloud.address(off),
                           'cat /srv/data/file') == 'before\n'
    for each in (made, off):
        for disk in host.disk_files(each.id):
            host.check_disk(disk)


@pytest.mark.parametrize('old, new', [
    ('default', 'block'), ('block', 'default'), ('virtiofs', 'default'),
    ('share-overlay', 'default'), ('default', 'share-copy')])
def test_change_of_settings(server, checked, cloud, host, own_settings, old,
                            new):
    """A server goes on as it was made; the next is made the new way."""
    def use(name):
        aio.reconfigure(profiles.PROFILES[name].settings,
                        profiles.PROFILES[name].qemu_user)

    use(old)
    made = server(checked, flavor='c1.tiny')
    address = cloud.address(made)
    cloud_lib.shell(address, 'echo before >/srv/data/file; sync')
    use(new)
    assert cloud_lib.shell(address, 'cat /srv/data/file') == 'before\n'
    is_told_of(cloud, made)
    before = boot_id(address)
    cloud.compute.reboot_server(made.id, 'HARD')
    cloud.wait(made, 'ACTIVE')
    cloud.until(lambda: cloud_lib.answers(address) and boot_id(address),
                lambda now: now and now != before, 60, 'new boot')
    assert host.transport(made.id) == profiles.PROFILES[old].transport
    stop_and_start(cloud, made, 'before\n')
    other = server(checked, flavor='c1.tiny')
    cloud_lib.http_get(cloud.address(other))
    assert host.transport(other.id) == profiles.PROFILES[new].transport
    # Its image is fetched again, in the form that it needs.
    cloud.compute.rebuild_server(made.id, image=checked.id)
    cloud.wait(made, 'ACTIVE', 180)
    assert cloud_lib.shell(address, 'ls -A /srv/data') == ''
