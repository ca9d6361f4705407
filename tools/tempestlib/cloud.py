# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""The images that are tested, and what tempest leaves in the cloud."""

import importlib
import json
import pathlib
import sys

from aiolib import database
from aiolib import demo
from aiolib import host
from aiolib import packages
from aiolib import settings as settings_mod
from aiolib import ui

SCRIPT = pathlib.Path(__file__).with_name('scripts') / 'cloud.py'
PLAIN_TOOLS = ('busybox-static', 'kmod', 'mtools', 'qemu-utils', 'syslinux',
               'syslinux-common')

# Tests of the console log want more than ten lines of it. With an init the
# shell has a stop signal's default action, where process 1 would ignore it.
CONTAINER = {
    'trait:CUSTOM_CONTAINERVM': 'required',
    'containervm_command':
        "sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; done; "
        "exec sleep 1000000'",
    'containervm_init': 'true',
}
# Tests mount disks in their servers.
CONTAINER_SSH = {
    'trait:CUSTOM_CONTAINERVM': 'required',
    'containervm_privileged': 'true',
}


def image_files(cfg, kind, ssh=False):
    """Build the image of a kind; return two descriptions for `prepare`.

    Two, so that a rebuild with another image is one.

    :param ssh: whether it is to have an SSH server; a docker image only
    """
    if kind == 'container':
        path = _compressed(cfg, demo.builder(cfg).build(
            'tempest' if ssh else 'busybox'))
        how = {'container_format': 'docker', 'disk_format': 'raw',
               'properties': CONTAINER_SSH if ssh else CONTAINER}
    else:
        packages.install(cfg, host.Record(cfg), PLAIN_TOOLS)
        # The plain guest of the end-to-end tests
        sys.path.append(str(settings_mod.CHECKOUT))
        plain = importlib.import_module('tests.e2e.plain')
        path = plain.build(cfg.images / 'plain') / 'plain.qcow2'
        how = {'container_format': 'bare', 'disk_format': 'qcow2',
               'properties': {}}
    return [{'name': f'tempest-aio-{kind}{number}', 'file': str(path), **how}
            for number in ('', '-alt')]


def _compressed(cfg, path):
    """A docker image as a file that is no tar archive to Python's tarfile.

    Tempest's scenarios take one for a kernel, a ramdisk and a disk.
    """
    target = path.with_name(path.name + '.zst')
    if not target.exists():
        ui.run([cfg.venv_bin('python'), '-c',
                'import sys, zstandard\n'
                'with open(sys.argv[1], "rb") as f, '
                'open(sys.argv[2], "wb") as out:\n'
                '    zstandard.ZstdCompressor().copy_stream(f, out)\n',
                path, target.with_suffix('.part')],
               what=f'compressing {path.name}')
        target.with_suffix('.part').rename(target)
    return target


def _run(cfg, command, text=''):
    return json.loads(ui.run(
        [cfg.venv_bin('python'), '-B', SCRIPT, command], input=text,
        env=database.cloud_env(cfg), what=f'tempest: {command}'))


def prepare(cfg, files):
    """Make flavors and images; return their ids."""
    return _run(cfg, 'prepare', json.dumps(files))


def sweep(cfg):
    """Remove everything of ours and tempest's.

    :returns: what tempest had left, in words
    """
    return _run(cfg, 'sweep')
