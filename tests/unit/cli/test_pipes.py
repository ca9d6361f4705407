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

import os
import subprocess
import sys
import unittest

PROGRAM = '''
import os, sys
from nova_containervm.cli import pipes

def main(argv=None):
    if argv == 'other':
        reading, writing = os.pipe()
        os.close(reading)
        os.write(writing, b'x')
    print('x' * 100000)
    return 3

sys.exit(pipes.reader_may_leave(main)(*sys.argv[1:]))
'''


class PipesTest(unittest.TestCase):

    def _run(self, *arguments, **kwargs):
        return subprocess.run([sys.executable, '-c', PROGRAM, *arguments],
                              stderr=subprocess.PIPE, text=True, **kwargs)

    def test_somebody_reads(self):
        done = self._run(stdout=subprocess.PIPE)
        self.assertEqual((3, 'x' * 100000 + '\n', ''),
                         (done.returncode, done.stdout, done.stderr))

    def test_nobody_reads(self):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = self._run(stdout=writing)
        finally:
            os.close(writing)
        self.assertEqual((141, ''), (done.returncode, done.stderr))

    def test_another_pipe(self):
        done = self._run('other', stdout=subprocess.PIPE)
        self.assertEqual(1, done.returncode)
        self.assertIn('BrokenPipeError', done.stderr)
