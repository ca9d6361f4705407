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


import json

import ddt
from oslotest import base

from nova_containervm.guest import status


def line(**report):
    return json.dumps(dict({'v': 1, 'at': 1700000000.5}, **report)).encode()


BOOTED = line(event='booted', uptime=1.9)
RUNNING = line(event='running', restarts=0)


@ddt.ddt
class ParseTestCase(base.BaseTestCase):

    @ddt.data(
        ([], '', None),
        ([BOOTED], 'booting', None),
        ([BOOTED, RUNNING], 'running', None),
        ([BOOTED, RUNNING, line(event='exited', code=3, final=True)],
         'exited', 3),
        ([BOOTED, RUNNING, line(event='exited', code=0, final=False),
          line(event='restarting', restarts=1)], 'restarting', 0),
        ([BOOTED, RUNNING, line(event='exited', code=1, final=False),
          line(event='running', restarts=1)], 'running', None),
        ([BOOTED, line(event='failed', stage='rootfs', reason='gone')],
         'failed', 125),
    )
    @ddt.unpack
    def test_states(self, lines, state, code):
        result = status.parse(b'\n'.join(lines) + b'\n')
        self.assertEqual(state, result.state)
        self.assertEqual(code, result.exit_code)

    @ddt.data(
        b'\0' * 100000,
        b'{' * 1000,
        b'[' * 1023,
        b'"running"',
        b'null',
        b'{"v": 1}',
        b'{"v": 1, "event": {}}',
        b'{"v": 1, "event": ["exited"]}',
        b'{"v": 2, "event": "running"}',
        b'{"v": true, "event": "bogus"}',
        b'{"event": "running"}',
        line(event='running', padding='x' * status.LINE_MAX),
        line(event='exited', code=256),
        line(event='exited', code=-1),
        line(event='exited', code='3'),
        line(event='exited', code=True),
        line(event='exited', code=3.0),
        line(event='health', status='fine'),
        b'\xff\xfe',
    )
    def test_rubbish_changes_nothing(self, rubbish):
        before = status.parse(RUNNING + b'\n')
        after = status.parse(RUNNING + b'\n' + rubbish + b'\n')
        self.assertEqual(before, after)

    def test_bounded(self):
        data = b'x' * status.READ_MAX + b'\n' + RUNNING
        self.assertEqual('', status.parse(data).state)

    @ddt.data('NaN', '1e400', '-1', '"now"', 'true', '99999999999')
    def test_bad_time(self, at):
        result = status.parse(
            ('{"v": 1, "event": "running", "at": %s}' % at).encode())
        self.assertEqual('running', result.state)
        self.assertEqual('', result.started_at)

    def test_text_is_short_and_printable(self):
        result = status.parse(line(event='failed', stage='a\nb\x1b[0m',
                                   reason='r' * 600))
        self.assertTrue(result.error.startswith('a?b?[0m: rrr'))
        self.assertEqual(status.TEXT_MAX, len(result.error))


class MetadataTestCase(base.BaseTestCase):

    def test_exited(self):
        result = status.parse(RUNNING + b'\n' + line(
            event='exited', code=137, oom=True, final=True))
        self.assertEqual({
            'containervm_state': 'exited',
            'containervm_exit_code': '137',
            'containervm_error': 'killed: out of memory',
            'containervm_restarts': '0',
            'containervm_started_at': '2023-11-14T22:13:20Z',
            'containervm_health': None,
        }, result.metadata())

    def test_values_fit_the_database(self):
        result = status.parse(line(event='failed', stage='s' * 400,
                                   reason='r' * 400))
        for value in result.metadata().values():
            self.assertLessEqual(len(value or ''), 255)
