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


"""Images and settings of users that cannot run: said in words, and no rest.

That nothing is left on the host is checked after each test (clean_host).
"""

import io
import json
import os
import re
import tarfile
import uuid

import pytest

from tests.e2e import containers


@pytest.fixture(scope='module')
def good(builder):
    """The bytes of a good archive."""
    return builder.probe().read_bytes()


def repacked(archive, change):
    """The archive with ``change(name, data)`` for each regular member."""
    result = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, \
            tarfile.open(fileobj=result, mode='w') as new:
        for member in old:
            data = None
            if member.isreg():
                data = change(member.name, old.extractfile(member).read())
                member.size = len(data)
            new.addfile(member, io.BytesIO(data) if data is not None
                        else None)
    return result.getvalue()


def fault(cloud, made):
    """Wait for ERROR; return what the user is told."""
    made = cloud.wait(made, 'ERROR', 120)
    message = made.fault['message']
    # A sentence, no trace of a program's innards
    assert not re.search(r'Traceback|Error\(|0x[0-9a-f]{6}|/instances/',
                         message), message
    return message


@pytest.fixture
def said(server, upload, cloud, host):
    """A function: boot an image that cannot run; the fault of the server."""
    def boot(data, **kwargs):
        store = {str(p) for p in host.store.glob('*/images/*')}
        layers = {str(p) for p in host.store.glob('*/layers/*')}
        image = upload('bad-%s' % uuid.uuid4().hex[:6], data)
        message = fault(cloud, server(image, wait=None, flavor='c1.tiny',
                                      **kwargs))
        if 'metadata' not in kwargs:
            # Not a half of it in the store, whatever it is found guilty of
            assert {str(p) for p in host.store.glob('*/images/*')} <= store
            assert {str(p) for p in host.store.glob('*/layers/*')} <= layers
        return message
    return boot


def words(message, *expected):
    for each in expected:
        assert re.search(each, message, re.IGNORECASE), message


def test_no_archive_at_all(said):
    words(said(os.urandom(1 << 20)), 'no tar archive', 'docker save')


def test_a_disk_image(said):
    words(said(b'QFI\xfb' + bytes(1 << 20)), 'the file is a qcow2',
          '--disk-format qcow2')


def test_a_tar_of_something_else(said):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as tar:
        info = tarfile.TarInfo('documents/letter.txt')
        info.size = 5
        tar.addfile(info, io.BytesIO(b'hello'))
    # As a `docker export` it would be a root filesystem without a command.
    words(said(data.getvalue()), 'docker|command')


def test_truncated(said, good):
    words(said(good[:len(good) // 2]), 'truncated|ends early|incomplete|cut')


def test_wrong_architecture(said, builder):
    archive = builder.build(
        containers.BASE + 'CMD ["sh"]\n', options=('--arch', 'arm64'))
    words(said(archive.read_bytes()), 'arm64', 'amd64|x86_64')


def test_no_command(said, builder):
    archive = builder.build(containers.BASE)
    words(said(archive.read_bytes()), 'no command', 'containervm_command')


def test_unknown_user(said, builder):
    archive = builder.build(containers.BASE +
                            'USER nobody-knows\nCMD ["sh"]\n')
    words(said(archive.read_bytes()), 'user', 'nobody-knows')


def test_digest_mismatch(said, good):
    """One bit of a file within a layer."""
    def change(name, data):
        at = data.find(b'probe: up as')
        if at < 0 or changed:
            return data
        changed.append(name)
        return data[:at] + b'q' + data[at + 1:]

    changed = []
    bad = repacked(good, change)
    assert changed
    # All within what Nova keeps of a fault.
    words(said(bad), 'layer 4 of 6', 'damaged',
          'digest [0-9a-f]{12}, config says [0-9a-f]{12}',
          'upload it again')


def test_layer_is_missing(said, good):
    def change(name, data):
        if name != 'manifest.json':
            return data
        manifest = json.loads(data)
        manifest[0]['Layers'][0] = 'no-such-layer.tar'
        return json.dumps(manifest).encode()
    words(said(repacked(good, change)), 'no-such-layer')


@pytest.mark.parametrize('metadata, expected', [
    ({'containervm_stop_timeout': 'soon'},
     ('containervm_stop_timeout', 'soon', 'metadata')),
    ({'containervm_comand': 'sh'},
     ('containervm_comand', 'containervm_command')),
    ({'containervm_user': 'nobody-knows'},
     ('containervm_user', 'nobody-knows')),
])
def test_bad_override(server, probe, cloud, metadata, expected):
    message = fault(cloud, server(probe, wait=None, flavor='c1.tiny',
                                  metadata=metadata))
    words(message, *expected)


def test_the_host_is_not_to_blame(server, probe, said, cloud):
    """Bad images do not keep good ones from running there."""
    said(os.urandom(1 << 16))
    made = server(probe, flavor='c1.tiny')
    cloud.wait_console(made, 'probe: up')
