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

from tests.e2e import cloud as cloud_lib

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


def test_while_it_runs(volume, server, probe, cloud, host):
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
