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

from oslotest import base

from bench import figures_spawn
from bench import report

INSTANCE = '5f4cbb6b-3d0a-4a5b-8f7b-2a3f3c0b6a10'
LOG = (
    '2026-11-21 02:57:48.843 10999 DEBUG nova.compute.manager [None req-1 - '
    '-] [instance: %(id)s] Start spawning the instance on the hypervisor. '
    '_build_and_run_instance manager.py:2714\n'
    '2026-11-21 02:57:49.471 10999 DEBUG nova.virt.driver [None req-2 - -] '
    'Emitting event <LifecycleEvent: %(end).3f, %(id)s => Started> '
    'emit_event driver.py:1905\n')


class SpawnTestCase(base.BaseTestCase):

    def test_seconds(self):
        begin = figures_spawn.spawn_seconds(
            LOG % {'id': INSTANCE, 'end': 0}, INSTANCE)
        log = LOG % {'id': INSTANCE, 'end': 0.5 - begin}
        self.assertAlmostEqual(
            0.5, figures_spawn.spawn_seconds(log, INSTANCE), places=2)

    def test_log_of_another_server(self):
        log = LOG % {'id': 'other', 'end': 0}
        self.assertIsNone(figures_spawn.spawn_seconds(log, INSTANCE))


class ResultTestCase(base.BaseTestCase):

    def test_ratio_of_medians(self):
        result = report.Result('n', 'w', [3, 1, 2], [1, 1, 9], 1.5)
        self.assertEqual(2, result.ratio)
        self.assertFalse(result.met)

    def test_how_much_faster(self):
        result = report.Result('n', 'w', [2], [40], 15, faster=True)
        self.assertEqual(20, result.ratio)
        self.assertTrue(result.met)

    def test_without_reference(self):
        result = report.Result('n', 'w', [0.7], None, 1.0, unit='MB')
        self.assertTrue(result.met)
        self.assertIn('0.70 MB', report.table([result]))
