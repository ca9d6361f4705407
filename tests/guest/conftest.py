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

"""Fixtures: the image under test, and VMs that end with their test.

CONTAINERVM_BASE_IMAGE names a directory with a minimal image to test; without
it one is built from the checkout.
"""

import os
import pathlib
import shutil
import socket
import subprocess

import pytest

from nova_containervm.baseimage import minimal
from nova_containervm.cli import baseimage as cli
from nova_containervm.rootfs import virtiofs as virtiofs_lib
from tests.guest import contract as contracts
from tests.guest import rootfs as rootfs_lib
from tests.guest import vm as vm_lib

NEEDED = {'qemu-system-x86_64': 'qemu-system-x86', 'qemu-img': 'qemu-utils',
          'genisoimage': 'genisoimage', 'busybox': 'busybox-static',
          'mkfs.erofs': 'erofs-utils'}


def pytest_configure(config):
    config.addinivalue_line(
        'markers', 'slow: takes long; only "tools/test --all" runs it')
    missing = [package for name, package in NEEDED.items()
               if shutil.which(name) is None]
    if missing:
        pytest.exit('Missing. Run: apt-get install ' + ' '.join(missing), 2)


@pytest.fixture(scope='session')
def image(tmp_path_factory):
    """Directory of the minimal image."""
    given = os.environ.get('CONTAINERVM_BASE_IMAGE')
    if given:
        return pathlib.Path(given)
    output = tmp_path_factory.mktemp('image')
    minimal.build(output, cli.default_cache(), lambda text: None)
    return output


@pytest.fixture(scope='session')
def rootfs(tmp_path_factory):
    """A busybox root file system in mapped form, for all tests to read."""
    path = tmp_path_factory.mktemp('rootfs') / 'root'
    return rootfs_lib.busybox(path).path


@pytest.fixture
def make_vm(image, rootfs, tmp_path):
    """Function that makes a VM: make_vm(args, contract=..., **VM options).

    *contract* has changes as for `contract.values`; it is a dict so that its
    names do not mix with those of VM.
    """
    made = []

    def make(args=(), *, contract=None, runtime='crun', name='vm', **options):
        options.setdefault('rootfs', rootfs)
        # It is for all tests.
        assert options['rootfs'] != rootfs or \
            not options.get('writable_share')
        machine = vm_lib.VM(image, tmp_path / name, **options)
        changes = dict(contract or {})
        env = changes.pop('ENV', ())
        machine.contract(contracts.values(
            args, runtime=runtime, env=env, **changes))
        made.append(machine)
        return machine

    yield make
    for machine in made:
        machine.kill()


@pytest.fixture
def virtiofs(tmp_path):
    """Function: has a virtiofsd share a directory; QEMU's arguments for it.

    The options are those that libvirt gives it for our domains.
    """
    daemons = []

    def start(directory, memory=256):
        path = tmp_path / 'virtiofs.sock'
        # As with libvirt the socket is there, and listens, before virtiofsd:
        # QEMU finds it whenever it comes.
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            # pylint: disable=consider-using-with
            daemons.append(subprocess.Popen(
                [virtiofs_lib.find_daemon().binary,
                 f'--fd={listener.fileno()}', '-f', '-o',
                 f'source={directory},cache=always,xattr,sandbox=namespace,'
                 'no_flock,no_posix_lock'],
                pass_fds=(listener.fileno(),), stderr=subprocess.DEVNULL))
        return ['-object', 'memory-backend-memfd,id=mem,share=on,'
                           f'size={memory}M',
                '-machine', 'memory-backend=mem',
                '-chardev', f'socket,id=fs,path={path}',
                '-device',
                'vhost-user-fs-pci,chardev=fs,tag=containervm-rootfs']

    yield start
    for daemon in daemons:
        daemon.kill()
        daemon.wait()
