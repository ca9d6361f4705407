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
import pathlib
import tempfile
from unittest import mock

from oslotest import base

from bench import aio
from bench import figures_transports
from bench import guests
from bench import matrix
from bench import memory
from bench import qemu
from bench import transports_cli

SMAPS = '''\
55d000000000-55d000100000 r-xp 00000000 fe:00 7     /usr/bin/qemu
Rss:                 900 kB
Pss:                 300 kB
Pss_Dirty:             0 kB
7f0000000000-7f0020000000 rw-p 00000000 00:00 0
Pss:               81920 kB
7f1000000000-7f1040000000 rwxp 00000000 00:00 0
Pss:               20480 kB
7f2000000000-7f2000010000 rw-s 00000000 00:01 9      /memfd:ram (deleted)
Pss:                1024 kB
'''


class MemoryTestCase(base.BaseTestCase):

    def test_parse(self):
        found = memory.parse(SMAPS, 512 << 20)
        self.assertEqual((300 + 81920 + 20480 + 1024) << 10, found.total)
        self.assertEqual((81920 + 1024) << 10, found.guest)
        self.assertEqual(20480 << 10, found.code)

    def test_sum_of_processes(self):
        self.assertEqual(memory.Pss(11, 22, 33),
                         memory.Pss(1, 2, 3) + memory.Pss(10, 20, 30))

    def test_own(self):
        found = memory.pss([os.getpid()], 1)
        self.assertGreater(found.total, 1 << 20)

    def test_process_that_has_ended(self):
        self.assertEqual(memory.Pss(), memory.pss([1 << 30], 1))

    def test_page_cache(self):
        # Memory is not cached on a disk: /tmp may be one
        with tempfile.NamedTemporaryFile(dir='/var/tmp') as f:
            f.write(bytes(1 << 20))
            f.flush()
            self.assertEqual(1 << 20, memory.cached([f.name]))

    def test_page_cache_of_an_empty_file(self):
        with tempfile.NamedTemporaryFile() as f:
            self.assertEqual(0, memory.cached([f.name]))

    def test_settles(self):
        sizes = [memory.Pss(n) for n in (1000, 2000, 3000, 3001)]
        with mock.patch.object(memory, 'pss', side_effect=sizes), \
                mock.patch.object(memory.time, 'sleep'):
            self.assertEqual(3001, memory.settled([1], 1).total)

    def test_does_not_settle(self):
        sizes = [memory.Pss(n << 20) for n in range(1, 99)]
        with mock.patch.object(memory, 'pss', side_effect=sizes), \
                mock.patch.object(memory.time, 'sleep'):
            error = self.assertRaises(aio.Failed, memory.settled, [1], 1, 0)
        self.assertIn('1 MB and then 2 MB', str(error))

    def test_files_of_a_disk(self):
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            (directory / 'disk').touch()
            (directory / 'disk.rootfs').symlink_to('disk')
            found = memory.image_files(mock.Mock(directory=directory))
            self.assertEqual([(directory / 'disk').resolve()], found)

    def test_files_of_a_share(self):
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            (directory / 'rootfs' / 'etc').mkdir(parents=True)
            (directory / 'rootfs' / 'etc' / 'passwd').touch()
            (directory / 'rootfs' / 'passwd').symlink_to('etc/passwd')
            found = memory.image_files(mock.Mock(directory=directory))
            self.assertEqual([directory / 'rootfs' / 'etc' / 'passwd'], found)


class RowTestCase(base.BaseTestCase):

    def test_at_most(self):
        row = matrix.Row('n', 'w', {'block': [2, 9, 1], '9p': [1]},
                         against='9p', limit=1.15)
        self.assertEqual(2, row.ratio)
        self.assertFalse(row.met(row.ratio))
        self.assertEqual('<= 1.15 x 9p', row.goal())

    def test_speed_of_times(self):
        row = matrix.Row('n', 'w', {'block': [2], 'vm': [1.9]}, limit=0.9,
                         least=True, cpu={'block': [2], 'vm': [1]})
        self.assertAlmostEqual(0.95, row.ratio)
        self.assertTrue(row.met(row.ratio))
        self.assertEqual(0.5, row.cpu_ratio)
        self.assertFalse(row.met(row.cpu_ratio))

    def test_speed_of_rates(self):
        row = matrix.Row('n', 'w', {'block': [300], 'vm': [100]}, least=True,
                         rate=True, cpu={'block': [1], 'vm': [2]})
        self.assertEqual(3, row.ratio)
        self.assertEqual(2, row.cpu_ratio)
        self.assertIsNone(row.met(row.ratio))

    def test_kind_that_was_not_measured(self):
        row = matrix.Row('n', 'w', {'block': [300]}, limit=1)
        self.assertIsNone(row.ratio)
        self.assertIsNone(row.met(row.ratio))

    def test_the_other_has_none(self):
        rows = [matrix.Row('n', 'cache', {'block': [23], 'vm': [0]}, limit=1)]
        self.assertIsNone(rows[0].ratio)
        self.assertIn('cache', matrix.table(rows, ('block', 'vm')))

    def test_table(self):
        rows = [matrix.Row('n', 'first', {'block': [1, 3, 2], 'vm': [1]},
                           limit=1, cpu={'block': [1], 'vm': [4]})]
        lines = matrix.table(rows, ('block', 'vm'), ['a note']).splitlines()
        self.assertEqual(['what', 'block', 'vm', 'ratio', 'goal', 'met'],
                         lines[0].split())
        self.assertEqual('first, s 2.00 (1.00-3.00) 1.00 2.00 <= 1 x vm NO',
                         ' '.join(lines[2].split()))
        self.assertEqual('in CPU time, s 1.00 4.00 0.25 <= 1 x vm yes',
                         ' '.join(lines[3].split()))
        self.assertEqual('a note', lines[-1])

    def test_json(self):
        rows = [matrix.Row('n', 'w', {'block': [1], 'vm': [4]}, limit=0.5)]
        row, = json.loads(matrix.as_json(rows))['rows']
        self.assertEqual((0.25, True, None),
                         (row['ratio'], row['met'], row['cpu_met']))


def _sample(cpu):
    return qemu.Sample(0, cpu)


class WorkTestCase(base.BaseTestCase):

    def test_jobs(self):
        done = figures_transports.work_of([
            (_sample(5), ['first', 'line']),
            (_sample(6), ['begin', 'find']),
            (_sample(9), ['end', 'find', '2.5', '1.0', '0.5']),
            (_sample(9), ['done'])])
        self.assertEqual({'find': qemu.Sample(2.5, 3)}, done)

    def test_failed(self):
        error = self.assertRaises(
            aio.Failed, figures_transports.work_of,
            [(_sample(5), ['failed:', 'find:', 'no', 'such', 'file'])])
        self.assertIn('find: no such file', str(error))

    def test_every_job_is_in_the_script(self):
        script = (aio.CHECKOUT / 'tools/images/files/bench-jobs.sh'
                  ).read_text()
        for name in figures_transports.JOBS:
            self.assertIn('    job %s ' % name, script)

    def test_requests(self):
        text = ('Failed requests:        %d\n'
                'Requests per second:    123.45 [#/sec] (mean)\n')
        self.assertEqual(123.45, figures_transports._requests(text % 0))
        self.assertRaises(aio.Failed, figures_transports._requests, text % 1)
        self.assertRaises(aio.Failed, figures_transports._requests, '')


class MachineTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        cloud = mock.Mock(instances=pathlib.Path(self.directory.name))
        server = mock.Mock(id='an id that no process has')
        self.machine = guests.Machine(cloud, 'block', server, 0)
        self.console = self.machine.directory / 'console.log'
        self.machine.directory.mkdir()

    def test_lines_as_they_come(self):
        self.console.write_bytes(b'noise\nbench first line\r\nbench beg')
        lines = self.machine.lines()
        sample, words = next(lines)
        self.assertEqual(['first', 'line'], words)
        self.assertGreater(sample.wall, 0)
        self.assertEqual(0, sample.cpu)
        with open(self.console, 'ab') as f:
            f.write(b'in find\n')
        self.assertEqual(['begin', 'find'], next(lines)[1])

    def test_silence_says_what_was_there(self):
        self.console.write_bytes(b'Kernel panic\n')
        error = self.assertRaises(aio.Failed, next, self.machine.lines(0))
        self.assertIn('Kernel panic', str(error))


class ArgumentsTestCase(base.BaseTestCase):

    def _context(self, *arguments):
        options = transports_cli.parser().parse_args(arguments)
        return transports_cli.Context(options, '/', None)

    def test_defaults(self):
        context = self._context()
        self.assertEqual(3, context.runs)
        self.assertEqual((1, 5, 10), context.sizes.servers)
        self.assertEqual(guests.KINDS, context.kinds)

    def test_quick(self):
        context = self._context('--quick', '--servers', '1,3')
        self.assertEqual(1, context.runs)
        self.assertEqual((1, 3), context.sizes.servers)
        self.assertEqual(500, context.sizes.create)

    def test_bad(self):
        for arguments in (['--servers', '5,1'], ['--servers', '0'],
                          ['--kinds', '9p,nfs'], ['nothing']):
            with mock.patch('sys.stderr'):
                self.assertRaises(SystemExit, self._context, *arguments)
