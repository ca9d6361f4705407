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

"""Export mode: the changes on a server's disk, as a layer."""

import io
import tarfile

import pytest

from nova_containervm.snapshot import errors
from nova_containervm.snapshot import frames
from tests.guest import contract as contracts
from tests.guest import vm as vm_lib

CHANNEL = 'org.openstack.containervm.export.0'
CHANGES = r'''
set -e
mkdir /new /tmp/sub; echo content >/new/file; busybox ln /new/file /new/link
chmod 600 /etc/group; rm /image-file; mv /home /moved
busybox ln -s x /new/symlink
echo more >>/etc/passwd; touch /new/empty; busybox mkfifo /new/fifo
printf x | dd of=/new/sparse bs=1 seek=50000000 2>/dev/null
rm -r /tmp; mkdir /tmp; echo 2 >/tmp/again
'''
# What the init gives bin/script, as if its image had it so
FILECAP = '0100000200200000000000000000000000000000 /bin/script'


class Export:
    """One export VM, and the host's end of its port.

    :param disk: the server's, which is not changed
    """

    def __init__(self, image, work, rootfs, disk, directory=''):
        path = work / 'port'
        self.vm = vm_lib.VM(
            image, work, rootfs=rootfs, cmdline=f'containervm.export='
            f'{directory}', memory=512, extra=[
                '-chardev', f'socket,id=export,path={path},server=on,'
                            'wait=off',
                '-device', 'virtserialport,chardev=export,name=' +
                           CHANNEL])
        self.vm.disk.unlink()
        vm_lib.tools.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F',
                          'qcow2', '-b', disk, self.vm.disk])
        self.vm.start()
        self.socket = self.vm.connect(path)
        self.socket.settimeout(60)
        self.reader = frames.LayerReader(self, acknowledge=True)

    def receive(self, size):
        return self.socket.recv(size)

    def send(self, data):
        self.socket.sendall(data)

    def begin(self, **changes):
        """Send a contract."""
        self.reader.ready()
        text = contracts.guest_env(
            contracts.values(['x'], **changes)).encode()
        self.send(len(text).to_bytes(4, 'big') + text)

    def layer(self, **changes):
        """The layer, as a TarFile."""
        self.begin(**changes)
        size = self.reader.size()
        data = b''.join(self.reader.chunks(size))
        assert len(data) == size
        self.vm.wait()
        return tarfile.open(fileobj=io.BytesIO(data))


@pytest.fixture
def export(image, rootfs, tmp_path):
    """A function that exports a VM's disk."""
    made = []

    def start(disk, **options):
        made.append(Export(image, tmp_path / f'export{len(made)}', rootfs,
                           disk, **options))
        return made[-1]

    yield start
    for each in made:
        each.socket.close()
        each.vm.kill()


# Of the image, and changed by what the init makes in them
TOUCHED = {'.', 'etc'}


def test_layer(make_vm, export):
    vm = make_vm(('sh', '-c', CHANGES), contract={'FILECAP': [FILECAP]}).run()
    assert vm.event('exited')['code'] == 0, vm.console()
    layer = export(vm.disk).layer(FILECAP=[FILECAP])
    assert set(layer.getnames()) == TOUCHED | {
        '.wh.home', '.wh.image-file', 'etc/group', 'etc/passwd', 'moved',
        'moved/app', 'new', 'new/empty', 'new/fifo', 'new/file', 'new/link',
        'new/sparse', 'new/symlink', 'tmp', 'tmp/.wh..wh..opq', 'tmp/again'}
    info = {member.name: member for member in layer}

    def read(name):
        return layer.extractfile(name).read()

    # The data of it is in the image alone.
    assert info['etc/group'].mode == 0o600
    assert read('etc/group').startswith(b'root:x:0:')
    assert read('etc/passwd').endswith(b'more\n')
    assert (info['moved/app'].uid, info['moved/app'].gid) == (1000, 1000)
    assert info['new/link'].islnk() and info['new/link'].linkname == 'new/file'
    assert info['new/symlink'].linkname == 'x'
    assert info['new/fifo'].isfifo()
    assert info['new/sparse'].issparse()
    assert read('new/sparse') == bytes(50000000) + b'x'
    assert 'GNU.sparse.realsize' in info['new/sparse'].pax_headers


def test_volumes_of_the_image(make_vm, export):
    """They are not part of the overlay, but of the layer."""
    contract = {'VOLUME': ['image0 rw /home', 'image1 rw /srv/new']}
    vm = make_vm(('sh', '-c', 'rm -r /home/*; echo 1 >/home/kept; '
                  'echo 2 >/srv/new/kept; touch -d @7 /home'),
                 contract=contract)
    vm.run()
    assert vm.event('exited')['code'] == 0, vm.console()
    vm.run()
    layer = export(vm.disk).layer()
    assert set(layer.getnames()) == TOUCHED | {
        'home', 'home/.wh..wh..opq', 'home/kept', 'srv', 'srv/new',
        'srv/new/kept'}
    assert layer.extractfile('home/kept').read() == b'1\n'
    assert layer.extractfile('srv/new/kept').read() == b'2\n'


def test_file_capabilities(make_vm, export):
    """Of the image: no change. Another file's: one."""
    vm = make_vm(('true',), contract={'FILECAP': [FILECAP]}).run()
    layer = export(vm.disk).layer()
    assert set(layer.getnames()) == TOUCHED | {'bin', 'bin/script'}
    member = layer.getmember('bin/script')
    assert member.pax_headers['SCHILY.xattr.security.capability'].encode(
        'utf-8', 'surrogateescape').hex() == FILECAP.split()[0]
    assert layer.extractfile(member).read().startswith(b'#!/bin/sh')


def test_nothing_changed(make_vm, export):
    assert export(make_vm().disk).layer().getnames() == []


def test_disk_of_a_machine_that_was_cut_off(make_vm, export):
    """Its journal is replayed; the disk itself stays as it is."""
    vm = make_vm(('sh', '-c', 'echo 1 >/synced; sync; echo ready; '
                              'while :; do echo 2 >/other; done')).start()
    vm.wait_for('ready')
    vm.kill()
    before = vm.disk.read_bytes()
    layer = export(vm.disk).layer()
    assert layer.extractfile('synced').read() == b'1\n'
    assert vm.disk.read_bytes() == before


@pytest.mark.slow
def test_same_bytes_each_time(make_vm, export):
    vm = make_vm(('sh', '-c', CHANGES)).run()
    first, second = (export(vm.disk).layer().fileobj.getvalue()
                     for _ in range(2))
    assert first == second


def fails(export, words, **changes):
    export.begin(**changes)
    with pytest.raises(errors.LayerFailed) as caught:
        list(export.reader.chunks(export.reader.size()))
    assert words in str(caught.value)
    export.vm.wait()
    assert words in export.vm.console()


def test_failures(make_vm, export, tmp_path):
    vm = make_vm(('sh', '-c', 'mkdir /a; echo >/a/.wh.x')).run()
    fails(export(vm.disk), '/a/.wh.x: an image cannot have a file of that '
                           'name')
    fails(export(vm.disk), "CVM_TRANSPORT='x' is not known", TRANSPORT='x')
    fails(export(vm.disk, directory='/nowhere'), 'no ext4 file system has '
                                                 '/nowhere/upper')


def test_host_that_is_gone(make_vm, export):
    each = export(make_vm().disk)
    each.reader.ready()
    each.socket.close()
    each.vm.wait()
    assert 'the host does not listen any more' in each.vm.console()


def test_cloud_image(make_vm, export):
    """Its overlay is in a directory of a file system of any label."""
    vm = make_vm(('sh', '-c', 'echo new >/new')).run()
    layer = export(vm.disk, directory='/.').layer()
    assert layer.extractfile('new').read() == b'new\n'
