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

"""The RFC's literal recipe, as settings of the all-in-one.

Cloud base image, boot from its disk, a plain copy of the image for each
server, shared by 9p with security model passthrough (so QEMU as root), and
cloud-init in the guest that mounts it and runs chroot.
"""

import contextlib
import pathlib
import subprocess
import sys

from bench import aio

SETTINGS = {
    'containervm.boot_method': 'disk',
    'containervm.guest_runtime': 'chroot',
    'containervm.share_access_mode': 'passthrough',
    'containervm.writable_layer': 'share',
    'containervm.share_provisioning': 'copy',
}


def cloud_image(cloud, given=None):
    """Path of a cloud base image, built if there is none yet."""
    if given:
        return pathlib.Path(given)
    directory = cloud.base / 'cloud'
    path = directory / 'base.qcow2'
    if not path.exists():
        subprocess.run(
            [sys.executable, '-m', 'nova_containervm.cli.baseimage', 'build',
             '--type', 'cloud', '--output', str(directory)], check=True,
            cwd=aio.CHECKOUT, stdout=sys.stderr)
    return path


@contextlib.contextmanager
def settings(cloud, image=None):
    """Run nova-compute with the recipe's settings, then as before."""
    values = dict(SETTINGS)
    values['libvirt.base_vm_image'] = str(cloud_image(cloud, image))
    arguments = ['reconfigure', '--reset', '--qemu-user', 'root']
    for name, value in values.items():
        arguments += ['--set', f'{name}={value}']
    try:
        _aio(*arguments)
        yield
    finally:
        _aio('reconfigure', '--reset', '--qemu-user', 'libvirt-qemu')


def _aio(*arguments):
    subprocess.run([aio.COMMAND, *arguments], check=True, stdout=sys.stderr)
