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

"""The disk image's parts."""

import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest
from unittest import mock

from nova_containervm.baseimage import disk
from nova_containervm.baseimage import errors
from nova_containervm.baseimage import tools


def have(*names):
    return unittest.skipUnless(all(tools.find(n) for n in names),
                               'not installed: ' + ' '.join(names))


class DiskTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)

    def test_mbr(self):
        table = disk.mbr(b'code', [(0x0e, True, 2048, 4096),
                                   (0x83, False, 6144, 8192)])
        self.assertEqual(512, len(table))
        self.assertEqual(b'code\0', table[:5])
        self.assertEqual(b'\x55\xaa', table[510:])
        first = struct.unpack('<B3sB3sII', table[446:462])
        self.assertEqual((0x80, 0x0e, 2048, 4096),
                         (first[0], first[2], *first[4:]))
        second = struct.unpack('<B3sB3sII', table[462:478])
        self.assertEqual((0, 0x83, 6144, 8192),
                         (second[0], second[2], *second[4:]))
        self.assertEqual(bytes(32), table[478:510])

    def test_boot_code_too_large(self):
        with self.assertRaises(errors.BuildError):
            disk.mbr(bytes(441), [])

    @have('mke2fs', 'debugfs', 'dumpe2fs', 'e2fsck')
    def test_programs(self):
        """They are there, root's, and the same bytes make the same image."""
        images = []
        for name in ('a', 'b'):
            image = self.dir / name
            disk.make_ext4(image, 'label', 64 * disk.MIB)
            disk.add_programs(image, 'programs', {'one': b'1' * 100000,
                                                  'two': b'2'})
            images.append(image.read_bytes())
        self.assertEqual(images[0], images[1])
        tools.run(['e2fsck', '-f', '-n', image])
        listing = tools.run(['debugfs', '-R', 'ls -l programs',
                             image]).decode()
        self.assertRegex(listing, r'100755 \(1\) +0 +0 +100000 .* one\n')
        self.assertRegex(listing, r'100755 \(1\) +0 +0 +1 .* two\n')

    @mock.patch.object(disk, 'syslinux_boot_code', lambda: b'code')
    def test_assemble(self):
        (self.dir / 'p1').write_bytes(b'1' * disk.MIB)
        (self.dir / 'p2').write_bytes(bytes(disk.MIB) + b'2' * disk.MIB)
        size = disk.assemble(self.dir / 'raw', self.dir / 'p1',
                             self.dir / 'p2')
        data = (self.dir / 'raw').read_bytes()
        self.assertEqual(4 * disk.MIB, size)
        self.assertEqual(size, len(data))
        self.assertEqual(b'1' * disk.MIB, data[disk.MIB:2 * disk.MIB])
        self.assertEqual(b'2' * disk.MIB, data[3 * disk.MIB:])

    @have('mformat', 'mcopy', 'syslinux', 'mtype')
    def test_fat(self):
        content = {'vmlinuz': os.urandom(3 << 20), 'syslinux.cfg': b'x\n'}
        for name in ('a', 'b'):
            disk.make_fat(self.dir / name, content)
        image = (self.dir / 'a').read_bytes()
        self.assertEqual(image, (self.dir / 'b').read_bytes())
        self.assertEqual(0, len(image) % disk.MIB)
        self.assertIn(b'SYSLINUX', image[:512])
        out = subprocess.run(
            ['mtype', '-i', self.dir / 'a', '::vmlinuz'], check=True,
            capture_output=True).stdout
        self.assertEqual(content['vmlinuz'], out)

    @have('mke2fs', 'e2fsck')
    def test_ext4(self):
        for name in ('a', 'b'):
            disk.make_ext4(self.dir / name, 'containervm-rw', 64 * disk.MIB)
        image = (self.dir / 'a').read_bytes()
        self.assertEqual(image, (self.dir / 'b').read_bytes())
        self.assertEqual(b'containervm-rw\0\0', image[1024 + 0x78:][:16])
        subprocess.run([shutil.which('e2fsck', path=tools.search_path()),
                        '-fn', self.dir / 'a'], check=True,
                       capture_output=True)
