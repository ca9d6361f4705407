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

"""The support matrix that is made of test results."""

import contextlib
import importlib.machinery
import importlib.util
import io
import pathlib
import re

import fixtures
from oslotest import base

from tests.e2e import profiles

TOOL = pathlib.Path(__file__).parents[3] / 'tools' / 'support-matrix'
MATRIX = '''\
[driver.9p-disk]
title=9p

[driver.block]
title=block

[operation.pause]
title=Pause
driver.9p-disk=complete
driver.block=complete

[operation.suspend]
title=Suspend
driver.9p-disk=unknown
driver.block=unknown
'''


def load():
    """The tool, which has no name that one can import."""
    loader = importlib.machinery.SourceFileLoader('support_matrix', str(TOOL))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def results(*cases):
    """JUnit results of (cell, outcome)."""
    return '<testsuites><testsuite>%s</testsuite></testsuites>' % ''.join(
        '<testcase name="t"><properties><property name="cell" value="%s"/>'
        '</properties>%s</testcase>' % (cell, outcome)
        for cell, outcome in cases)


class SupportMatrixTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.tool = load()
        self.directory = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        self.matrix = self.directory / 'matrix.ini'
        self.matrix.write_text(MATRIX)

    def _run(self, *texts):
        files = []
        for number, text in enumerate(texts):
            files.append(self.directory / ('%d.xml' % number))
            files[-1].write_text(text)
        said = io.StringIO()
        with contextlib.redirect_stderr(said), \
                contextlib.redirect_stdout(said):
            status = self.tool.main(['--matrix', str(self.matrix),
                                     *map(str, files)])
        return status, said.getvalue()

    def test_cells(self):
        status, _said = self._run(
            results(('suspend 9p-disk missing', '')),
            results(('suspend block complete', '')))
        self.assertEqual(0, status)
        self.assertEqual(MATRIX.replace(
            '9p-disk=unknown', '9p-disk=missing').replace(
            'block=unknown', 'block=complete'), self.matrix.read_text())

    def test_what_has_failed_is_unknown(self):
        for outcome in '<failure/>', '<error/>':
            self.matrix.write_text(MATRIX)
            status, said = self._run(results(
                ('pause block complete', ''),
                ('pause block complete', outcome)))
            self.assertEqual(1, status)
            self.assertIn('has failed: pause, block', said)
            self.assertIn('driver.9p-disk=complete\ndriver.block=unknown',
                          self.matrix.read_text())

    def test_tests_that_differ(self):
        self._run(results(('pause block complete', ''),
                          ('pause block missing', '')))
        self.assertIn('block=partial', self.matrix.read_text())

    def test_what_was_not_run_stays(self):
        status, _said = self._run(results(
            ('pause block missing', '<skipped/>')))
        self.assertEqual(0, status)
        self.assertEqual(MATRIX, self.matrix.read_text())

    def test_no_such_cell(self):
        status, said = self._run(results(('paws block complete', '')))
        self.assertEqual(1, status)
        self.assertIn('not in the matrix: paws, block', said)

    def test_every_row_has_a_test_and_every_column_settings(self):
        text = self.tool.MATRIX.read_text()
        rows = set(re.findall(r'^\[operation\.(.+)\]$', text, re.M))
        marked = set()
        for path in (TOOL.parents[1] / 'tests' / 'e2e').glob('test_*.py'):
            for arguments in re.findall(r'mark\.operation\(([^)]*)\)',
                                        path.read_text()):
                marked |= set(re.findall(r"'([^']+)'", arguments))
        self.assertEqual(rows, marked)
        columns = set(re.findall(r'^\[driver\.(.+)\]$', text, re.M))
        self.assertEqual(columns, {profiles.PROFILES[name].column
                                   for name in profiles.COLUMNS})
