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

"""qcow2 files as anybody may upload them; QEMU's own tool makes them."""

import os
import shutil
import struct
import subprocess
import unittest

import ddt
import fixtures
from nova import exception
from oslotest import base

from nova_containervm import diskimage
from nova_containervm.images import errors


@ddt.ddt
@unittest.skipUnless(shutil.which('qemu-img'), 'needs qemu-img')
class ToRawTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.dir = self.useFixture(fixtures.TempDir()).path
        self.source = os.path.join(self.dir, 'source')
        self.target = os.path.join(self.dir, 'target')
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.images.CONF.instances_path', self.dir))
        self.raw = os.path.join(self.dir, 'raw')
        with open(self.raw, 'wb') as out:
            out.write(b'begin'.ljust(1 << 20, b'\0') + b'end'.ljust(512))

    def make(self, *options, source=True):
        """A qcow2 of the raw disk, or an empty one."""
        words = (['convert', '-f', 'raw', '-O', 'qcow2', *options, self.raw,
                  self.source] if source else
                 ['create', '-q', '-f', 'qcow2', *options, self.source, '1M'])
        subprocess.run(['qemu-img', *words], check=True,
                       stdout=subprocess.DEVNULL)

    def patch(self, offset, data):
        with open(self.source, 'r+b') as out:
            out.seek(offset)
            out.write(data)

    def to_raw(self, most=1 << 30):
        diskimage.to_raw(self.source, self.target, most)

    @ddt.data((), ('-c',), ('-c', '-o', 'compression_type=zstd'),
              ('-o', 'compat=0.10'), ('-o', 'cluster_size=2M'))
    def test_same_bytes(self, options):
        self.make(*options)
        self.to_raw()
        with open(self.raw, 'rb') as one, open(self.target, 'rb') as other:
            self.assertEqual(one.read(), other.read())

    @ddt.data('backing', 'data_file', 'feature', 'version', 'size', 'header',
              'tables', 'crypt', 'cut')
    def test_hostile(self, kind):
        most, words = 1 << 30, None
        if kind == 'backing':
            # The file that every attack of this kind is after
            self.make('-b', '/etc/passwd', '-F', 'raw', source=False)
            words = 'other files'
        elif kind == 'data_file':
            self.make('-o', 'data_file=%s/data' % self.dir, source=False)
            words = 'other files'
        else:
            self.make()
        if kind == 'feature':
            self.patch(72, struct.pack('>Q', 1 << 40))
            words = 'other files'
        elif kind == 'version':
            self.patch(4, struct.pack('>I', 1))
            words = 'other files'
        elif kind == 'size':
            self.patch(24, struct.pack('>Q', 1 << 50))
        elif kind == 'header':
            self.patch(20, struct.pack('>I', 60))
        elif kind == 'tables':
            self.patch(36, struct.pack('>I', 0xffffffff))
        elif kind == 'crypt':
            self.patch(32, struct.pack('>I', 1))
        elif kind == 'cut':
            os.truncate(self.source, 300)
        error = self.assertRaises(errors.ImageError, self.to_raw, most)
        self.assertLessEqual(len(str(error)), errors.MESSAGE_BYTES)
        if words:
            self.assertIn(words, str(error))
            self.assertFalse(os.path.exists(self.target))

    def test_no_room(self):
        self.make()
        self.useFixture(fixtures.MockPatch(
            'nova.virt.images.convert_image',
            side_effect=exception.ImageUnacceptable(
                image_id='x', reason='write: No space left on device')))
        self.assertRaises(errors.NoSpace, self.to_raw)

    def test_larger_than_allowed(self):
        self.make()
        error = self.assertRaises(errors.LimitExceeded, self.to_raw, 1 << 20)
        self.assertIn('max_unpacked_mb', str(error))
        self.assertFalse(os.path.exists(self.target))
