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

import io
import json
import os
import stat
import sys
from unittest import mock

import ddt
import fixtures
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from nova_containervm.cli.osc import archive
from nova_containervm.cli.osc import image
from tests.unit.cli.osc import fakes
from tests.unit.images import builders
from tests.unit.images import test_disksurvey as disks

LAYER = builders.Tar().dir('bin').file('bin/sh', b'x' * 1000).end()

# What archive.pulled() runs in place of skopeo: its arguments, one a line
SKOPEO = '''#!/bin/sh
printf '%%s\\n' "$@" >%(log)s
for last; do :; done
case $* in *broken*) exit 1;; esac
cp %(image)s "${last#docker-archive:}"
'''


def docker(**config):
    return builders.docker([LAYER], architecture='amd64',
                           config={'Cmd': ['/bin/sh'], **config})


@ddt.ddt
class CreateTestCase(fakes.TestCommand):

    def setUp(self):
        super().setUp()
        self.path = self.useFixture(fixtures.TempDir()).path
        self.sent = b''

        def create(name, data=None, meta=None, **kwargs):
            self.sent = data.read()
            created = dict(meta)
            return fakes.image(name, **created)

        self.sdk.image.create_image.side_effect = create
        self.sdk.image.get_image.side_effect = lambda _id: fakes.image(
            'made', **self.sdk.image.create_image.call_args.kwargs['meta'])

    def _file(self, data):
        path = os.path.join(self.path, 'image.tar')
        with open(path, 'wb') as f:
            f.write(data)
        return path

    def _create(self, data, *arguments):
        return self.take(image.CreateImage, '--file', self._file(data),
                         '--arch', 'amd64', *arguments, 'made')

    def _settings(self):
        return self.sdk.image.create_image.call_args.kwargs['meta']

    def test_create(self):
        data = docker()
        shown = self._create(data)
        self.assertEqual(data, self.sent)
        call = self.sdk.image.create_image.call_args
        self.assertEqual(('made',), call.args)
        self.assertEqual(('docker', 'raw'), (
            call.kwargs['container_format'], call.kwargs['disk_format']))
        self.assertEqual({
            'architecture': 'x86_64', 'min_disk': 1, 'min_ram': 128,
            'trait:CUSTOM_CONTAINERVM': 'required'}, self._settings())
        self.assertEqual('/bin/sh', shown['command'])
        self.assertEqual('docker archive', shown['format'])
        self.assertTrue(shown['needs_trait'])

    @ddt.data(
        (disks.made(), 'docker', 'raw', 1, 128,
         {'trait:CUSTOM_CONTAINERVM_BLOCK': 'required'}),
        (disks.qcow2(disks.made()), 'docker', 'qcow2', 1, 128,
         {'trait:CUSTOM_CONTAINERVM_BLOCK': 'required'}),
        (disks.qcow2(disks.bootable_of(disks.made())), 'bare', 'qcow2', 1,
         256, {}))
    @ddt.unpack
    def test_disk(self, data, container, form, least_disk, least_ram, trait):
        shown = self._create(data)
        call = self.sdk.image.create_image.call_args
        self.assertEqual((container, form), (
            call.kwargs['container_format'], call.kwargs['disk_format']))
        self.assertEqual({'architecture': 'x86_64', 'min_disk': least_disk,
                          'min_ram': least_ram, **trait}, self._settings())
        self.assertEqual((data, '/bin/run', bool(trait)), (
            self.sent, shown['command'], shown['needs_trait']))

    def test_settings(self):
        self._create(docker(), '--min-disk', '7', '--min-ram', '2048',
                     '--no-trait', '--public', '--property', 'team=blue',
                     '-e', 'A=1', '--entrypoint', '/bin/sh')
        self.assertEqual({
            'architecture': 'x86_64', 'min_disk': 7, 'min_ram': 2048,
            'visibility': 'public', 'team': 'blue',
            'containervm_env': 'A=1', 'containervm_entrypoint': '/bin/sh'},
            self._settings())

    def test_shows_overrides(self):
        shown = self._create(docker(), '--property',
                             'containervm_env_LANG=C.UTF-8', '-u', '5')
        self.assertEqual({'env_LANG': 'C.UTF-8', 'user': '5'},
                         shown['overrides'].machine_readable())

    @ddt.data(
        (builders.docker([LAYER], architecture='arm64'), [], 'arm64'),
        (docker()[:-2000], [], 'image.tar: '),
        (b'no tar at all', [], 'image.tar: '),
        (docker(Cmd=None), [], 'containervm_command'),
        (docker(), ['--shm-size', 'much'], 'containervm_shm_size'),
        (docker(), ['--property', 'containervm_usr=x'],
         'did you mean containervm_user'),
        (docker(), ['--ref', 'other'], 'other'),
        (docker(User='web'), [], "no user 'web'"),
        (docker(), ['-u', 'web'], "no user 'web'"),
        (disks.bootable_of(disks.made()), ['-e', 'A=1'],
         'is not told properties'),
        (docker(), ['--sysctl', 'kernel.core_pattern=|/x'],
         'is for privileged containers'),
    )
    @ddt.unpack
    def test_refused(self, data, arguments, message):
        error = self.assertRaises(exceptions.CommandError, self._create,
                                  data, *arguments)
        self.assertIn(message, str(error))
        self.sdk.image.create_image.assert_not_called()

    def test_command_by_a_property(self):
        self._create(docker(Cmd=None), '--property',
                     'containervm_command=sleep 1')
        self.assertEqual('sleep 1', self._settings()['containervm_command'])

    def test_user_by_name(self):
        with_users = builders.Tar().dir('etc').file(
            'etc/passwd', b'web:x:33:33::/:/bin/sh\n').end()
        self._create(builders.docker(
            [with_users], architecture='amd64',
            config={'Cmd': ['/bin/sh'], 'User': 'web'}))

    def test_ref(self):
        self._create(docker(), '--ref', 'test:latest')
        self.assertEqual('test:latest', self._settings()['containervm_ref'])

    def test_no_file(self):
        error = self.assertRaises(
            exceptions.CommandError, self.execute, image.CreateImage,
            '--file', '/nowhere/x.tar', 'made')
        self.assertIn('/nowhere/x.tar', str(error))

    def test_upload_fails(self):
        self.sdk.image.create_image.side_effect = (
            sdk_exceptions.HttpException('the quota is used up'))
        error = self.assertRaises(exceptions.CommandError, self._create,
                                  docker())
        self.assertIn('the quota is used up', str(error))

    def test_no_source(self):
        self.assertRaises(SystemExit, self.execute, image.CreateImage, 'x')

    def test_progress(self):
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        with mock.patch.object(sys, 'stdout', terminal):
            self._create(docker())
        self.assertIn('Uploading\n', terminal.getvalue())
        self.assertIn('100%', terminal.getvalue())
        with mock.patch.object(sys, 'stdout', io.StringIO()) as quiet:
            self._create(docker())
        self.assertEqual('', quiet.getvalue())

    @ddt.data((0, 1, 128), (64 * 2 ** 20 - 1, 1, 128),
              (64 * 2 ** 20, 1, 256), (2 ** 30, 1, 256),
              (2 ** 30 + 1, 2, 256))
    @ddt.unpack
    def test_sizes(self, size, disk, ram):
        found = {'format': 'docker', 'size': size}
        self.assertEqual((disk, ram), (archive.min_disk(found),
                                       archive.min_ram(found)))

    # --from

    def _skopeo(self, data=None):
        log = os.path.join(self.path, 'log')
        program = os.path.join(self.path, 'skopeo')
        with open(program, 'w') as f:
            f.write(SKOPEO % {'log': log, 'image': self._file(
                data or docker())})
        os.chmod(program, stat.S_IRWXU)
        self.useFixture(fixtures.EnvironmentVariable(
            'PATH', '%s:%s' % (self.path, os.environ['PATH'])))
        return log

    def test_from(self):
        log = self._skopeo()
        self.take(image.CreateImage, '--from', 'docker://nginx:1',
                  '--arch', 'amd64', 'made')
        self.assertEqual(docker(), self.sent)
        with open(log) as f:
            words = f.read().splitlines()
        self.assertEqual(
            ['--override-os', 'linux', '--override-arch', 'amd64', 'copy',
             '--', 'docker://nginx:1'], words[:-1])
        made = words[-1].removeprefix('docker-archive:')
        self.assertFalse(os.path.exists(os.path.dirname(made)))

    @ddt.data('nginx', 'http://x', '-x:y', 'docker:', 'tarball:x')
    def test_from_what(self, source):
        self._skopeo()
        error = self.assertRaises(
            exceptions.CommandError, self.execute, image.CreateImage,
            '--from=' + source, 'made')
        self.assertIn('docker://', str(error))

    def test_skopeo_fails(self):
        self._skopeo()
        error = self.assertRaises(
            exceptions.CommandError, self.execute, image.CreateImage,
            '--from', 'docker://broken', 'made')
        self.assertIn('docker://broken', str(error))

    def test_no_skopeo(self):
        self.useFixture(fixtures.EnvironmentVariable('PATH', self.path))
        error = self.assertRaises(
            exceptions.CommandError, self.execute, image.CreateImage,
            '--from', 'docker://nginx', 'made')
        self.assertIn("'skopeo' is not installed", str(error))


class ShowTestCase(fakes.TestCommand):

    def setUp(self):
        super().setUp()
        self.sdk.image.find_image.side_effect = fakes.finder(fakes.image(
            'redis', size=5, architecture='x86_64', min_disk=1, min_ram=256,
            containervm_user='33', containervm_ref='r:1', other='x'))

    def test_show(self):
        shown = self.take(image.ShowImage, 'redis')
        self.assertEqual({'user': '33'},
                         shown.pop('overrides').machine_readable())
        shown.pop('id')
        self.assertEqual({
            'name': 'redis', 'status': 'active', 'size': 5,
            'architecture': 'x86_64', 'min_disk': 1, 'min_ram': 256,
            'ref': 'r:1', 'needs_trait': False}, shown)
        self.sdk.image.download_image.assert_not_called()

    def test_contents(self):
        data = builders.docker(
            [LAYER], ('r:1', 'r:2'), architecture='amd64', config={
                'Cmd': ['a', 'b c'], 'Env': ['A=\x1b[31m'],
                'ExposedPorts': {'80/tcp': {}}})
        self.sdk.image.download_image.return_value.iter_content = (
            lambda size: iter([data]))
        shown = self.take(image.ShowImage, '--contents', '--arch', 'amd64',
                          'redis')
        self.assertEqual("a 'b c'", shown['command'])
        self.assertEqual(['A=\\x1b[31m'],
                         shown['environment'].machine_readable())
        self.assertEqual(['80/tcp'], shown['ports'].machine_readable())

    def test_json(self):
        self.execute(image.ShowImage, '-f', 'json', 'redis')
        self.assertEqual('redis', json.loads(self.printed())['name'])

    def test_no_docker_image(self):
        self.sdk.image.find_image.side_effect = fakes.finder(
            fakes.image('cirros', container_format='bare'))
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  image.ShowImage, 'cirros')
        self.assertIn('is no docker image', str(error))
