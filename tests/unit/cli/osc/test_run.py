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

import argparse
import base64
import contextlib
import io
from unittest import mock

import ddt
from openstack.block_storage.v3 import volume as sdk_volume
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from nova_containervm.cli.osc import run
from nova_containervm.guest import overrides
from tests.unit.cli.osc import fakes

UUID = '0f3e2a90-7d0b-4c3e-9a56-1c2d3e4f5a6b'
DONE = {'status': 'SHUTOFF', 'metadata': {
    'containervm_state': 'exited', 'containervm_exit_code': '3'}}


@ddt.ddt
class RunTestCase(fakes.TestCommand):

    def setUp(self):
        super().setUp()
        self.history({'status': 'BUILD'}, {}, DONE)
        self.console('', 'hello\n')

    def _created(self, *arguments):
        """The arguments of create_server()."""
        self.execute(run.Run, *arguments)
        self.sdk.compute.create_server.assert_called_once()
        return self.sdk.compute.create_server.call_args.kwargs

    def test_follows_and_ends_with_the_exit_status(self):
        self.assertEqual(3, self.execute(run.Run, 'nginx'))
        self.assertEqual('hello\n', self.printed())
        self.sdk.compute.delete_server.assert_not_called()

    def test_rm(self):
        self.assertEqual(3, self.execute(run.Run, '--rm', 'nginx'))
        self.sdk.compute.delete_server.assert_called_once_with(
            '1234', ignore_missing=True)

    def test_rm_after_an_error(self):
        self.history({'status': 'BUILD'}, {'status': 'ERROR', 'fault': {
            'message': 'No valid host was found.'}})
        self.assertEqual(125, self.execute(run.Run, '--rm', 'nginx'))
        self.sdk.compute.delete_server.assert_called_once()

    def test_rm_with_detach_refused(self):
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  run.Run, '-d', '--rm', 'nginx')
        self.assertIn('--rm', str(error))
        self.sdk.compute.create_server.assert_not_called()

    def test_defaults(self):
        created = self._created('nginx')
        self.assertRegex(created['name'], r'\Anginx-[0-9a-f]{4}\Z')
        self.assertEqual(self.image.id, created['image_id'])
        self.assertEqual('small', created['flavor_id'])
        self.assertEqual([{'uuid': 'id-of-private'}], created['networks'])
        self.assertEqual({}, created['metadata'])
        self.assertNotIn('user_data', created)
        self.assertNotIn('block_device_mapping', created)

    @ddt.data(
        ('nginx', 'nginx'), ('docker.io/library/Nginx:1.2', 'nginx'),
        ('a_b.c', 'a-b-c'), (':', 'container'), ('x' * 90, 'x' * 40))
    @ddt.unpack
    def test_name(self, image, expected):
        self.assertEqual(expected, run._host_name(image))

    def test_given(self):
        self.sdk.compute.find_flavor.side_effect = fakes.finder(
            fakes.flavor('big', 2048))
        self.sdk.network.find_network.side_effect = fakes.finder(
            fakes.network('a'), fakes.network('b'))
        created = self._created(
            '--name', 'web1', '--flavor', 'big', '--network', 'b',
            '--network', 'a', '--security-group', 'web', '-e', 'A=1',
            '--property', 'team=blue', '-u', '33', 'nginx', 'sh', '-c',
            'echo $A', '-e')
        self.assertEqual('web1', created['name'])
        self.assertEqual('big', created['flavor_id'])
        self.assertEqual([{'uuid': 'id-of-b'}, {'uuid': 'id-of-a'}],
                         created['networks'])
        self.assertEqual([{'name': 'web'}], created['security_groups'])
        self.assertEqual('blue', created['metadata'].pop('team'))
        meant = overrides.parse({}, created['metadata'])
        self.assertEqual({'A': '1'}, meant.env)
        self.assertEqual('33', meant.user)
        self.assertEqual(['sh', '-c', 'echo $A', '-e'], meant.command)

    def test_long_command(self):
        created = self._created('nginx', 'echo', 'x' * 300)
        self.assertEqual({}, created['metadata'])
        meant = overrides.parse(
            {}, {}, base64.b64decode(created['user_data']))
        self.assertEqual(['echo', 'x' * 300], meant.command)

    def test_volume(self):
        self.sdk.block_storage.find_volume.side_effect = fakes.finder(
            sdk_volume.Volume(id=UUID, name='data'))
        created = self._created('-v', 'data:/srv/data:ro', 'nginx')
        meant = overrides.parse({}, created['metadata'])
        self.assertEqual((UUID, '/srv/data', True), (
            meant.volumes[0].volume_id, meant.volumes[0].path,
            meant.volumes[0].read_only))
        root, volume = created['block_device_mapping']
        self.assertEqual((self.image.id, 'image', 0), (
            root['uuid'], root['source_type'], root['boot_index']))
        self.assertEqual((UUID, 'volume', -1, False), (
            volume['uuid'], volume['source_type'], volume['boot_index'],
            volume['delete_on_termination']))

    @ddt.data(
        (['-v', 'nosuch:/x'], 'No such thing'),
        (['-v', '/host/dir:/x'], 'directories of this machine'),
        (['-v', './dir:/x'], 'directories of this machine'),
        (['-v', 'data'], 'VOLUME:/PATH'),
        (['-v', ':/x'], 'VOLUME:/PATH'),
        (['--flavor', 'none'], 'No such thing'),
        (['--network', 'none'], 'No such thing'),
        (['--shm-size', 'much'], 'containervm_shm_size'),
        (['--restart', 'sometimes'], 'containervm_restart_policy'),
        (['--property', 'containervm_comand=x'],
         'did you mean containervm_command'),
    )
    @ddt.unpack
    def test_refused(self, arguments, message):
        for find in (self.sdk.compute.find_flavor,
                     self.sdk.network.find_network,
                     self.sdk.block_storage.find_volume):
            find.side_effect = fakes.finder()
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  run.Run, *arguments, 'nginx')
        self.assertIn(message, str(error))
        self.sdk.compute.create_server.assert_not_called()

    def test_properties_of_the_image_are_checked(self):
        self.sdk.image.find_image.side_effect = fakes.finder(fakes.image(
            'bad', containervm_tty='maybe'))
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  run.Run, 'bad')
        self.assertIn('containervm_tty', str(error))
        self.assertIn('image properties', str(error))

    def test_no_docker_image(self):
        self.sdk.image.find_image.side_effect = fakes.finder(
            fakes.image('cirros', container_format='bare'))
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  run.Run, 'cirros')
        self.assertIn('is no docker image', str(error))

    def test_no_image(self):
        self.assertRaises(exceptions.CommandError, self.execute, run.Run,
                          'nosuch')

    @ddt.data(([], 'there is none'), (['a', 'b'], 'a, b'))
    @ddt.unpack
    def test_network_not_clear(self, names, message):
        self.sdk.network.networks.return_value = [
            fakes.network(name) for name in names]
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  run.Run, 'nginx')
        self.assertIn(message, str(error))

    def test_only_network_is_external(self):
        self.sdk.network.networks.return_value = [
            fakes.network('public', external=True)]
        self.assertEqual([{'uuid': 'id-of-public'}],
                         self._created('nginx')['networks'])

    def test_no_flavor_is_large_enough(self):
        self.sdk.image.find_image.side_effect = fakes.finder(
            fakes.image('huge', min_ram=4096, min_disk=1))
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  run.Run, 'huge')
        self.assertIn('4096 MB', str(error))

    def test_create_fails(self):
        self.sdk.compute.create_server.side_effect = (
            sdk_exceptions.HttpException(details='Quota exceeded'))
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  run.Run, 'nginx')
        self.assertIn('Quota exceeded', str(error))

    def test_detached(self):
        self.assertEqual(0, self.execute(run.Run, '-d', '-f', 'json',
                                         'nginx'))
        self.assertIn('"id": "1234"', self.printed())
        self.sdk.compute.get_server.assert_not_called()

    def test_detached_wait(self):
        self.history({'status': 'BUILD'}, {}, {'metadata': {
            'containervm_state': 'booting'}}, {'metadata': {
                'containervm_state': 'running'}})
        shown = self.take(run.Run, '-d', '--wait', 'nginx')
        self.assertEqual('running', shown['container'])

    def test_detached_wait_error(self):
        self.history({'status': 'BUILD'}, {'status': 'ERROR', 'fault': {
            'message': 'Image is unacceptable'}})
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  run.Run, '-d', '--wait', 'nginx')
        self.assertIn('Image is unacceptable', str(error))

    def test_interrupted(self):
        self.history({'status': 'BUILD'}, {}, {}, DONE)
        sleeps = iter([None, KeyboardInterrupt])
        self.sleep.side_effect = lambda _s: next(sleeps, None) and (
            _raise(KeyboardInterrupt))
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(3, self.execute(run.Run, 'nginx'))
        self.sdk.compute.stop_server.assert_called_once_with('1234')
        self.assertIn('Stopping', err.getvalue())

    def test_interrupted_twice(self):
        self.history({'status': 'BUILD'}, {})
        self.sleep.side_effect = KeyboardInterrupt
        self.assertRaises(KeyboardInterrupt, self.execute, run.Run, '--rm',
                          'nginx')
        self.sdk.compute.delete_server.assert_called_once()


def _raise(error):
    raise error


@ddt.ddt
class CommandLineTestCase(fakes.TestCommand):
    """openstackclient takes what it knows out of the command line."""

    def setUp(self):
        super().setUp()
        self.top = argparse.ArgumentParser()
        self.top.add_argument('-v', '--verbose', action='count')
        self.top.add_argument('-q', '--quiet', action='store_true')
        self.top.add_argument('--debug', action='store_true')
        self.top.add_argument('--os-cloud', metavar='<cloud>')
        self.app.parser = self.top

    def _parsed(self, *written):
        self.app.command_options = list(written)
        command = run.Run(self.app, None)
        parser = command.get_parser('test')
        rest = self.top.parse_known_args(written)[1]
        rest = rest[rest.index('run') + 1:]
        seen = []
        with mock.patch.object(command, '_attached', seen.append):
            command.run(parser.parse_args(rest))
        return seen[0]

    def test_volume_is_not_verbose(self):
        args = self._parsed('containervm', 'run', '-v', 'data:/x', 'nginx')
        self.assertEqual(['data:/x'], args.volumes)
        self.assertEqual('nginx', args.image)

    def test_options_of_the_command(self):
        args = self._parsed('--debug', 'containervm', 'run', '--os-cloud',
                            'aio', 'nginx', 'grep', '-v', '-q', '--debug',
                            'x')
        self.assertEqual('nginx', args.image)
        self.assertEqual(['grep', '-v', '-q', '--debug', 'x'], args.command)

    @ddt.data(
        (['nginx', '--', 'ls', '-v'], ['ls', '-v']),
        (['nginx', 'ls', '--', '-v'], ['ls', '--', '-v']),
        (['nginx'], []))
    @ddt.unpack
    def test_two_dashes(self, arguments, command):
        args = self._parsed('containervm', 'run', *arguments)
        self.assertEqual(command, args.command)

    def test_interactive(self):
        """In its own shell openstackclient has no command line."""
        command = run.Run(self.app, None)
        self.app.command_options = []
        parsed = command.get_parser('test').parse_args(['nginx', 'ls'])
        self.assertIs(parsed, command._as_written(parsed))
