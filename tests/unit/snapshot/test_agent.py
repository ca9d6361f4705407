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

"""The guest agent's answers."""

import json
import shutil
import subprocess
import tempfile
import unittest

from tests.unit.snapshot import guest

ERROR = 'GenericError'


@unittest.skipUnless(shutil.which('gcc'), 'no C compiler')
class AgentTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = tempfile.TemporaryDirectory()
        cls.program = guest.build(cls.directory.name)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()
        super().tearDownClass()

    def ask(self, *requests):
        """Lines that come back: JSON objects, and notes of the harness."""
        lines = [r if isinstance(r, bytes) else json.dumps(r).encode()
                 for r in requests]
        done = subprocess.run([self.program, 'agent'],
                              input=b'\n'.join(lines) + b'\n', check=True,
                              capture_output=True)
        self.assertEqual(b'', done.stderr)
        return [json.loads(line.removeprefix(b'\xff'))
                if line[:1] in b'{\xff' else line.decode()
                for line in done.stdout.splitlines()]

    def command(self, name, **arguments):
        request = {'execute': name}
        if arguments:
            request['arguments'] = arguments
        return request

    def test_sync(self):
        self.assertEqual(
            [{'return': 1234567890123}, {'return': -1}, {'return': {}}],
            self.ask(self.command('guest-sync', id=1234567890123),
                     self.command('guest-sync-delimited', id=-1),
                     self.command('guest-ping')))

    def test_info_lists_what_there_is(self):
        answer, = self.ask(self.command('guest-info'))
        names = [c['name'] for c in answer['return']['supported_commands']]
        self.assertEqual(sorted(set(names)), sorted(names))
        for name in names:
            answer = self.ask(self.command(name))[-1]
            self.assertNotEqual(
                'CommandNotFound', answer.get('error', {}).get('class'), name)
        self.assertIn('guest-fsfreeze-freeze', names)

    def test_freeze(self):
        freeze, thaw, status = (
            self.command('guest-fsfreeze-' + name)
            for name in ('freeze', 'thaw', 'status'))
        answers = self.ask(status, freeze, status, freeze, thaw, status, thaw)
        self.assertEqual(
            [{'return': 'thawed'}, {'return': 2}, {'return': 'frozen'}],
            answers[:3])
        self.assertEqual(ERROR, answers[3]['error']['class'])
        self.assertEqual([{'return': 2}, {'return': 'thawed'},
                          {'return': 0}], answers[4:])

    def test_set_time(self):
        answers = self.ask(
            self.command('guest-set-time', time=1500000001000000002),
            self.command('guest-set-time', time=-1),
            self.command('guest-set-time', time='now'))
        self.assertEqual(['clock 0 1500000001.000000002', {'return': {}}],
                         answers[:2])
        self.assertEqual([ERROR] * 2,
                         [a['error']['class'] for a in answers[2:]])

    def test_shutdown(self):
        shutdown = 'guest-shutdown'
        for mode in ({}, {'mode': 'powerdown'}, {'mode': 'halt'}):
            self.assertEqual(['kill 1 15', {'return': {}}],
                             self.ask(self.command(shutdown, **mode)))
        for mode in ({'mode': 'reboot'}, {'mode': 1}):
            answer, = self.ask(self.command(shutdown, **mode))
            self.assertEqual(ERROR, answer['error']['class'])

    def test_shutdown_of_a_frozen_guest_thaws_it(self):
        answers = self.ask(self.command('guest-fsfreeze-freeze'),
                           self.command('guest-shutdown'),
                           self.command('guest-fsfreeze-thaw'))
        self.assertEqual({'return': 0}, answers[-1])

    def test_no_request(self):
        for text in (b'x', b'{}', b'[]', b'{"execute": 1}', b'{"execute":',
                     b'{"execute": "guest-ping"} x', b'"guest-ping"',
                     b'{"execute": "gu\\u0065st-ping"}', b'[' * 100,
                     b'{"execute": "%s"}' % (b'x' * 100), b'\0'):
            answer, = self.ask(text)
            self.assertEqual(ERROR, answer['error']['class'], text)
        for text in (b'{"execute": "guest-exec"}',
                     b'{"execute": ""}'):
            answer, = self.ask(text)
            self.assertEqual('CommandNotFound', answer['error']['class'])

    def test_any_json_is_understood(self):
        for text in (b' { "a" : [1, {"b": null}, "\\"}"], "execute" : '
                     b'"guest-ping" , "arguments" : {} } ',
                     b'{"arguments":{"x":[]},"execute":"guest-ping"}'):
            self.assertEqual([{'return': {}}], self.ask(text))

    def test_fuzz(self):
        text = json.dumps(self.command('guest-sync', id=17, x=[1, 'a"b']))
        for seed in range(3):
            subprocess.run([self.program, 'fuzz', str(seed), '5000'],
                           input=text.encode(), check=True,
                           capture_output=True)

    def test_interface(self):
        up = '__org.openstack.containervm_interface-up'
        bad = {'error': {'class': ERROR, 'desc': 'not an interface'}}
        for arguments, answers in (
                ({'mac': 'fa:16:3e:00:00:01', 'mtu': 1450, 'number': 2,
                  'addrs': '10.0.0.5/24 fd00::5/64',
                  'routes': '0.0.0.0/0,10.0.0.1', 'dhcp': ''},
                 ['nic 2 fa:16:3e:00:00:01 1450 [10.0.0.5/24 fd00::5/64] '
                  '[0.0.0.0/0,10.0.0.1] 00', {'return': {}}]),
                ({'mac': 'fa:16:3e:00:00:01', 'dhcp': '4 6'},
                 ['nic 0 fa:16:3e:00:00:01 0 [] [] 11', {'return': {}}]),
                # Its own words, made harmless
                ({'mac': 'fa:16:3e:00:00:01', 'number': 9},
                 ['nic 9 fa:16:3e:00:00:01 0 [] [] 00',
                  {'error': {'class': ERROR, 'desc': 'no ?such???'}}]),
                ({}, [bad]),
                ({'mac': ''}, [bad]),
                ({'mac': 5}, [bad]),
                ({'mac': 'x' * 40}, [bad]),
                ({'mac': 'a', 'mtu': 65536}, [bad]),
                ({'mac': 'a', 'mtu': '1450'}, [bad]),
                ({'mac': 'a', 'number': -1}, [bad]),
                ({'mac': 'a', 'addrs': '1' * 1024}, [bad])):
            with self.subTest(arguments):
                self.assertEqual(answers, self.ask(self.command(
                    up, **arguments)))
