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



"""What is left when parts of a cloud die in the middle of something.

After each: what Nova shows is true, the next operation works, and nothing is
left on the host (clean_host).
"""

import json
import pathlib
import shutil
import subprocess
import time

import pytest

from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import host as host_lib

pytestmark = pytest.mark.slow

TRANSPORTS = ['default', 'virtiofs', 'block', 'share-overlay']
each_transport = pytest.mark.parametrize('profile', TRANSPORTS, indirect=True)


def reached(condition, what, timeout=90):
    """Wait for a moment that passes soon."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, 'never ' + what
        time.sleep(0.01)


def virsh(*arguments):
    return subprocess.run(
        ['virsh', '-c', host_lib.LIBVIRT_URI, *arguments], check=True,
        capture_output=True, text=True).stdout


def domain(made):
    """The name of a server's domain."""
    return made.instance_name


def is_running(name):
    """Whether there is a domain of that name, and it runs."""
    return name in virsh('list', '--name').split()


def works(cloud, made):
    """A server runs, answers, and can write."""
    assert cloud_lib.shell(
        cloud.address(made),
        'echo x >/srv/data/works && sync && rm /srv/data/works && echo yes'
    ) == 'yes\n'
    assert cloud.compute.get_server(made.id).status == 'ACTIVE'


def next_one_works(server, image, cloud):
    works(cloud, server(image, flavor='c1.tiny'))


# kill -9 of nova-compute

@pytest.fixture
def killed(settings, configured):
    """A function: nova-compute is killed at a moment, and started again."""
    process = aio.pid('nova-compute')

    def kill(condition, what):
        reached(condition, what)
        with aio.without('nova-compute', process):
            pass
    return kill


def staged_bytes(host):
    """How much of an image is on the host before all of it is."""
    total = 0
    for path in host.store.glob('*/tmp/*/**/*'):
        try:
            if path.is_file():
                total += path.stat().st_size
        except OSError:
            continue  # just gone
    return total


@each_transport
@pytest.mark.parametrize('point', ['download', 'unpacking', 'disk', 'domain'])
def test_killed_in_create(profile, server, large, cloud, host, killed, point):
    before = host.state()
    made = server(large, wait=None, flavor='c1.tiny')
    killed({
        'download': host.staging,
        'unpacking': lambda: staged_bytes(host) > 40 << 20,
        'disk': (host.instances / made.id / 'disk').exists,
        'domain': lambda: host.domains() - before['domains'],
    }[point], point)
    # Nova does not go on with it, and says so.
    made = cloud.wait(made, 'ERROR')
    assert not host.staging()
    cloud.delete(made)
    host.assert_as_before(before)
    next_one_works(server, large, cloud)


@each_transport
@pytest.mark.parametrize('point', ['asked', 'domain'])
def test_killed_in_delete(profile, server, probe, cloud, host, killed, point):
    """It is deleted when nova-compute is back."""
    before = host.state()
    made = server(probe, flavor='c1.tiny')
    works(cloud, made)
    cloud.compute.delete_server(made.id)
    killed({
        'asked': lambda: cloud.compute.get_server(made.id).task_state ==
        'deleting',
        'domain': lambda: not host.domains() - before['domains'],
    }[point], point)
    cloud.compute.wait_for_delete(made, interval=0.5, wait=120)
    host.assert_as_before(before)
    next_one_works(server, probe, cloud)


@pytest.fixture
def images(cloud):
    """Deletes the images that a test gives a name that begins so."""
    yield 'e2e-fault-'
    for image in cloud.sdk.image.images():
        if image.name.startswith('e2e-fault-'):
            cloud.sdk.image.delete_image(image.id)


def begin_snapshot(cloud, made, name):
    """Ask for an image of a server; return a function that looks at it."""
    cloud.compute.create_server_image(made.id, name, wait=False)
    return lambda: next(iter(cloud.sdk.image.images(name=name)), None)


def notes(host, name):
    """Whether a snapshot has got somewhere."""
    return list((host.instances / 'snapshots').glob('*/' + name))


def snapshot_works(cloud, made, name):
    cloud.compute.create_server_image(made.id, name, wait=True, timeout=300)
    image = next(iter(cloud.sdk.image.images(name=name)))
    assert image.status == 'active'
    return image


SNAPSHOT_POINTS = {'default': ['frozen', 'copying', 'upload'],
                   'virtiofs': ['copying'],
                   'block': ['frozen', 'upload'],
                   'share-overlay': ['paused', 'upload']}


@pytest.mark.parametrize('profile, point', [
    (profile, point) for profile, points in SNAPSHOT_POINTS.items()
    for point in points], indirect=['profile'])
def test_killed_in_snapshot(profile, server, probe, cloud, host, images,
                            killed, point):
    """The server goes on, and the next image is a whole one."""
    made = server(probe, flavor='c1.tiny')
    cloud_lib.shell(cloud.address(made),
                    'head -c 100000000 /dev/urandom >/srv/data/much; sync')
    image = begin_snapshot(cloud, made, images + 'killed')
    killed(lambda: (image() and image().status == 'saving')
           if point == 'upload' else notes(host, point), point)
    cloud.wait(made, 'ACTIVE')
    works(cloud, made)
    assert not notes(host, '*')
    # Nova leaves what it has begun, as it does with any server.
    assert image().status != 'active'
    other = server(snapshot_works(cloud, made, images + 'whole'),
                   flavor='c1.tiny')
    assert cloud_lib.shell(cloud.address(other),
                           'wc -c </srv/data/much') == '100000000\n'


def test_machine_that_reads_a_disk_dies(server, probe, cloud, host, images):
    """In the snapshot of a stopped server, which is as it was; no image."""
    made = server(probe, flavor='c1.tiny')
    cloud_lib.shell(cloud.address(made),
                    'head -c 100000000 /dev/urandom >/srv/data/much; sync')
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    since = aio.log_end('nova-compute')
    image = begin_snapshot(cloud, made, images + 'cut')
    machine = 'containervm-export-' + made.id
    # Before that, libvirt may still be about to start it.
    reached(lambda: image() and image().status == 'saving', 'upload')
    virsh('destroy', machine)
    cloud.until(lambda: notes(host, '*'), lambda n: not n, 30,
                'end of the snapshot')
    cloud.until(lambda: cloud.compute.get_server(made.id).task_state,
                lambda state: state is None, 30, 'end of the task')
    assert image() is None or image().status != 'active'
    assert cloud.compute.get_server(made.id).status == 'SHUTOFF'
    said = aio.log('nova-compute', since)
    assert 'The disk of server %s could not be read' % made.id in said
    # The end of its console is not for everybody to read.
    assert 'Permission denied' not in said
    snapshot_works(cloud, made, images + 'whole')
    cloud.compute.start_server(made.id)
    cloud.wait(made, 'ACTIVE')
    works(cloud, made)


@pytest.mark.parametrize('profile', ['default', 'virtiofs', 'block'],
                         indirect=True)
@pytest.mark.parametrize('action', ['stop', 'start', 'reboot', 'rebuild'])
def test_killed_in_action(profile, server, probe, cloud, host, killed, action):
    """What is shown is true, and a hard reboot makes it right."""
    made = server(probe, flavor='c1.tiny')
    works(cloud, made)
    name = domain(made)
    compute = cloud.compute
    if action == 'start':
        compute.stop_server(made.id)
        cloud.wait(made, 'SHUTOFF')
    {'stop': lambda: compute.stop_server(made.id),
     'start': lambda: compute.start_server(made.id),
     'reboot': lambda: compute.reboot_server(made.id, 'HARD'),
     'rebuild': lambda: compute.rebuild_server(made.id, image=probe.id),
     }[action]()
    if action == 'start':
        killed(lambda: host.mounts() or is_running(name), 'begun')
    else:
        killed(lambda: not is_running(name), 'off')
    made = cloud.until(
        lambda: compute.get_server(made.id),
        lambda s: not s.task_state, 120, 'end of the task')
    running = is_running(name)
    print('%s, and the domain is %s' % (
        made.status, 'running' if running else 'off'))
    if made.status in ('ACTIVE', 'SHUTOFF'):
        # It is corrected by what libvirt says, if need be.
        cloud.wait(made, 'ACTIVE' if running else 'SHUTOFF', 60)
    else:
        assert made.status == 'ERROR'
        assert action == 'rebuild', made
    if action == 'rebuild':
        compute.rebuild_server(made.id, image=probe.id)
        cloud.until(lambda: compute.get_server(made.id),
                    lambda s: s.status == 'ACTIVE' and not s.task_state, 120,
                    'rebuilt server')
    else:
        compute.reboot_server(made.id, 'HARD')
        cloud.wait(made, 'ACTIVE')
    works(cloud, made)


# Glance is gone

@each_transport
def test_no_glance_in_create(profile, server, large, cloud, host):
    made = server(large, wait=None, flavor='c1.tiny')
    reached(host.staging, 'download')
    with aio.without('glance'):
        made = cloud.wait(made, 'ERROR')
        print(made.fault)
        assert not host.staging()
        assert not (host.instances / made.id).exists()
    next_one_works(server, large, cloud)


@pytest.mark.parametrize('profile', ['default', 'block', 'share-overlay'],
                         indirect=True)
def test_no_glance_in_snapshot(profile, server, probe, cloud, host, images):
    made = server(probe, flavor='c1.tiny')
    cloud_lib.shell(cloud.address(made),
                    'head -c 100000000 /dev/urandom >/srv/data/much; sync')
    image = begin_snapshot(cloud, made, images + 'cut')
    reached(lambda: image() and image().status == 'saving', 'saving')
    with aio.without('glance'):
        cloud.wait(made, 'ACTIVE')
        works(cloud, made)
        cloud.until(lambda: notes(host, '*'), lambda n: not n, 30,
                    'end of the snapshot')
    assert image() is None or image().status != 'active'
    snapshot_works(cloud, made, images + 'whole')


@each_transport
def test_no_glance_in_start(profile, server, probe, cloud):
    """A server whose image is on the host needs none."""
    made = server(probe, flavor='c1.tiny')
    works(cloud, made)
    with aio.without('glance'):
        cloud.compute.stop_server(made.id)
        cloud.wait(made, 'SHUTOFF')
        cloud.compute.start_server(made.id)
        cloud.wait(made, 'ACTIVE')
        works(cloud, made)
        cloud.compute.reboot_server(made.id, 'HARD')
        cloud.wait(made, 'ACTIVE')
        works(cloud, made)


# The base VM image

@pytest.fixture
def replaced():
    """A function: put another base VM image in place of the usual one."""
    place = aio.directory() / 'base' / 'minimal'
    kept = place.with_name('e2e-kept')
    shutil.copytree(place, kept)

    def replace():
        disk = place / 'base.qcow2'
        # The same content in another form, so another digest
        subprocess.run(['qemu-img', 'convert', '-O', 'qcow2', '-o',
                        'cluster_size=128k', str(disk), '%s.new' % disk],
                       check=True)
        pathlib.Path('%s.new' % disk).rename(disk)
        manifest = json.loads((place / 'manifest.json').read_text())
        before = manifest['disk']['sha256']
        manifest['disk']['sha256'] = subprocess.run(
            ['sha256sum', str(disk)], check=True, capture_output=True,
            text=True).stdout.split()[0]
        assert manifest['disk']['sha256'] != before
        (place / 'manifest.json').write_text(json.dumps(manifest))
        return manifest['disk']['sha256']

    yield replace
    for path in kept.iterdir():
        shutil.copyfile(path, place / path.name)
    shutil.rmtree(kept)


def backing(host, made):
    """What the disk of a server is based on."""
    info = subprocess.run(
        ['qemu-img', 'info', '-U', '--output=json',
         str(host.instances / made.id / 'disk')], check=True,
        capture_output=True, text=True).stdout
    return json.loads(info)['backing-filename']


@pytest.mark.parametrize('profile', ['default', 'block'], indirect=True)
def test_base_image_is_replaced(profile, server, probe, cloud, host, replaced,
                                own_settings):
    """Servers go on with theirs, new ones have the new one."""
    made = server(probe, flavor='c1.tiny')
    cloud_lib.shell(cloud.address(made), 'echo before >/srv/data/file; sync')
    digest = replaced()

    def restart_it():
        cloud.compute.reboot_server(made.id, 'HARD')
        cloud.wait(made, 'ACTIVE')
        assert cloud_lib.shell(cloud.address(made),
                               'cat /srv/data/file') == 'before\n'

    # Also before nova-compute has looked at it.
    restart_it()
    next_one_works(server, probe, cloud)
    aio.run('restart', 'nova-compute')
    restart_it()
    other = server(probe, flavor='c1.tiny')
    works(cloud, other)
    assert digest[:40] in backing(host, other)
    assert digest[:40] not in backing(host, made)


# A domain goes behind Nova's back

def has_its_file(cloud, made):
    cloud.wait(made, 'ACTIVE')
    assert cloud_lib.shell(cloud.address(made),
                           'cat /srv/data/file') == 'before\n'


@each_transport
def test_domain_is_destroyed(profile, server, probe, cloud):
    """Nova shows that, and starts it again."""
    made = server(probe, flavor='c1.tiny')
    cloud_lib.shell(cloud.address(made), 'echo before >/srv/data/file; sync')
    virsh('destroy', domain(made))
    cloud.wait(made, 'SHUTOFF', 90)
    cloud.compute.start_server(made.id)
    has_its_file(cloud, made)
    works(cloud, made)


@each_transport
@pytest.mark.parametrize('then', ['reboot', 'delete'])
def test_domain_is_undefined(profile, server, probe, cloud, host, then):
    """As if libvirt had forgotten it."""
    before = host.state()
    made = server(probe, flavor='c1.tiny')
    cloud_lib.shell(cloud.address(made), 'echo before >/srv/data/file; sync')
    virsh('destroy', domain(made))
    virsh('undefine', domain(made))
    if then == 'reboot':
        # Nova waits for it to come back, as it does with any server.
        cloud.compute.reboot_server(made.id, 'HARD')
        has_its_file(cloud, made)
        works(cloud, made)
    else:
        cloud.delete(made)
        host.assert_as_before(before)
