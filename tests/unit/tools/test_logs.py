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

"""What a service has logged, when the log was renamed meanwhile."""

import logging
import logging.handlers
import pathlib
import tempfile

from oslotest import base

from tests.unit import tools  # noqa: F401  (finds aiolib)

# isort: split
from aiolib import logs


class LogsTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name) / 'service.log'

    def rotate(self):
        handler = logging.handlers.RotatingFileHandler(
            self.path, backupCount=1)
        handler.doRollover()
        handler.close()

    def write(self, text):
        with self.path.open('a') as f:
            f.write(text)

    def test_no_log(self):
        begin = logs.mark(self.path)
        self.assertEqual('', logs.since(self.path, begin))
        self.write('first\n')
        self.assertEqual('first\n', logs.since(self.path, begin))

    def test_same_file(self):
        self.write('before\n')
        begin = logs.mark(self.path)
        self.write('after\n')
        self.assertEqual('after\n', logs.since(self.path, begin))
        self.assertEqual('before\nafter\n', logs.since(self.path))

    def test_renamed(self):
        """Also if the new one is longer than the mark's offset."""
        self.write('before\n')
        begin = logs.mark(self.path)
        self.write('after\n')
        self.rotate()
        for more in ('new\n', 'and what makes it longer\n'):
            before = logs.since(self.path, begin)
            self.write(more)
            self.assertEqual(before + more, logs.since(self.path, begin))
        self.assertTrue(before.startswith('after\nnew\n'))

    def test_renamed_twice(self):
        """What is left of it."""
        self.write('before\n')
        begin = logs.mark(self.path)
        for text in ('one\n', 'two\n', 'three\n'):
            self.write(text)
            self.rotate()
        self.assertEqual('three\n', logs.since(self.path, begin))

    def test_end(self):
        self.write('x' * 100 + 'end')
        self.assertEqual('end', logs.since(self.path, most=3))
        self.assertEqual('', logs.since(self.path, logs.mark(self.path), 3))
