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
import os
from unittest import mock

import ddt
import fixtures
from nova.compute import power_state
from nova.compute import vm_states
from nova import exception
from nova import objects
from oslotest import base

from nova_containervm import conf
from nova_containervm import watcher

CONF = conf.CONF
UUID = '4ef9ad0c-7a91-4a3c-b3b2-3ac5e9d4a51c'


def report(**values):
    return json.dumps(dict({'v': 1, 'at': 0}, **values)) + '\n'


@ddt.ddt
class WatcherTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.top = self.useFixture(fixtures.TempDir()).path
        CONF.set_override('instances_path', self.top)
        self.addCleanup(CONF.clear_override, 'instances_path')
        self.dir = os.path.join(self.top, UUID)
        os.makedirs(os.path.join(self.dir, 'containervm'))
        self.instance = mock.Mock(
            spec=objects.Instance, uuid=UUID, host=CONF.host,
            metadata={'mine': 'x', 'containervm_error': 'old'},
            vm_state=vm_states.ACTIVE, task_state=None)
        self.get = self.useFixture(fixtures.MockPatchObject(
            objects.Instance, 'get_by_uuid',
            return_value=self.instance)).mock
        self.host = mock.Mock()
        self.state = self.host.get_guest.return_value.get_power_state
        self.state.return_value = power_state.RUNNING
        self.emit = mock.Mock()
        self.watcher = watcher.StatusWatcher(self.host, self.emit)

    def _write(self, *reports):
        with open(watcher.status_path(self.dir), 'a') as f:
            f.write(''.join(reports))

    def test_running(self):
        self._write(report(event='booted'), report(event='running'))
        self.watcher.poll()
        self.assertEqual({
            'mine': 'x', 'containervm_state': 'running',
            'containervm_restarts': '0',
            'containervm_started_at': '1970-01-01T00:00:00Z',
        }, self.instance.metadata)
        self.instance.save.assert_called_once_with()

    def test_unchanged_file_is_not_read_again(self):
        self._write(report(event='running'))
        self.watcher.poll()
        self.watcher.poll()
        self.get.assert_called_once()

    def test_end_is_told_until_it_is_taken_in(self):
        self._write(report(event='exited', code=3, final=True))
        self.watcher.poll()
        self.assertEqual('3', self.instance.metadata['containervm_exit_code'])
        self.emit.assert_not_called()       # still powering off
        self.state.return_value = power_state.SHUTDOWN
        self.instance.task_state = 'spawning'
        self.watcher.poll()
        self.emit.assert_not_called()       # Nova would drop it
        self.instance.task_state = None
        self.watcher.poll()
        self.watcher.poll()
        self.assertEqual(2, self.emit.call_count)
        self.assertEqual(UUID, self.emit.call_args.args[0].uuid)
        self.instance.vm_state = vm_states.STOPPED
        self.watcher.poll()
        self.watcher.poll()
        self.assertEqual(2, self.emit.call_count)

    def test_restarted_container_does_not_stop_the_server(self):
        self.state.return_value = power_state.SHUTDOWN
        self._write(report(event='exited', code=1, final=False),
                    report(event='restarting', restarts=1))
        self.watcher.poll()
        self.emit.assert_not_called()

    def test_server_of_another_host(self):
        self.instance.host = 'elsewhere'
        self._write(report(event='exited', code=3, final=True))
        self.watcher.poll()
        self.instance.save.assert_not_called()
        self.emit.assert_not_called()

    def test_deleted_server(self):
        self.get.side_effect = exception.InstanceNotFound(instance_id=UUID)
        self._write(report(event='exited', code=3, final=True))
        self.watcher.poll()
        self.emit.assert_not_called()

    def test_error_of_a_refused_operation_is_taken_back(self):
        self.instance.task_state = 'rescuing'
        self.watcher.restore(UUID, vm_states.ACTIVE)
        self.watcher.poll()
        self.instance.vm_state = vm_states.ERROR
        self.watcher.poll()
        self.instance.save.assert_not_called()  # Nova is still at it
        self.instance.task_state = None
        self.watcher.poll()
        self.assertEqual(vm_states.ACTIVE, self.instance.vm_state)
        self.instance.save.assert_called_once_with(expected_task_state=[None])
        self.instance.vm_state = vm_states.ERROR
        self.watcher.poll()                     # an error of something else
        self.assertEqual(vm_states.ERROR, self.instance.vm_state)

    def test_reports_in_a_rotated_file(self):
        self._write(report(event='running', restarts=2))
        path = watcher.status_path(self.dir)
        os.rename(path, watcher.files(path)[1])
        self._write(report(event='exited', code=3, final=True))
        self.watcher.poll()
        self.assertEqual('3', self.instance.metadata['containervm_exit_code'])
        self.assertEqual('2', self.instance.metadata['containervm_restarts'])

    def test_only_the_end_of_long_reports_is_read(self):
        self._write('x' * 100000 + '\n', report(event='running'))
        self.watcher.poll()
        self.assertEqual('running',
                         self.instance.metadata['containervm_state'])

    def test_a_flood_of_reports_is_slowed_down(self):
        clock = self.useFixture(fixtures.MockPatch(
            'time.monotonic', return_value=100.0)).mock
        for i in range(3 * watcher.BURST):
            self._write(report(event='restarting', restarts=i))
            self.watcher.poll()
        self.assertEqual(watcher.BURST, self.get.call_count)
        clock.return_value += watcher.SPACING
        self.watcher.poll()
        self.assertEqual(str(3 * watcher.BURST - 1),
                         self.instance.metadata['containervm_restarts'])

    @ddt.data('', 'rubbish\n')
    def test_nothing_reported(self, text):
        self._write(text)
        self.watcher.poll()
        self.get.assert_not_called()

    def test_other_directories_are_left_alone(self):
        os.makedirs(os.path.join(self.top, '_base', 'containervm'))
        self.watcher.poll()
        self.get.assert_not_called()
