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
import random

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
        b'\0' * 60000,
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
        line(event='health', status=['healthy']),
        line(event='health', status={}),
        b'\xff\xfe',
    )
    def test_rubbish_changes_nothing(self, rubbish):
        before = status.parse(RUNNING + b'\n')
        after = status.parse(RUNNING + b'\n' + rubbish + b'\n')
        self.assertEqual(before, after)

    def test_bounded(self):
        data = RUNNING + b'\n' + b'x' * status.READ_MAX
        self.assertEqual('', status.parse(data).state)

    def test_what_is_cut_off_is_not_known(self):
        """The last reports of a container that has restarted for hours."""
        round_ = b'\n'.join([
            line(event='running', restarts=7),
            line(event='exited', code=1, final=False),
            line(event='restarting', restarts=8), b''])
        data = round_ * (status.READ_MAX // len(round_) + 1)
        self.assertEqual('restarting', status.parse(data).state)
        end = line(event='exited', code=3, final=True)
        result = status.parse(b'x' * status.READ_MAX + b'\n' + end)
        self.assertEqual(
            {'containervm_state': 'exited', 'containervm_exit_code': '3',
             'containervm_health': None}, result.metadata())
        self.assertTrue(result.final)

    def test_the_first_line_may_be_half_of_one(self):
        data = line(event='exited', code=3, padding='x' * 100)
        filler = b'x\n' * (status.READ_MAX // 2)
        result = status.parse(
            (data + b'\n' + filler)[:status.READ_MAX + 20][20:])
        self.assertEqual('', result.state)

    def test_a_boot_starts_anew(self):
        before = [RUNNING, line(event='health', status='healthy'),
                  line(event='failed', stage='run', reason='x')]
        result = status.parse(b'\n'.join([*before, BOOTED]))
        self.assertEqual(status.Status(state='booting'), result)

    def test_random_changes(self):
        """A tenant may send anything: no exception, and only valid values."""
        lines = [BOOTED, RUNNING, line(event='health', status='unhealthy',
                                       output='no'),
                 line(event='exited', code=3, signal=0, oom=False,
                      final=False), line(event='restarting', restarts=1),
                 line(event='failed', stage='a', reason='b')]
        whole = b'\n'.join(lines)
        rng = random.Random(4)
        parts = [b'"', b'{', b'}', b'[', b'\\', b'\\ud800', b'1e999', b'-',
                 b'\0', b'\n', b'\xff', b'null', b'9' * 400]
        for _ in range(3000):
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 6)):
                at = rng.randrange(len(data))
                data[at:at + rng.randrange(4)] = rng.choice(parts)
            metadata = status.parse(bytes(data)).metadata()
            self.assertLessEqual(set(metadata), status.METADATA_KEYS)
            for value in metadata.values():
                if value is not None:
                    self.assertTrue(value.isprintable(), value)
                    self.assertLessEqual(len(value.encode()), 4 * 255)

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

    def test_unhealthy(self):
        lines = [RUNNING, line(event='health', status='starting'),
                 line(event='health', status='unhealthy',
                      output='no answer\n')]
        metadata = status.parse(b'\n'.join(lines)).metadata()
        self.assertEqual('unhealthy', metadata['containervm_health'])
        self.assertEqual('health check: no answer',
                         metadata['containervm_error'])
        lines.append(line(event='health', status='healthy'))
        metadata = status.parse(b'\n'.join(lines)).metadata()
        self.assertEqual('healthy', metadata['containervm_health'])
        self.assertIsNone(metadata['containervm_error'])

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
