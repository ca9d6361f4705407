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

import ddt
from openstack.compute.v2 import server_action as sdk_action
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from nova_containervm.cli.osc import servers
from tests.unit.cli.osc import fakes

RUNNING = {'containervm_state': 'running', 'containervm_restarts': '2',
           'containervm_health': 'healthy',
           'containervm_started_at': '2026-11-21T10:00:00Z'}
ADDRESSES = {'private': [{'addr': '10.0.0.5', 'version': 4},
                         {'addr': 'fd00::5', 'version': 6}]}


class StatusTestCase(fakes.TestCommand):

    def test_running(self):
        self.history({'metadata': RUNNING, 'addresses': ADDRESSES,
                      'image': {'id': 'i'}})
        shown = self.take(servers.Status, 'web1')
        self.assertEqual({'private': ['10.0.0.5', 'fd00::5']},
                         shown.pop('addresses').machine_readable())
        self.assertEqual({
            'id': '1234', 'name': 'web1', 'image': 'i', 'status': 'ACTIVE',
            'container': 'running', 'exit_code': None, 'health': 'healthy',
            'restarts': 2, 'started_at': '2026-11-21T10:00:00Z',
            'error': None}, shown)

    def test_ended(self):
        self.history({'status': 'SHUTOFF', 'metadata': {
            'containervm_state': 'exited', 'containervm_exit_code': '137',
            'containervm_error': 'killed: out of memory'}})
        shown = self.take(servers.Status, '1234')
        self.assertEqual(137, shown['exit_code'])
        self.assertEqual('killed: out of memory', shown['error'])

    def test_error(self):
        self.history({'status': 'ERROR',
                      'fault': {'message': 'No valid host'}})
        self.assertEqual('No valid host',
                         self.take(servers.Status, 'web1')['error'])

    def test_unknown(self):
        self.history({})
        self.assertRaises(exceptions.CommandError, self.execute,
                          servers.Status, 'web2')

    def test_json(self):
        self.history({'metadata': RUNNING, 'addresses': ADDRESSES})
        self.assertEqual(0, self.execute(servers.Status, '-f', 'json',
                                         'web1'))
        self.assertIn('"restarts": 2', self.printed())


class ListTestCase(fakes.TestCommand):

    def setUp(self):
        super().setUp()
        self.sdk.image.images.return_value = [self.image]
        ours = {'id': self.image.id}
        self.sdk.compute.servers.return_value = [
            fakes.server('running', metadata=RUNNING, image=ours),
            fakes.server('plain', image={'id': 'cirros'}),
            fakes.server('new', status='BUILD', image=ours),
            fakes.server('image-gone', metadata=RUNNING,
                         image={'id': 'gone'}),
            fakes.server('volume', image=None),
            fakes.server('ended', status='SHUTOFF', image=ours, metadata={
                'containervm_state': 'exited',
                'containervm_exit_code': '3'}),
            fakes.server('failed', status='ERROR', image=ours)]

    def _listed(self, *arguments):
        command = servers.ListServers(self.app, None)
        columns, rows = command.take_action(
            command.get_parser('test').parse_args(arguments))
        return [dict(zip(columns, row)) for row in rows]

    def test_running(self):
        rows = self._listed()
        self.assertEqual(['running', 'new', 'image-gone'],
                         [row['Name'] for row in rows])
        self.assertEqual(['nginx', 'nginx', 'gone'],
                         [row['Image'] for row in rows])
        self.sdk.image.images.assert_called_once_with(
            container_format='docker')

    def test_all(self):
        rows = self._listed('--all', '--long')
        self.assertEqual(['running', 'new', 'image-gone', 'ended', 'failed'],
                         [row['Name'] for row in rows])
        self.assertEqual([None, None, None, 3, None],
                         [row['Exit Code'] for row in rows])
        self.assertEqual('healthy', rows[0]['Health'])

    def test_table(self):
        self.assertEqual(0, self.execute(servers.ListServers, '-a'))
        self.assertIn('| ended', self.printed())


class LogsTestCase(fakes.TestCommand):

    def test_once(self):
        self.history({})
        self.console('a\nb\n', 'a\nb\nc\n')
        self.execute(servers.Logs, 'web1')
        self.assertEqual('a\nb\n', self.printed())

    def test_tail(self):
        self.history({})
        self.console('a\nb\n')
        self.execute(servers.Logs, '-n', '1', 'web1')
        self.assertEqual('b\n', self.printed())

    def test_follow(self):
        self.history({}, {}, {}, {'status': 'SHUTOFF'})
        self.console('a\n', 'a\nb\n')
        self.assertFalse(self.execute(servers.Logs, '-f', 'web1'))
        self.assertEqual('a\nb\n', self.printed())

    def test_interrupted(self):
        self.history({})
        self.console('a\n')
        self.sleep.side_effect = KeyboardInterrupt
        self.assertFalse(self.execute(servers.Logs, '-f', 'web1'))
        self.sdk.compute.stop_server.assert_not_called()


class StopTestCase(fakes.TestCommand):

    def test_waits(self):
        self.history({}, {'task_state': 'powering-off'},
                     {'task_state': 'powering-off'}, {'status': 'SHUTOFF'})
        self.execute(servers.Stop, 'web1')
        self.sdk.compute.stop_server.assert_called_once_with('1234')
        self.assertEqual(4, self.sdk.compute.get_server.call_count)

    def test_no_wait(self):
        self.history({})
        self.execute(servers.Stop, '--no-wait', 'web1')
        self.sdk.compute.stop_server.assert_called_once_with('1234')

    def test_stopped_already(self):
        self.history({'status': 'SHUTOFF'})
        self.execute(servers.Stop, 'web1')
        self.sdk.compute.stop_server.assert_not_called()

    def test_refused(self):
        self.history({})
        self.sdk.compute.stop_server.side_effect = (
            sdk_exceptions.ConflictException(details='it is locked'))
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  servers.Stop, 'web1')
        self.assertIn('it is locked', str(error))


@ddt.ddt
class CommitTestCase(fakes.TestCommand):

    def setUp(self):
        super().setUp()
        self.history({})
        self.sdk.compute.server_actions.return_value = []

    def test_commit(self):
        made = fakes.image('web1-image', size=1000)
        self.sdk.image.wait_for_status.return_value = made
        shown = self.take(servers.Commit, 'web1', 'web1-image')
        self.sdk.compute.create_server_image.assert_called_once_with(
            '1234', 'web1-image')
        self.assertEqual({
            'id': made.id, 'name': 'web1-image', 'status': 'active',
            'container_format': 'docker', 'size': 1000}, shown)

    @ddt.data(sdk_exceptions.ResourceFailure('it failed'),
              sdk_exceptions.NotFoundException('it is gone'),
              sdk_exceptions.ResourceTimeout('it takes long'))
    def test_fails(self, failure):
        self.sdk.image.wait_for_status.side_effect = failure
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  servers.Commit, 'web1', 'x')
        self.assertIn(str(failure), str(error))

    def test_fails_with_a_reason(self):
        self.sdk.image.wait_for_status.side_effect = (
            sdk_exceptions.NotFoundException())
        self.sdk.compute.server_actions.return_value = [
            sdk_action.ServerAction(action='stop', request_id='req-0'),
            sdk_action.ServerAction(action='createImage',
                                    request_id='req-1')]
        self.sdk.compute.get_server_action.return_value = (
            sdk_action.ServerAction(events=[{'details': 'disk is full'}]))
        error = self.assertRaises(exceptions.CommandError, self.execute,
                                  servers.Commit, 'web1', 'x')
        self.assertIn('disk is full', str(error))
        self.sdk.compute.get_server_action.assert_called_once_with(
            'req-1', '1234')
