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

"""What an image may cost, beside the limits of [containervm]: see limits."""

import json
import os
import subprocess
import sys
from unittest import mock

import ddt

from nova_containervm.images import errors
from nova_containervm.images import limits
from nova_containervm.images import view
from tests.unit.images import base
from tests.unit.images import builders
from tests.unit.images.builders import Tar
from tests.unit.images import large
from tests.unit.images import trees

#: Creates an image in a process of its own, as nova-compute does; prints by
#: how many KiB its memory grew at most, and what came of it.
CREATE = """
import json, sys
from nova_containervm.images import errors, limits, session, store

if len(sys.argv) > 3:
    limits.MEMORY = int(sys.argv[3])
    from tests.unit.images import base
    session.Session._start_plain = base.fork_helper

def memory(which):
    with open('/proc/self/status') as status:
        for line in status:
            if line.startswith(which):
                return int(line.split()[1])

def fetch():
    with open(sys.argv[2], 'rb') as source:
        while chunk := source.read(65536):
            yield chunk

idle = memory('VmRSS')
try:
    found = store.ImageStore(
        sys.argv[1], architecture='amd64').ensure('image', fetch).size
except errors.ImageError as exc:
    found = str(exc)
print(json.dumps([memory('VmHWM') - idle, found]))
"""
MIB = limits.MIB


@ddt.ddt
class MemoryTestCase(base.StoreTestCase):
    """nova-compute stays below 64 MB above idle, whatever comes."""

    #: In KiB.
    MOST = 64000000 // 1024

    def create(self, kind, *more):
        path = os.path.join(self.dir, kind)
        with open(path, 'wb') as out:
            for chunk in large.SOURCES[kind]():
                if chunk.count(0) == len(chunk):
                    out.seek(len(chunk), os.SEEK_CUR)
                else:
                    out.write(chunk)
            out.truncate()
        done = subprocess.run(
            [sys.executable, '-c', CREATE, os.path.join(self.dir, 'store'),
             path, *more], stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)

    @ddt.data(
        ('layers', 96 * MIB), ('zstd_layer', 96 * MIB),
        ('zstd_file', 96 * MIB), ('one_file', 96 * MIB),
        ('strings', 'the image is for linux/s390x'),
        ('values', 'the archive has 4 images'),
        ('capabilities', 'too many, or too long, file capabilities'))
    @ddt.unpack
    def test_growth(self, kind, wanted):
        growth, found = self.create(kind)
        if isinstance(wanted, int):
            self.assertEqual(wanted, found)
        else:
            self.assertIn(wanted, found)
        self.assertLess(growth, self.MOST)

    def test_growth_with_gigabytes(self):
        """Its memory does not follow the size of the image."""
        growth, found = self.create('gigabytes')
        self.assertGreater(os.stat(
            os.path.join(self.dir, 'gigabytes')).st_size, 3 << 30)
        self.assertGreaterEqual(found, 6 * MIB)
        self.assertLess(growth, self.MOST)

    def test_helper(self):
        """Nor do the processes that unpack grow without bounds."""
        _growth, found = self.create('long_names', str(128 * MIB))
        self.assertIn('over 128 MiB of memory', found)


class HelperBoundsTestCase(base.StoreTestCase):
    """The processes that unpack come to an end, and stay small."""

    def test_steps_through_links(self):
        deep = '/'.join('d' * 60)
        tar = Tar().dir(deep + '/l39')
        for number in range(39):
            tar.symlink('%s/l%d' % (deep, number),
                        '/%s/l%d' % (deep, number + 1))
        for number in range(20):
            tar.file('%s/l0/%d/f' % (deep, number))
        data = builders.docker([tar.end()])
        image = self.ensure(data)
        self.assertIn(deep + '/l39/19/f', trees.stored(image, 'mapped'))
        with mock.patch.object(limits, 'WALK_STEPS', 10 ** 4):
            with self.assertRaises(errors.BadMember) as caught:
                self.ensure(data, where=self.store(name='other'))
        self.assertIn('10000 steps', str(caught.exception))

    def test_directories_that_are_links_below(self):
        lower, upper = Tar().dir('real'), Tar()
        for number in range(60):
            lower.symlink('l%d' % number, 'real')
            upper.file('l%d/f%d' % (number, number))
        data = builders.docker([lower.end(), upper.end()])
        image = self.ensure(data)
        self.assertEqual(60, sum(p.startswith('real/f') for p in trees.stored(
            image, 'mapped')))
        with mock.patch.object(limits, 'RENAMES', 1000):
            with self.assertRaises(errors.BadMember) as caught:
                self.ensure(data, where=self.store(name='other'))
        self.assertIn('too many', str(caught.exception))

    def test_many_directories_side_by_side(self):
        """Descriptors: as many as a tree is deep, not as it is wide."""
        lower, upper = Tar().dir('real').symlink('l', 'real'), Tar()
        for number in range(500):
            upper.dir('real/%d' % number).file('l/%d/f' % number)
        data = builders.docker([lower.end(), upper.end(), upper.end()])
        with base.open_files(200), mock.patch.object(view, '_MAX_OPEN', 50):
            where = self.store()
            image = self.ensure(data, where=where)
            self.assertEqual({}, where.verify())
        self.assertIn('real/499/f', trees.stored(image, 'mapped'))
