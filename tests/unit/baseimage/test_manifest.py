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

"""The manifest and the command line around it."""

import contextlib
import io
import json
import pathlib
import tempfile
import unittest
from unittest import mock

from nova_containervm.baseimage import errors
from nova_containervm.baseimage import manifest
from nova_containervm.baseimage import minimal
from nova_containervm.baseimage import tools
from nova_containervm.cli import baseimage as cli


class ManifestTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)
        content = {'type': 'minimal', 'contract': [1]}
        for part, name in (('disk', 'base.qcow2'), ('kernel', 'vmlinux'),
                           ('initrd', 'initrd.img')):
            (self.dir / name).write_text(part)
            content[part] = manifest.describe_file(self.dir / name,
                                                   version='6.1')
        manifest.write(self.dir, content)

    def run_cli(self, *args):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main([str(a) for a in args])
        return status, out.getvalue(), err.getvalue()

    def test_round_trip(self):
        content = manifest.verify(self.dir)
        self.assertEqual(1, content['schema'])
        self.assertEqual(4, content['disk']['size'])

    def test_verify(self):
        status, out, _err = self.run_cli('verify', self.dir)
        self.assertEqual(0, status)
        self.assertIn('minimal image, contract 1: ok', out)

    def test_every_difference_is_told(self):
        (self.dir / 'vmlinux').write_text('other')
        (self.dir / 'initrd.img').unlink()
        status, _out, err = self.run_cli('verify', self.dir)
        self.assertEqual(1, status)
        self.assertIn('vmlinux: differs from the manifest', err)
        self.assertIn('initrd.img: missing', err)

    def test_bad_manifests(self):
        path = self.dir / 'manifest.json'
        for text in ('', '[]', '{', json.dumps({'schema': 2})):
            path.write_text(text)
            with self.assertRaises(errors.BuildError):
                manifest.verify(self.dir)
        path.write_text('{"schema": 1}')
        with self.assertRaisesRegex(errors.BuildError, 'names no disk'):
            manifest.verify(self.dir)
        path.unlink()
        self.assertEqual(1, self.run_cli('verify', self.dir)[0])

    def test_file_names_do_not_leave_the_directory(self):
        content = manifest.read(self.dir)
        content['disk']['file'] = '../base.qcow2'
        del content['schema']
        manifest.write(self.dir, content)
        with self.assertRaisesRegex(errors.BuildError, 'not a file name'):
            manifest.verify(self.dir)

    def test_packages(self):
        status, out, _err = self.run_cli('packages', '--type', 'minimal')
        self.assertEqual(0, status)
        self.assertEqual(sorted(minimal.BUILD_PACKAGES), out.split())

    def test_tools_have_packages(self):
        for tool in minimal.TOOLS:
            self.assertIn(tools.TOOL_PACKAGES[tool], minimal.BUILD_PACKAGES)

    def test_missing_tools_are_named_with_their_packages(self):
        with mock.patch.object(tools, 'find', lambda name: None):
            status, _out, err = self.run_cli(
                'build', '--output', self.dir / 'out', '--cache', self.dir)
        self.assertEqual(1, status)
        self.assertIn('apt-get install', err)
        self.assertIn('syslinux', err)

    def test_failing_tool(self):
        with self.assertRaisesRegex(errors.BuildError, 'status 3: oh no'):
            tools.run(['sh', '-c', 'echo oh no >&2; exit 3'])

    def test_epoch(self):
        with mock.patch.dict('os.environ', {'SOURCE_DATE_EPOCH': '12'}):
            self.assertEqual(12, tools.epoch())
        with mock.patch.dict('os.environ', {'SOURCE_DATE_EPOCH': 'x'}):
            self.assertRaises(errors.BuildError, tools.epoch)
