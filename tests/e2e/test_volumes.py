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


"""Cinder volumes: attached to a server, and mounted in its container."""

import pytest

from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import profiles

# Makes the device of a disk, for a container's /dev is as old as itself, and
# prints its name. virtio shows the first 20 characters of a volume's id.
FIND = '''
for disk in /sys/block/vd*; do
    if [ "$(cat $disk/serial)" = %s ]; then
        rm -f /dev/${disk##*/}
        mknod /dev/${disk##*/} b $(tr : ' ' <$disk/dev)
        echo /dev/${disk##*/}
    fi
done
'''


def disks(image, *volumes):
    """The list of disks of a server that is created with volumes."""
    return [{'source_type': 'image', 'destination_type': 'local',
             'uuid': image.id, 'boot_index': 0,
             'delete_on_termination': True},
            *({'source_type': 'volume', 'destination_type': 'volume',
               'uuid': volume.id, 'boot_index': -1} for volume in volumes)]


def attach(cloud, server, volume):
    cloud.compute.create_volume_attachment(server, volume)
    cloud.wait_volume(volume, 'in-use')


def detach(cloud, server, volume):
    cloud.compute.delete_volume_attachment(server, volume)
    cloud.wait_volume(volume, 'available')


def device(address, volume):
    """The device of a volume in a privileged container; '' for none."""
    return cloud_lib.shell(address, FIND % volume.id[:20]).strip()


def wait_device(cloud, address, volume):
    return cloud.until(lambda: device(address, volume), bool, 20,
                       'disk of the volume')


def write(path, text):
    return 'echo %s | dd of=%s bs=512 count=1 conv=sync,fsync' % (text, path)


def read(address, path):
    return cloud_lib.shell(address, 'head -n 1 ' + path).strip()


PRIVILEGED = {'containervm_privileged': 'true'}


def test_plain_server(volume, server, plain_image, cloud):
    """What LibvirtDriver does, with our driver."""
    made = server(plain_image('qcow2'), flavor='c1.tiny')
    data = volume()
    address = cloud.address(made)

    def seen():
        return cloud_lib.http_get(address, path='/cgi-bin/disks')[1]

    assert data.id[:20] not in seen()
    attach(cloud, made, data)
    cloud.until(seen, lambda text: data.id[:20] in text, 20, 'disk')
    detach(cloud, made, data)
    assert data.id[:20] not in seen()
    attach(cloud, made, data)
    # Deleted with the volume attached: it is available again.


@pytest.mark.operation('attach-volume')
@profiles.everywhere()
def test_while_it_runs(profile, volume, server, probe, cloud, host):
    made = server(probe, flavor='c1.tiny', metadata=PRIVILEGED)
    first, second = volume(), volume()
    address = cloud.address(made)
    assert not device(address, first)
    for data in (first, second):
        attach(cloud, made, data)
    disk = wait_device(cloud, address, first)
    other = wait_device(cloud, address, second)
    assert len({disk, other}) == 2
    cloud_lib.shell(address, write(disk, first.id))
    cloud_lib.shell(address, write(other, second.id))
    detach(cloud, made, first)
    assert not device(address, first)
    assert read(address, wait_device(cloud, address, second)) == second.id
    assert not [name for name in host.volumes()
                if first.id in name and not name.startswith('volume-')]
    attach(cloud, made, first)
    assert read(address, wait_device(cloud, address, first)) == first.id


@pytest.mark.slow
def test_from_creation_on(volume, server, probe, cloud, host):
    data = volume()
    made = server(probe, flavor='c1.tiny', metadata=PRIVILEGED,
                  block_device_mapping=disks(probe, data))
    address = cloud.address(made)
    disk = wait_device(cloud, address, data)
    cloud_lib.shell(address, write(disk, 'kept'))
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    cloud.compute.start_server(made.id)
    cloud.wait(made, 'ACTIVE')
    assert read(address, wait_device(cloud, address, data)) == 'kept'
    cloud.delete(made)
    cloud.wait_volume(data, 'available')


# Mounted in the container

DATA = '''\
RUN mkdir -p /data/sub && echo image >/data/seed && \\
    chown -R 1234:1235 /data && chmod 2750 /data
'''


@pytest.fixture(scope='module')
def data_image(cloud, builder):
    """The probe with something in /data."""
    made = cloud.upload('e2e-data', builder.probe(DATA))
    yield made
    cloud.sdk.image.delete_image(made.id)


def mounted(*volumes):
    """Metadata by which a container sees volumes in /data, /data/1 ..."""
    paths = ('/data', '/data/1', '/data/2')
    return {'containervm_volumes': ','.join(
        '%s:%s' % (volume.id, path)
        for volume, path in zip(volumes, paths, strict=False))}


def boot_id(address, timeout=90):
    return cloud_lib.shell(address, 'cat /proc/sys/kernel/random/boot_id',
                           timeout)


def reboot(cloud, server, kind='SOFT'):
    address = cloud.address(server)
    before = boot_id(address)
    cloud.compute.reboot_server(server.id, kind)
    cloud.wait(server, 'ACTIVE')
    cloud.until(lambda: cloud_lib.answers(address) and boot_id(address),
                lambda now: now and now != before, 60, 'new boot')


@pytest.mark.operation('volumes')
@profiles.everywhere()
def test_mounted(profile, volume, server, data_image, cloud):
    """Formatted and filled once; the same on every start, on any server."""
    data = volume()
    made = server(data_image, flavor='c1.tiny', metadata=mounted(data),
                  block_device_mapping=disks(data_image, data))
    address = cloud.address(made)
    assert cloud_lib.shell(
        address, 'stat -c "%a %u:%g %n" /data /data/seed; cat /data/seed; '
        'awk \'$2 == "/data" {print $3}\' /proc/mounts') == (
        '2750 1234:1235 /data\n644 1234:1235 /data/seed\nimage\next4\n')
    cloud_lib.shell(address, 'rm -r /data/seed /data/sub; echo 1 >/data/mine')
    reboot(cloud, made)
    assert cloud_lib.shell(address, 'ls /data; cat /data/mine; '
                           'echo 2 >/data/mine') == 'mine\n1\n'
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    cloud.compute.start_server(made.id)
    cloud.wait(made, 'ACTIVE')
    # Who deletes a server does not stop it first.
    assert cloud_lib.shell(address, 'ls /data; cat /data/mine; '
                           'echo 3 >/data/mine; sync') == 'mine\n2\n'
    cloud.delete(made)
    cloud.wait_volume(data, 'available')
    # Attached while its container waits for it
    other = server(data_image, flavor='c1.tiny', metadata=mounted(data))
    cloud.wait_console(other, '%s is not attached yet' % data.id)
    attach(cloud, other, data)
    assert cloud_lib.shell(cloud.address(other),
                           'ls /data; cat /data/mine') == 'mine\n3\n'


def failed(cloud, server):
    """Wait until a server has failed; return what it says of it."""
    cloud.ends_by_itself(server)
    return cloud.until(
        lambda: cloud.compute.get_server(server.id).metadata.get(
            'containervm_error'), bool, 30, 'containervm_error')


@pytest.mark.slow
def test_never_attached(volume, server, probe, cloud):
    data = volume()
    made = server(probe, flavor='c1.tiny', wait=None, metadata=mounted(data))
    words = failed(cloud, made)
    assert '%s is not attached' % data.id in words
    assert words in cloud.console(made)


@pytest.mark.slow
def test_stopped_while_it_waits(volume, server, probe, cloud):
    data = volume()
    made = server(probe, flavor='c1.tiny', metadata=mounted(data))
    cloud.wait_console(made, '%s is not attached yet' % data.id)
    cloud.compute.stop_server(made.id)
    assert 'stopped before %s was attached' % data.id in failed(cloud, made)


# More of the same, which takes long

@pytest.mark.slow
def test_data_of_others_is_left_alone(volume, server, probe, cloud):
    data = volume()
    made = server(probe, flavor='c1.tiny', metadata=PRIVILEGED,
                  block_device_mapping=disks(probe, data))
    address = cloud.address(made)
    cloud_lib.shell(address, write(wait_device(cloud, address, data), 'mine'))
    detach(cloud, made, data)
    other = server(probe, flavor='c1.tiny', wait=None, metadata=mounted(data),
                   block_device_mapping=disks(probe, data))
    assert '%s holds data' % data.id in failed(cloud, other)
    cloud.delete(other)
    cloud.wait_volume(data, 'available')
    attach(cloud, made, data)
    assert read(address, wait_device(cloud, address, data)) == 'mine'


@pytest.mark.slow
def test_grows(volume, server, probe, cloud):
    data = volume()
    made = server(probe, flavor='c1.tiny', metadata=mounted(data),
                  block_device_mapping=disks(probe, data))
    size = 'df -m /data | awk "END {print \\$2}"'
    address = cloud.address(made)
    assert 900 < int(cloud_lib.shell(address, size)) < 1024
    cloud_lib.shell(address, 'echo kept >/data/file; sync')
    cloud.delete(made)
    cloud.wait_volume(data, 'available')
    cloud.volumes.extend_volume(data.id, 2)
    cloud.until(lambda: cloud.volumes.get_volume(data.id),
                lambda now: now.size == 2 and now.status == 'available', 30,
                'larger volume')
    other = server(probe, flavor='c1.tiny', metadata=mounted(data),
                   block_device_mapping=disks(probe, data))
    address = cloud.address(other)
    assert int(cloud_lib.shell(address, size)) > 1900
    assert cloud_lib.shell(address, 'cat /data/file') == 'kept\n'


@pytest.mark.slow
def test_two_one_in_the_other(volume, server, probe, cloud):
    outer, inner = volume(), volume()
    made = server(probe, flavor='c1.tiny', metadata=mounted(outer, inner),
                  block_device_mapping=disks(probe, inner, outer))
    address = cloud.address(made)
    cloud_lib.shell(address, 'echo o >/data/o; echo i >/data/1/i; sync')
    reboot(cloud, made, 'HARD')
    assert cloud_lib.shell(address, 'cat /data/o /data/1/i') == 'o\ni\n'


@pytest.mark.slow
@pytest.mark.parametrize('profile', ['default', 'share-overlay'])
def test_operations_keep_it(volume, server, probe, cloud, profile):
    """What is attached while a server runs is its from then on."""
    data = volume()
    made = server(probe, flavor='c1.tiny', metadata=PRIVILEGED)
    address = cloud.address(made)
    cloud_lib.shell(address, 'true')
    attach(cloud, made, data)
    cloud_lib.shell(address, write(wait_device(cloud, address, data), data.id))

    def check():
        assert read(address, wait_device(cloud, address, data)) == data.id

    for kind in ('SOFT', 'HARD'):
        reboot(cloud, made, kind)
        check()
    cloud.compute.pause_server(made.id)
    cloud.wait(made, 'PAUSED')
    cloud.compute.unpause_server(made.id)
    cloud.wait(made, 'ACTIVE')
    check()
    before = boot_id(address)
    cloud.compute.rebuild_server(made.id, image=probe.id)
    cloud.wait(made, 'ACTIVE', 180)
    assert boot_id(address) != before
    check()


@pytest.mark.slow
def test_of_a_stopped_server(volume, server, probe, cloud):
    first, second = volume(), volume()
    made = server(probe, flavor='c1.tiny', metadata=PRIVILEGED,
                  block_device_mapping=disks(probe, first))
    address = cloud.address(made)
    wait_device(cloud, address, first)
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    detach(cloud, made, first)
    attach(cloud, made, second)
    cloud.compute.start_server(made.id)
    cloud.wait(made, 'ACTIVE')
    wait_device(cloud, address, second)
    assert not device(address, first)


@pytest.mark.slow
@pytest.mark.parametrize('service', ['nova-compute', 'cinder-volume'])
def test_services_restart(volume, server, probe, cloud, service):
    first, second = volume(), volume()
    made = server(probe, flavor='c1.tiny', metadata=PRIVILEGED,
                  block_device_mapping=disks(probe, first))
    address = cloud.address(made)
    cloud_lib.shell(address,
                    write(wait_device(cloud, address, first), first.id))
    aio.run('restart', service)
    assert read(address, device(address, first)) == first.id
    attach(cloud, made, second)
    wait_device(cloud, address, second)
    detach(cloud, made, first)
    assert not device(address, first)


@pytest.mark.slow
def test_goes_with_its_server(volume, server, probe, cloud):
    data = volume()
    mapping = disks(probe, data)
    mapping[1]['delete_on_termination'] = True
    made = server(probe, flavor='c1.tiny', block_device_mapping=mapping)
    cloud.wait_console(made, 'probe: up')
    cloud.delete(made)
    cloud.until(lambda: cloud.volumes.find_volume(data.id),
                lambda now: now is None, 30, 'end of the volume')


@pytest.mark.operation('boot-from-volume', refused=True)
@pytest.mark.slow
@profiles.everywhere()
def test_boot_from_volume_is_refused(profile, volume, server, probe, cloud):
    root = volume(image_id=probe.id)
    made = server(None, flavor='c1.tiny', wait='ERROR', block_device_mapping=[
        {'source_type': 'volume', 'destination_type': 'volume',
         'uuid': root.id, 'boot_index': 0}])
    words = made.fault['message'] + made.fault.get('details', '')
    assert 'boot from a volume' in words, words
    cloud.delete(made)
    cloud.wait_volume(root, 'available')


# Disks that come with the flavor

EPHEMERAL = {'containervm_volumes': 'ephemeral0:/scratch'}


@pytest.fixture
def roomy(cloud):
    """Name of a flavor with an ephemeral disk and swap."""
    made = cloud.compute.create_flavor(
        name='e2e-roomy', ram=256, vcpus=1, disk=1, ephemeral=1, swap=128)
    yield made.name
    cloud.compute.delete_flavor(made)


def test_disks_of_the_flavor(roomy, server, probe, cloud, host):
    """Empty at first, and again after a rebuild; swap is just used."""
    made = server(probe, flavor=roomy, metadata=EPHEMERAL)
    address = cloud.address(made)
    look = ('awk \'$2 == "/scratch" {print $3}\' /proc/mounts; '
            "awk '/^SwapTotal/ {print int($2 / 1000)}' /proc/meminfo; "
            'ls /scratch')
    assert cloud_lib.shell(address, look) == 'ext4\n131\n'
    cloud_lib.shell(address, 'echo kept >/scratch/file; sync')
    reboot(cloud, made, 'HARD')
    assert cloud_lib.shell(address, look) == 'ext4\n131\nfile\n'
    before = boot_id(address)
    cloud.compute.rebuild_server(made.id, image=probe.id)
    cloud.wait(made, 'ACTIVE')
    cloud.until(lambda: cloud_lib.answers(address) and boot_id(address),
                lambda now: now and now != before, 60, 'new boot')
    assert cloud_lib.shell(address, look) == 'ext4\n131\n'
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    for disk in host.disk_files(made.id):
        host.check_disk(disk)


def test_ephemeral_disk_that_the_flavor_has_not(server, probe, cloud):
    made = cloud.wait(server(probe, flavor='c1.tiny', wait=None,
                             metadata=EPHEMERAL), 'ERROR')
    assert ('containervm_volumes: flavor c1.tiny has no ephemeral disk for '
            '/scratch') in made.fault['message']
