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
"""The all-in-one's volumes: what cinder-volume may do as root."""

import pathlib
import tempfile
from unittest import mock

from oslo_rootwrap import wrapper
from oslotest import base

from tests.unit import tools  # noqa: F401  (finds aiolib)

# isort: split
from aiolib import settings
from aiolib import volumes

VOLUMES = '/srv/aio/state/cinder/volumes'
ID = '6ad29e0e-8e1f-4bd1-8e3b-3d6d9ab2b0d5'


class RootwrapTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        cfg = settings.Settings(dir=pathlib.Path('/srv/aio'))
        for name, text in volumes.rootwrap(cfg).items():
            path = pathlib.Path(directory.name) / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self.filters = wrapper.load_filters([f'{directory.name}/rootwrap.d'])

    def allowed(self, *command):
        return any(f.match(list(command)) for f in self.filters)

    def test_what_the_driver_runs(self):
        for command in (
                ('--find', '--show', f'{VOLUMES}/volume-{ID}'),
                ('--detach', '/dev/loop12')):
            self.assertTrue(self.allowed('losetup', *command), command)

    def test_what_makes_a_volume_of_an_image(self):
        info = ('env', 'LC_ALL=C', 'qemu-img', 'info', '-f', 'raw',
                '--output=json')
        place = '/srv/aio/state/cinder/conversion/'
        self.assertTrue(self.allowed(*info, place + 'image_fetch_1@loop'))
        self.assertFalse(self.allowed(*info, place + '../volumes/x'))
        self.assertFalse(self.allowed(*info, '/etc/shadow'))

    def test_nothing_else(self):
        for command in (
                ('losetup', '--find', '--show', '/etc/shadow'),
                ('losetup', '--find', '--show',
                 f'{VOLUMES}/volume-../../x'),
                ('losetup', '--find', '--show', f'{VOLUMES}/volume-{ID}/x'),
                ('losetup', '--detach-all'),
                ('losetup', '--detach', '/dev/vda'),
                ('losetup', '--detach', '/dev/loop1', '/dev/loop2'),
                ('mount', '/dev/loop1', '/mnt')):
            self.assertFalse(self.allowed(*command), command)


class DetachTest(base.BaseTestCase):

    def test_only_those_of_this_cloud(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        top = pathlib.Path(directory.name)
        for number, backing in enumerate((
                '/srv/other/disk', f'{VOLUMES}/volume-{ID}',
                f'{VOLUMES}/volume-{ID} (deleted)')):
            (top / f'loop{number}' / 'loop').mkdir(parents=True)
            (top / f'loop{number}' / 'loop' / 'backing_file').write_text(
                f'{backing}\n')
        cfg = settings.Settings(dir=pathlib.Path('/srv/aio'))
        with mock.patch('aiolib.ui.run') as run, \
                mock.patch('aiolib.volumes.BLOCK', top):
            self.assertEqual(2, volumes.detach(cfg))
        self.assertEqual(
            {('losetup', '--detach', f'/dev/loop{n}') for n in (1, 2)},
            {tuple(call.args[0]) for call in run.call_args_list})
