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

"""What docker run's options come to, by our own code for the compute host."""

import argparse
import base64
import os
import tempfile
from unittest import mock

import ddt
from osc_lib import exceptions
from oslotest import base

from nova_containervm.cli.osc import options
from nova_containervm.guest import overrides
from nova_containervm.guest import values


def parse(*arguments):
    parser = argparse.ArgumentParser()
    options.add_options(parser)
    return parser.parse_args(arguments)


@ddt.ddt
class OptionsTestCase(base.BaseTestCase):

    def _meant(self, *arguments, command=(), volumes=()):
        """What the compute host understands."""
        given = options.given(parse(*arguments), command, volumes)
        metadata, user_data = options.for_server(given)
        return overrides.parse({}, metadata, user_data)

    @ddt.data(
        (['-u', 'www-data:1000'], 'user', 'www-data:1000'),
        (['--user', '12'], 'user', '12'),
        (['-w', '/srv/'], 'workdir', '/srv'),
        (['--hostname', 'db1'], 'hostname', 'db1'),
        (['--restart', 'on-failure:3'], 'restart_policy',
         values.RestartPolicy('on-failure', 3)),
        (['--stop-signal', 'SIGQUIT'], 'stop_signal', 3),
        (['--stop-timeout', '30'], 'stop_timeout', 30),
        (['-t'], 'tty', True),
        ([], 'tty', None),
        (['--read-only'], 'read_only', True),
        (['--privileged'], 'privileged', True),
        (['--init'], 'init', True),
        (['--shm-size', '64m'], 'shm_size', 64 << 20),
        (['--tmpfs', '/run:size=64m', '--tmpfs', '/a b'], 'tmpfs',
         {'/run': ('size=64m',), '/a b': ()}),
        (['--cap-add', 'NET_ADMIN', '--cap-add', 'sys_time'], 'cap_add',
         ('CAP_NET_ADMIN', 'CAP_SYS_TIME')),
        (['--cap-drop', 'ALL'], 'cap_drop', ('ALL',)),
        (['--ulimit', 'nofile=1024:4096', '--ulimit', 'core=-1'], 'ulimits',
         {'nofile': (1024, 4096), 'core': (2 ** 64 - 1, 2 ** 64 - 1)}),
        (['--sysctl', 'net.ipv4.ping_group_range=0 100'], 'sysctls',
         {'net.ipv4.ping_group_range': '0 100'}),
        (['--entrypoint', '/bin/my sh'], 'entrypoint', ['/bin/my sh']),
        (['--entrypoint', ''], 'entrypoint', ['']),
        (['-e', 'A=1', '-e', 'B=x "y" $z', '-e', 'A=2'], 'env',
         {'A': '2', 'B': 'x "y" $z'}),
        (['-e', 'E='], 'env', {'E': ''}),
        (['-e', '{A=1'], 'env', {'{A': '1'}),
    )
    @ddt.unpack
    def test_option(self, arguments, name, expected):
        self.assertEqual(expected, getattr(self._meant(*arguments), name))

    @ddt.data(
        ['nginx', '-g', 'daemon off;'], ['sh', '-c', 'echo "$A" \'b\' *'],
        [''], ['["a"]'], ['a\nb', '\\'], ['--', '-x'])
    def test_command(self, command):
        self.assertEqual(command, self._meant(command=command).command)

    def test_no_command(self):
        self.assertEqual({}, options.given(parse()))

    def test_volumes(self):
        uuid = '0f3e2a90-7d0b-4c3e-9a56-1c2d3e4f5a6b'
        self.assertEqual(
            (values.Volume(uuid, '/data', True),),
            self._meant(volumes=[uuid + ':/data:ro']).volumes)

    @mock.patch.dict(os.environ, {'HERE': 'value'})
    def test_env_from_here(self):
        os.environ.pop('NOT_HERE', None)
        self.assertEqual({'HERE': 'value', 'NOT_HERE': None},
                         self._meant('-e', 'HERE', '-e', 'NOT_HERE').env)

    def test_env_file(self):
        with tempfile.NamedTemporaryFile('w') as f:
            f.write('# comment\n\nA=1\n  B=two words \nC=#no comment\n')
            f.flush()
            meant = self._meant('--env-file', f.name, '-e', 'A=2')
        self.assertEqual({'A': '2', 'B': 'two words ', 'C': '#no comment'},
                         meant.env)

    def test_env_file_missing(self):
        error = self.assertRaises(
            exceptions.CommandError, options.given,
            parse('--env-file', '/nowhere/env'))
        self.assertIn('/nowhere/env', str(error))

    def test_metadata(self):
        metadata, user_data = options.for_server({'user': 'x' * 255})
        self.assertEqual({'containervm_user': 'x' * 255}, metadata)
        self.assertIsNone(user_data)

    def test_long_values_go_into_a_document_with_all_others(self):
        given = options.given(
            parse('--entrypoint', '/x', '-e', 'A=' + 'v' * 300),
            ['word', 'yes', '1.10', '#', 'ä\n'])
        metadata, user_data = options.for_server(given)
        self.assertEqual({}, metadata)
        meant = overrides.parse({}, metadata, user_data)
        self.assertEqual(['/x'], meant.entrypoint)
        self.assertEqual(['word', 'yes', '1.10', '#', 'ä\n'], meant.command)
        self.assertEqual({'A': 'v' * 300}, meant.env)

    def test_too_long_for_a_document(self):
        given = {'command': 'x' * 50000}
        error = self.assertRaises(exceptions.CommandError,
                                  options.for_server, given)
        self.assertIn('user-data', str(error))
        # Nova's own limit, of what is sent
        _metadata, document = options.for_server({'command': 'x' * 49000})
        self.assertLessEqual(len(base64.b64encode(document)), 65535)

    def test_image_property_too_long(self):
        options.check(image=options.for_image({'user': 'x' * 254}))
        error = self.assertRaises(
            exceptions.CommandError, options.for_image, {'user': 'x' * 255})
        self.assertIn('containervm_user', str(error))
        self.assertIn('255', str(error))

    def test_bad_value(self):
        error = self.assertRaises(
            exceptions.CommandError, options.check,
            metadata={'containervm_shm_size': 'much'})
        self.assertIn('containervm_shm_size', str(error))
        self.assertIn("'much'", str(error))

    def test_every_override_has_an_option(self):
        """A new override must be thought of here, too."""
        uuid = '0f3e2a90-7d0b-4c3e-9a56-1c2d3e4f5a6b'
        given = options.given(parse(
            '-e', 'A=1', '--entrypoint', 'x', '-u', '1', '-w', '/', '-t',
            '--hostname', 'x', '--restart', 'no', '--stop-signal', 'INT',
            '--stop-timeout', '1', '--read-only', '--privileged', '--init',
            '--shm-size', '1m', '--tmpfs', '/x', '--cap-add', 'ALL',
            '--cap-drop', 'ALL', '--ulimit', 'core=0', '--sysctl',
            'net.a=1'), ['x'], [uuid + ':/x'])
        self.assertEqual(set(overrides.OPTIONS), set(given))

    @ddt.data('novalue', '=x')
    def test_property_refused(self, text):
        parser = argparse.ArgumentParser(exit_on_error=False)
        options.add_property(parser, 'image')
        self.assertRaises(argparse.ArgumentError, parser.parse_args,
                          ['--property', text])

    def test_property(self):
        parser = argparse.ArgumentParser()
        options.add_property(parser, 'image')
        args = parser.parse_args(['--property', 'a=1', '--property',
                                  'b=c=d', '--property', 'e='])
        self.assertEqual({'a': '1', 'b': 'c=d', 'e': ''}, args.properties)
        self.assertEqual({}, parser.parse_args([]).properties)
