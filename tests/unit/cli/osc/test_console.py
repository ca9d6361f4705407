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

import contextlib
import io

import ddt
from openstack import exceptions as sdk_exceptions

from nova_containervm.cli.osc import console
from tests.unit.cli.osc import fakes

LINES = ''.join('line %d\n' % n for n in range(1000))


@ddt.ddt
class AddedTestCase(fakes.TestCommand):

    @ddt.data(
        ('', '', '', False),
        ('', 'a\n', 'a\n', False),
        ('a\n', 'a\nb\n', 'b\n', False),
        ('a\n', 'a\n', '', False),
        # A line grows.
        ('a', 'abc\n', 'bc\n', False),
        # Nova cut the beginning, in the middle of a line.
        (LINES, LINES[2005:] + 'new\n', 'new\n', False),
        (LINES, LINES[2005:], '', False),
        (LINES, '\ufffd\ufffd' + LINES[2005:] + 'new', 'new', False),
        # So much came that nothing of the old log is left.
        (LINES, 'x 1\nx 2\n', 'x 1\nx 2\n', True),
        # It began anew.
        ('old\n', 'boot\n', 'boot\n', True),
    )
    @ddt.unpack
    def test_added(self, before, now, expected, lost):
        self.assertEqual((expected, lost), console.added(before, now))

    @ddt.data((None, 'a\nb\nc'), (2, 'b\nc'), (0, ''), (9, 'a\nb\nc'))
    @ddt.unpack
    def test_last_lines(self, count, expected):
        self.assertEqual(expected, console.last_lines('a\nb\nc', count))


class FollowerTestCase(fakes.TestCommand):

    def _follow(self, **kwargs):
        out = io.StringIO()
        server = console.Follower(self.sdk, out, **kwargs).follow(
            fakes.server(id='1234'))
        return server, out.getvalue()

    def test_until_it_ends(self):
        self.history({'status': 'BUILD'}, {}, {}, {},
                     {'task_state': 'powering-off'}, {'status': 'SHUTOFF'})
        self.console('', '', 'one\r\n', 'one\r\ntwo\r\n',
                     'one\r\ntwo\r\nthree\r\n')
        server, printed = self._follow()
        self.assertEqual('SHUTOFF', server.status)
        self.assertEqual('one\ntwo\nthree\n', printed)

    def test_tail(self):
        self.history({}, {}, {'status': 'SHUTOFF'})
        self.console('a\nb\nc\n', 'a\nb\nc\nd\n')
        self.assertEqual('c\nd\n', self._follow(lines=1)[1])

    def test_no_console_yet(self):
        self.history({'status': 'BUILD'}, {'status': 'ERROR'})
        self.sdk.compute.get_server_console_output.side_effect = (
            sdk_exceptions.ConflictException())
        self.assertEqual('', self._follow()[1])

    def test_something_is_lost(self):
        self.history({}, {'status': 'SHUTOFF'})
        self.console('a\n', 'z\n')
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual('a\nz\n', self._follow()[1])
        self.assertIn('some output is lost', err.getvalue())


@ddt.ddt
class ExitCodeTestCase(fakes.TestCommand):

    @ddt.data(
        ({'containervm_state': 'exited', 'containervm_exit_code': '3'}, 3,
         ''),
        ({'containervm_state': 'exited', 'containervm_exit_code': '0'}, 0,
         ''),
        ({'containervm_state': 'exited', 'containervm_exit_code': '137',
          'containervm_error': 'killed: out of memory'}, 137,
         'out of memory'),
        ({'containervm_state': 'failed', 'containervm_exit_code': '125',
          'containervm_error': 'mount: no such share'}, 125,
         'no such share'),
        ({'containervm_state': 'exited'}, 125, ''),
    )
    @ddt.unpack
    def test_code(self, metadata, expected, said):
        server = self.history({'status': 'SHUTOFF', 'metadata': metadata})
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(expected, console.exit_code(self.sdk, server))
        self.assertIn(said, err.getvalue())

    def test_report_comes_after_the_state(self):
        running = {'status': 'SHUTOFF',
                   'metadata': {'containervm_state': 'running'}}
        server = self.history(running, running, {
            'status': 'SHUTOFF', 'metadata': {
                'containervm_state': 'exited',
                'containervm_exit_code': '7'}})
        self.assertEqual(7, console.exit_code(self.sdk, server))

    def test_no_report(self):
        server = self.history({'status': 'SHUTOFF', 'metadata': {
            'containervm_state': 'running'}})
        times = iter(range(0, 1000, 4))
        self.patch_time(times)
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(125, console.exit_code(self.sdk, server))
        self.assertIn('without a word', err.getvalue())

    def test_error(self):
        server = fakes.server(status='ERROR', fault={
            'message': 'No valid host was found.'})
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(125, console.exit_code(self.sdk, server))
        self.assertIn('No valid host', err.getvalue())
