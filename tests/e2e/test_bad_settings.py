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


"""Settings with which nova-compute refuses to start, and says what to do."""

import json
import os
import pathlib
import pwd
import re
import shutil

import pytest

from tests.e2e import aio


@pytest.fixture(autouse=True)
def configured(settings):
    """Each test changes the settings; the next module puts them back."""
    settings.forget()


def refusal(settings):
    """Start nova-compute with settings that are wrong; what it says."""
    result = aio.reconfigure(settings, check=False, restart=True)
    assert result.returncode != 0, result.stdout
    # tools/aio wraps what it prints.
    return ' '.join((result.stdout + result.stderr).split())


def words(message, *expected):
    for each in expected:
        assert re.search(each, message), message


@pytest.fixture
def copy():
    """A copy of the base VM image, where nova-compute can read it."""
    base = aio.directory() / 'base'
    path = pathlib.Path(shutil.copytree(base / 'minimal', base / 'e2e'))
    yield path
    shutil.rmtree(path)


def test_virt_type():
    words(refusal({'libvirt.virt_type': 'lxc'}), r'virt_type = kvm or qemu',
          'lxc')


def test_base_image_is_missing():
    words(refusal({'libvirt.base_vm_image': '/no/such/base.qcow2'}),
          '/no/such/base.qcow2', 'nova-containervm-baseimage build')


def test_base_image_is_not_set():
    words(refusal({'libvirt.base_vm_image': None}), 'base_vm_image',
          'nova-containervm-baseimage build')


def test_base_image_is_not_what_its_manifest_says(copy):
    with open(copy / 'initrd.img', 'ab') as f:
        f.write(b'\0')
    words(refusal({'libvirt.base_vm_image': copy / 'base.qcow2'}),
          'initrd.img', 'manifest', 'nova-containervm-baseimage build')


def test_base_image_lacks_the_runtime(copy):
    manifest = json.loads((copy / 'manifest.json').read_text())
    manifest['runtimes'] = ['chroot']
    (copy / 'manifest.json').write_text(json.dumps(manifest))
    words(refusal({'libvirt.base_vm_image': copy / 'base.qcow2'}),
          'guest_runtime = crun', 'offers only: chroot')


def test_tool_is_missing():
    words(refusal({'DEFAULT.mkisofs_cmd': '/no/such/mkisofs'}),
          '/no/such/mkisofs', 'genisoimage')


def test_instances_path_is_unreadable():
    """QEMU, which is another user than nova-compute, may not enter it."""
    closed = pathlib.Path('/var/lib/nova-containervm-e2e')
    closed.mkdir(mode=0o700)
    try:
        user = pwd.getpwnam('nova')
        os.chown(closed, user.pw_uid, user.pw_gid)
        words(refusal({'DEFAULT.instances_path': closed / 'instances'}),
              str(closed), 'chmod o\\+x', 'QEMU')
    finally:
        shutil.rmtree(closed)


def test_passthrough_with_an_unprivileged_qemu():
    words(refusal({'containervm.share_access_mode': 'passthrough'}),
          'passthrough', 'runs as root', 'qemu.conf')


@pytest.mark.parametrize('setting', [
    'containervm.writable_layer=ram', 'containervm.boot_method=pxe',
    'libvirt.sub_virt_type=pod', 'containervm.max_layers=0'])
def test_value_is_out_of_range(setting):
    name, _, value = setting.partition('=')
    words(refusal({name: value}), name.partition('.')[2], value)
