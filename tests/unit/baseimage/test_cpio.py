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

"""The initramfs writer."""

import shutil
import subprocess
import unittest

from nova_containervm.baseimage import cpio
from nova_containervm.baseimage import errors


def example(mtime=0):
    archive = cpio.Archive(mtime)
    archive.file('usr/bin/tool', b'#!', 0o755)
    archive.chardev('dev/console', 5, 1)
    archive.symlink('bin', 'usr/bin')
    archive.file('empty', b'')
    archive.directory('tmp', 0o1777)
    return archive


class CpioTest(unittest.TestCase):

    def test_parents_are_made_and_come_first(self):
        self.assertEqual(
            ['bin', 'dev', 'dev/console', 'empty', 'tmp', 'usr', 'usr/bin',
             'usr/bin/tool'], example().paths())

    @unittest.skipUnless(shutil.which('cpio'), 'no cpio')
    def test_cpio_reads_it(self):
        out = subprocess.run(
            ['cpio', '-tvn', '--quiet'], input=example().build(), check=True,
            capture_output=True, env={'TZ': 'UTC', 'LC_ALL': 'C'})
        self.assertEqual(b'', out.stderr)
        lines = [line.split() for line in out.stdout.decode().splitlines()]
        self.assertEqual(
            [('lrwxrwxrwx', 'usr/bin'), ('drwxr-xr-x', 'dev'),
             ('crw-------', 'dev/console'), ('-rw-r--r--', 'empty'),
             ('drwxrwxrwt', 'tmp'), ('drwxr-xr-x', 'usr'),
             ('drwxr-xr-x', 'usr/bin'), ('-rwxr-xr-x', 'usr/bin/tool')],
            [(line[0], line[-1]) for line in lines])
        self.assertTrue(all(line[2:4] == ['0', '0'] for line in lines))

    def test_size_is_whole_blocks(self):
        self.assertEqual(0, len(example().build()) % 512)

    def test_same_content_same_bytes(self):
        self.assertEqual(example().build(), example().build())
        self.assertNotEqual(example().build(), example(1).build())

    def test_order_of_additions_is_no_matter(self):
        first, second = cpio.Archive(0), cpio.Archive(0)
        first.file('a', b'1')
        first.file('b', b'2')
        second.file('b', b'2')
        second.file('a', b'1')
        self.assertEqual(first.build(), second.build())

    def test_two_contents_for_one_path(self):
        archive = example()
        archive.file('empty', b'')
        with self.assertRaisesRegex(errors.BuildError, 'entries empty'):
            archive.file('empty', b'x')
