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
"""The guided tour: from nothing to a page served from a docker image."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import time

from aiolib import database
from aiolib import host
from aiolib import logs
from aiolib import packages
from aiolib import steps
from aiolib import supervisor
from aiolib import ui
from images import build

SERVER = 'web1'
IMAGE = 'nginx'


def builder(cfg):
    """Return what builds docker archives, with its packages installed."""
    cfg.images.mkdir(parents=True, exist_ok=True)
    packages.install(cfg, host.Record(cfg), packages.image_tools())
    return build.Builder(
        cfg.images, cfg.log / 'images.log',
        os.environ.get('AIO_DEBIAN_MIRROR'))


class Tour:
    """Runs commands as a user would, and shows them first."""

    def __init__(self, cfg):
        path = os.environ.get('PATH', os.defpath)
        self.env = {**os.environ, **database.cloud_env(cfg),
                    'PATH': f'{cfg.bin}:{path}'}
        for name in ('OS_AUTH_URL', 'OS_USERNAME', 'OS_PASSWORD',
                     'OS_PROJECT_NAME'):
            self.env.pop(name, None)

    def quiet(self, *args):
        """Run a command unseen; return its output, or None if it fails."""
        done = subprocess.run(args, env=self.env, capture_output=True,
                              text=True, check=False)
        return done.stdout if done.returncode == 0 else None

    def show(self, *args):
        """Print a command, run it, print its output.

        :raises ui.Failure: if it fails
        """
        print(f'\n$ {shlex.join(args)}', flush=True)
        done = subprocess.run(args, env=self.env, stdout=subprocess.PIPE,
                              text=True, check=False)
        print(done.stdout.rstrip(), flush=True)
        if done.returncode:
            raise ui.Failure(f'the command ended with {done.returncode}',
                             'See above; the log of nova-compute: '
                             'tools/aio logs nova-compute')
        return done.stdout


def run(cfg):
    steps.up(cfg)
    with ui.step('a docker image with nginx, built by buildah from Debian '
                 'packages') as remark:
        archive = builder(cfg).build('nginx')
        remark(str(archive))
    tour = Tour(cfg)
    ui.note('\nThe cloud is up. From here on these are commands for any '
            'shell in which you ran\n'
            f'  eval "$({cfg.command} env)"')

    if tour.quiet('openstack', 'server', 'show', SERVER) is not None:
        ui.note(f'\nThere is a {SERVER} of an earlier demo: it goes first.')
        tour.show('openstack', 'server', 'delete', '--wait', SERVER)
    _image(tour, archive)
    begin = time.monotonic()
    _server(cfg, tour)
    shown = json.loads(tour.quiet('openstack', 'server', 'show', '-f', 'json',
                                  '-c', 'addresses', '-c', 'status', SERVER)
                       or '{}')
    if shown.get('status') != 'ACTIVE':
        raise ui.Failure('the server is not ACTIVE', 'See its fault: '
                         f'openstack server show {SERVER}')
    address = re.search(r'\d+\.\d+\.\d+\.\d+',
                        json.dumps(shown['addresses'])).group()
    url = f'http://{address}/'
    if not ui.wait_until(lambda: _answers(url), 90, 0.5):
        tour.show('openstack', 'console', 'log', 'show', SERVER)
        raise ui.Failure(f'{url} does not answer',
                         'See the console log above, and tools/aio logs '
                         'nova-compute')
    took = time.monotonic() - begin
    tour.show('curl', '--silent', '--show-error', '--noproxy', '*', url)
    tour.show('openstack', 'console', 'log', 'show', SERVER)
    ui.note(f"""
That was a docker image in a virtual machine of its own: {took:.0f} s from
`server create` to the page. The console log is the container's output.
Look around:

  eval "$({cfg.command} env)"
  openstack server list
  curl {url}
  openstack server stop {SERVER}

Clean up:

  openstack server delete {SERVER} ; openstack image delete {IMAGE}
  {cfg.command} down          stops the cloud and keeps its state
  {cfg.command} down --wipe   removes all of it""")


def _image(tour, archive):
    """Upload the archive, unless this very file is there already."""
    text = tour.quiet('openstack', 'image', 'show', '-f', 'json', IMAGE)
    if text is not None:
        old = json.loads(text)
        with open(archive, 'rb') as f:
            digest = hashlib.file_digest(f, 'sha512').hexdigest()
        if old.get('status') == 'active' and \
                old.get('properties', {}).get('os_hash_value') == digest:
            ui.note(f'\nThe image {IMAGE} is in Glance already.')
            return
        tour.show('openstack', 'image', 'delete', IMAGE)
    tour.show('openstack', 'image', 'create', '--container-format', 'docker',
              '--disk-format', 'raw', '--file', str(archive), '-c', 'name',
              '-c', 'status', '-c', 'size', IMAGE)


def _server(cfg, tour):
    log = cfg.log / 'nova-compute.log'
    start = logs.mark(log)
    try:
        tour.show('openstack', 'server', 'create', '--image', IMAGE,
                  '--flavor', 'c1.small', '--network', 'public', '--wait',
                  '-c', 'status', '-c', 'addresses', '-c', 'fault', SERVER)
    except ui.Failure as e:
        # The client does not say why.
        raise ui.Failure(
            f'the server {SERVER} could not be created',
            f'The whole log: tools/aio logs nova-compute ({log})',
            supervisor.last_error(log, start)) from e


def _answers(url):
    return subprocess.run(
        ['curl', '--silent', '--fail', '--output', '/dev/null', '--max-time',
         '5', '--noproxy', '*', url], check=False).returncode == 0
