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
"""Cinder's configuration, and the loop devices of its volumes.

The driver is scripts/aio_loop_driver.py.
"""

import pathlib

from aiolib import host
from aiolib import render
from aiolib import settings
from aiolib import ui

DRIVER = pathlib.Path(__file__).parent / 'scripts' / 'aio_loop_driver.py'
BLOCK = pathlib.Path('/sys/block')


def conf(cfg):
    """cinder.conf, of every Cinder service."""
    return render.ini({
        'DEFAULT': {
            'use_stderr': True,
            'state_path': f'{cfg.state}/cinder',
            'transport_url': 'rabbit://guest:guest@127.0.0.1:5672/',
            'my_ip': '127.0.0.1',
            'api_paste_config': f'{cfg.venv}/etc/cinder/api-paste.ini',
            'resource_query_filters_file':
                f'{cfg.venv}/etc/cinder/resource_filters.json',
            'rootwrap_config': f'{cfg.etc}/cinder/rootwrap.conf',
            'enabled_backends': 'loop',
            'glance_api_servers': 'http://127.0.0.1:9292',
            'quota_volumes': -1,
            'quota_gigabytes': -1,
        },
        'loop': {'volume_driver': f'{DRIVER.stem}.LoopDriver',
                 'volume_backend_name': 'loop'},
        'database': render.database(cfg, 'cinder'),
        'oslo_concurrency': {'lock_path': f'{cfg.state}/cinder/lock'},
        'keystone_authtoken': render.keystone_authtoken(),
        'service_user': {**render.service_login(),
                         'send_service_user_token': True},
        'nova': render.service_login(),
    })


def rootwrap(cfg):
    """Files of cinder-rootwrap: what cinder-volume may do as root."""
    directory = f'{cfg.etc}/cinder/rootwrap.d'
    volume = f'{cfg.state}/cinder/volumes/volume-[0-9a-f-]*'
    return {
        'rootwrap.conf': render.ini({'DEFAULT': {
            'filters_path': directory,
            'exec_dirs': f'/usr/sbin,/sbin,/usr/bin,{cfg.venv}/bin'}}),
        'rootwrap.d/loop.filters': render.ini({'Filters': {
            'show': 'RegExpFilter, losetup, root, losetup, --find, --show, '
                    f'{volume}',
            'detach': 'RegExpFilter, losetup, root, losetup, --detach, '
                      '/dev/loop[0-9]*',
            # It looks at an image with this, and with the privsep daemon that
            # every rootwrap may run, before it makes a volume of it.
            'info': 'RegExpFilter, env, root, env, LC_ALL=C, qemu-img, info, '
                    '-f, [a-z0-9]+, --output=json, '
                    f'{cfg.state}/cinder/conversion/[^/]+'}}),
    }


def write_all(cfg):
    """Write every file of Cinder below etc/."""
    control = host.ids(settings.CONTROL_USER)[1]
    files = {'cinder.conf': conf(cfg), f'python/{DRIVER.name}':
             DRIVER.read_text(), **rootwrap(cfg)}
    for name, text in files.items():
        path = cfg.etc / 'cinder' / name
        host.make_dir(path.parent)
        host.write(path, text, 0o640, (0, control))


def detach(cfg):
    """Detach the loop devices of volumes.

    :returns: how many there were
    """
    top = f'{cfg.state}/cinder/'
    found = []
    for path in BLOCK.glob('loop*/loop/backing_file'):
        try:
            if path.read_text().startswith(top):
                found.append(f'/dev/{path.parents[1].name}')
        except OSError:
            continue
    for device in found:
        ui.run(['losetup', '--detach', device])
    return len(found)
