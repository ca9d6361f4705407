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

"""The stand-in for libsystemd."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

from nova_containervm.baseimage import errors
from nova_containervm.baseimage import standin

# A library to link against, with the versions of the real one.
_REAL = ('int sd_notify(void) { return 1; }\n'
         'int sd_bus_call(void) { return 1; }\n')
_MAP = ('LIBSYSTEMD_209 { global: sd_notify; };\n'
        'LIBSYSTEMD_221 { global: sd_bus_call; };\n')
_PROGRAM = '''
int sd_notify(void);
int sd_bus_call(void);
int main(void) { return sd_notify() == -38 && sd_bus_call() == -38 ? 0 : 1; }
'''


@unittest.skipUnless(shutil.which('gcc') and shutil.which('nm'),
                     'no C compiler')
class StandinTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)
        (self.dir / 'map').write_text(_MAP)
        self.compile(_REAL, '-shared', '-fPIC', '-Wl,--version-script=map',
                     f'-Wl,-soname,{standin.SONAME}', '-o', standin.SONAME)
        self.compile(_PROGRAM, f'./{standin.SONAME}', '-o', 'program')

    def compile(self, source, *args):
        (self.dir / 'source.c').write_text(source)
        subprocess.run(['gcc', 'source.c', *args], cwd=self.dir, check=True)

    def test_symbols(self):
        self.assertEqual(
            {'LIBSYSTEMD_209': ['sd_notify'],
             'LIBSYSTEMD_221': ['sd_bus_call']},
            standin.wanted_symbols(self.dir / 'program'))

    def test_program_runs_with_it(self):
        work = self.dir / 'work'
        work.mkdir()
        data = standin.build(self.dir / 'program', work)
        self.assertEqual(data, standin.build(self.dir / 'program', work))
        (self.dir / standin.SONAME).write_bytes(data)
        subprocess.run([self.dir / 'program'], check=True,
                       env={'LD_LIBRARY_PATH': self.dir, 'LD_BIND_NOW': '1'})

    def test_program_that_does_not_need_it(self):
        with self.assertRaisesRegex(errors.BuildError, 'does not use'):
            standin.build('/bin/true', self.dir)
