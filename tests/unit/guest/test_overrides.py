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

import dataclasses
import unittest

import ddt

from nova_containervm.guest import errors
from nova_containervm.guest import overrides
from nova_containervm.guest import values


def document(text):
    return b'#containervm\n' + text.encode()


@ddt.ddt
class SourcesTest(unittest.TestCase):

    def test_nothing(self):
        self.assertEqual(overrides.Overrides(), overrides.parse())
        self.assertEqual([], overrides.parse({}, {}, b'').names())

    def test_every_option_has_a_field_and_the_reverse(self):
        fields = {f.name for f in dataclasses.fields(overrides.Overrides)}
        self.assertEqual(fields - {'origins'}, set(overrides.OPTIONS))

    def test_other_keys_are_no_concern(self):
        found = overrides.parse({'os_distro': 'x', 'image_hw_x': 'y'},
                                {'owner': 'me'})
        self.assertEqual(overrides.Overrides(), found)

    def test_system_metadata_is_taken_as_it_is(self):
        found = overrides.parse({'image_containervm_tty': 'true',
                                 'instance_type_id': '3'})
        self.assertIs(True, found.tty)

    def test_what_the_driver_writes_is_ignored(self):
        metadata = {'containervm_' + name: 'x' for name in (
            'state', 'exit_code', 'error', 'restarts', 'started_at',
            'health')}
        self.assertEqual(overrides.Overrides(),
                         overrides.parse({'containervm_ref': 'a:b'},
                                         metadata))

    def test_the_highest_source_wins(self):
        found = overrides.parse(
            {'containervm_user': 'image', 'containervm_workdir': '/image',
             'containervm_tty': 'yes'},
            {'containervm_user': 'meta', 'containervm_workdir': '/meta'},
            document('user: data\n'))
        self.assertEqual(('data', '/meta', True),
                         (found.user, found.workdir, found.tty))
        self.assertEqual(overrides.USER_DATA, found.origins['user'].source)
        self.assertEqual(['tty', 'user', 'workdir'], found.names())

    def test_mappings_are_merged_and_lists_replaced(self):
        found = overrides.parse(
            {'containervm_env': 'A=1 B=1', 'containervm_cap_add': 'SYS_TIME',
             'containervm_ulimits': 'core=0 nofile=5'},
            {'containervm_env_B': '2', 'containervm_cap_add': 'NET_ADMIN',
             'containervm_ulimits': 'nofile=9'})
        self.assertEqual({'A': '1', 'B': '2'}, found.env)
        self.assertEqual(('CAP_NET_ADMIN',), found.cap_add)
        self.assertEqual({'core': (0, 0), 'nofile': (9, 9)}, found.ulimits)

    def test_env_single_beats_env_of_the_same_source_only(self):
        found = overrides.parse(
            {'containervm_env': 'A=list', 'containervm_env_A': 'single'})
        self.assertEqual({'A': 'single'}, found.env)
        found = overrides.parse({'containervm_env_A': 'low'},
                                {'containervm_env': 'A=high'})
        self.assertEqual({'A': 'high'}, found.env)

    def test_env_single_keeps_its_case_and_text(self):
        found = overrides.parse(
            metadata={'containervm_env_httpProxy': ' a "b" = c '})
        self.assertEqual({'httpProxy': ' a "b" = c '}, found.env)

    def test_an_entrypoint_clears_the_commands_below(self):
        found = overrides.parse(
            {'containervm_command': 'low'},
            {'containervm_entrypoint': 'entry'})
        self.assertEqual((['entry'], None),
                         (found.entrypoint, found.command))
        self.assertEqual(['entrypoint'], found.names())

    def test_an_entrypoint_keeps_the_command_beside_and_above(self):
        found = overrides.parse(
            {'containervm_entrypoint': 'entry',
             'containervm_command': 'beside'})
        self.assertEqual((['entry'], ['beside']),
                         (found.entrypoint, found.command))
        found = overrides.parse(
            {'containervm_entrypoint': 'entry',
             'containervm_command': 'beside'},
            {'containervm_command': 'above'})
        self.assertEqual((['entry'], ['above']),
                         (found.entrypoint, found.command))


@ddt.ddt
class ErrorsTest(unittest.TestCase):

    @ddt.data(
        ('image', 'containervm_shm_size', 'lots', 'image properties'),
        ('metadata', 'containervm_restart_policy', 'never',
         'server metadata'),
        ('metadata', 'containervm_env_', 'x', 'server metadata'),
        ('metadata', 'containervm_command', 'a "b', 'server metadata'),
    )
    @ddt.unpack
    def test_a_bad_value(self, source, key, value, words):
        with self.assertRaises(errors.InvalidOverride) as caught:
            overrides.parse(**{source: {key: value}})
        for part in (key, repr(value), words):
            self.assertIn(part, str(caught.exception))
        self.assertEqual((key, value),
                         (caught.exception.key, caught.exception.value))

    def test_a_long_value_leaves_room_for_the_reason(self):
        with self.assertRaises(errors.InvalidOverride) as caught:
            overrides.parse(metadata={'containervm_shm_size': 'x' * 5000})
        self.assertLess(len(str(caught.exception)), 255)
        self.assertIn('64m', str(caught.exception))

    @ddt.data(
        ('containervm_shmsize', 'containervm_shm_size'),
        ('containervm_comand', 'containervm_command'),
        ('containervm_stop_sginal', 'containervm_stop_signal'),
        ('containervm_restart', 'containervm_restart_policy'),
    )
    @ddt.unpack
    def test_an_unknown_name_with_a_near_one(self, key, nearest):
        with self.assertRaises(errors.UnknownOverride) as caught:
            overrides.parse(metadata={key: 'x'})
        self.assertEqual(
            f'Unknown name {key} in the server metadata; did you mean '
            f'{nearest}?', str(caught.exception))

    def test_an_unknown_name_like_nothing(self):
        with self.assertRaises(errors.UnknownOverride) as caught:
            overrides.parse(image={'containervm_zzz': 'x'})
        self.assertEqual('Unknown name containervm_zzz in the image '
                         'properties', str(caught.exception))

    def test_a_property_that_nova_may_have_cut(self):
        value = 'x' * 255
        with self.assertRaisesRegex(errors.InvalidOverride, '255'):
            overrides.parse({'image_containervm_command': value})
        # Metadata is refused, not cut, where it is longer.
        found = overrides.parse(metadata={'containervm_command': value})
        self.assertEqual([value], found.command)


@ddt.ddt
class UserDataTest(unittest.TestCase):

    @ddt.data(b'', None, b'#cloud-config\ncommand: x\n', b'#!/bin/sh\n',
              b'\x1f\x8b\x08', b' #containervmX\n', b'command: x\n',
              b'#containervm', b'#containervm\n', b'#containervm\n# only\n')
    def test_not_a_document_or_an_empty_one(self, user_data):
        self.assertEqual(overrides.Overrides(),
                         overrides.parse(user_data=user_data))

    def test_everything(self):
        found = overrides.parse(user_data=document("""
command: [nginx, -g, "daemon off;"]
entrypoint: ["/entry"]
env:
  DEBUG: yes
  VERSION: 1.10
  MODE: 0755
  EMPTY: ""
  GONE:
  TEXT: |
    two
    lines
user: app
workdir: /srv
hostname: web
restart_policy: on-failure:3
stop_signal: SIGQUIT
stop_timeout: 30
tty: true
read_only: no
privileged: false
cap_add: [NET_ADMIN]
cap_drop: ALL
shm_size: 1g
ulimits: {nofile: "1024:4096"}
sysctls: {net.core.somaxconn: 1024}
tmpfs: ["/run:size=64m"]
volumes: ["0f3e2a90-7d0b-4c3e-9a56-1c2d3e4f5a6b:/data"]
init: on
"""))
        self.assertEqual(sorted(overrides.OPTIONS), found.names())
        self.assertEqual(['nginx', '-g', 'daemon off;'], found.command)
        self.assertEqual(
            {'DEBUG': 'yes', 'VERSION': '1.10', 'MODE': '0755', 'EMPTY': '',
             'GONE': None, 'TEXT': 'two\nlines\n'}, found.env)
        self.assertEqual(values.RestartPolicy('on-failure', 3),
                         found.restart_policy)
        self.assertEqual((3, 30, True, False, False, True),
                         (found.stop_signal, found.stop_timeout, found.tty,
                          found.read_only, found.privileged, found.init))

    def test_names_with_the_prefix_and_dos_line_ends(self):
        found = overrides.parse(
            user_data=b'#containervm\r\ncontainervm_user: app\r\n')
        self.assertEqual('app', found.user)

    @ddt.data(
        ('- a\n- b\n', 'mapping'),
        ('just text\n', 'mapping'),
        ('user: [unclosed\n', '#containervm'),
        ('user: a\nuser: b\n', 'twice'),
        ('env: {A: 1, A: 2}\n', 'twice'),
        ('a: &a [x]\nb: *a\n', 'anchors'),
        ('user: !!python/object/apply:os.system [id]\n', '#containervm'),
        ('user: !!timestamp 2020-01-01\n', 'neither'),
        ('env: !!set {A, B}\n', 'neither'),
        ('{[a]: b}\n', '#containervm'),
        ('1: x\n', 'Unknown name 1'),
        ('env: ' + '{a: ' * 50 + 'b' + '}' * 50, 'nested'),
        ('env: ' + '[' * 20000, 'nested'),
        ('env: [' + 'a,' * 6000 + ']', 'large'),
        ('comand: x\n', 'did you mean command'),
        ('command: {a: b}\n', 'Invalid value'),
        ('--- \nuser: a\n--- \nuser: b\n', '#containervm'),
        ('user: "a\\0b"\n', 'NUL'),
    )
    @ddt.unpack
    def test_refused(self, text, words):
        with self.assertRaises(errors.InvalidOverride) as caught:
            overrides.parse(user_data=document(text))
        self.assertIn(words, str(caught.exception))
        self.assertIn('user-data document', str(caught.exception))

    def test_a_document_that_is_no_text(self):
        self.assertRaisesRegex(
            errors.InvalidOverride, 'UTF-8', overrides.parse,
            user_data=b'#containervm\nuser: \xff\n')

    def test_a_document_that_is_too_long(self):
        self.assertRaisesRegex(
            errors.InvalidOverride, 'longer', overrides.parse,
            user_data=document('# ' + 'x' * 70000))
