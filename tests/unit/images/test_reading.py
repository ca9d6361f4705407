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

"""The tar reader, against what GNU tar writes and against bad headers."""

import gzip
import os
import random
import shutil
import subprocess
import unittest

import ddt

from nova_containervm.images import disktree
from nova_containervm.images import errors
from nova_containervm.images import extract
from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import limits
from nova_containervm.images import names
from nova_containervm.images import stream
from nova_containervm.images import tarread
from tests.unit.images import base
from tests.unit.images import builders
from tests.unit.images.builders import Tar
from tests.unit.images import trees


def members(data, size=100):
    chunks = [data[i:i + size] for i in range(0, len(data), size)]
    return list(tarread.TarReader(stream.Reader(chunks)))


@ddt.ddt
class ReaderTestCase(unittest.TestCase):

    @ddt.data(1, 3, 511, 512, 513, 10240)
    def test_chunks_of_any_size(self, size):
        data = (Tar().file('a', b'x' * 700).dir('d').symlink('l', 't')
                .file('n' * 150, b'y').end())
        found = members(data, size)
        self.assertEqual([b'a', b'd', b'l', b'n' * 150],
                         [m.name for m in found])
        self.assertEqual([700, 0, 0, 1], [m.size for m in found])

    def test_sum_of_a_header(self):
        for block in (bytes(512), b'\xff' * 512, bytes(range(256)) * 2,
                      b'\xff' * 256 + bytes(256), *map(
                          random.Random(1).randbytes, [512] * 50)):
            self.assertEqual(sum(block), tarread._sum(block))

    def test_v7_directory(self):
        data = builders.header(b'd/', b'\0', magic=bytes(8))
        self.assertEqual(tarread.DIR, members(data + bytes(1024))[0].type)

    def test_base_256(self):
        found = members(Tar().file('f', uid=2 ** 31 + 1, mtime=-5).end())[0]
        self.assertEqual(2 ** 31 + 1, found.uid)
        self.assertEqual(-5 * 10 ** 9, found.mtime)

    @ddt.data(('1.5', 1500000000), ('-1.5', -1500000000), ('0.000000001', 1),
              ('12', 12 * 10 ** 9), ('3.1234567899', 3123456789))
    @ddt.unpack
    def test_pax_time(self, text, nanos):
        found = members(Tar().file('f', pax={'mtime': text}).end())[0]
        self.assertEqual(nanos, found.mtime)

    def test_last_extended_header_counts(self):
        tar = Tar()
        for name in (b'one', b'two'):
            record = builders.pax_records([('path', name)])
            tar.raw(builders.header(b'x', b'x', len(record)))
            tar.raw(builders.padded(record))
        self.assertEqual(b'two', members(tar.file('f').end())[0].name)

    def test_global_header_is_skipped(self):
        record = builders.pax_records([('path', b'global'), ('uid', b'7')])
        tar = Tar().raw(builders.header(b'g', b'g', len(record)))
        found = members(tar.raw(builders.padded(record)).file('f').end())
        self.assertEqual([(b'f', 0)], [(m.name, m.uid) for m in found])

    def test_no_end_mark(self):
        reader = tarread.TarReader(stream.Reader(
            [Tar().file('f').out.getvalue()]))
        self.assertEqual(1, len(list(reader)))
        self.assertFalse(reader.ended)

    def test_binary_xattr(self):
        found = members(Tar().file('f', pax={
            'SCHILY.xattr.user.a=b': b'\0\n'}).end())[0]
        self.assertEqual({b'user.a': b'b=\0\n'}, found.xattrs)


@ddt.ddt
class DecompressTestCase(unittest.TestCase):

    @ddt.data('gzip', 'zstd')
    def test_round_trip_and_truncation(self, kind):
        data = os.urandom(300000) + bytes(3000000)
        packed = builders.COMPRESS[kind](data)
        for size in (1, 1000, len(packed)):
            pieces = [packed[i:i + size] for i in range(0, len(packed), size)]
            if size == 1:
                pieces = [packed[:5], packed[5:6], packed[6:]]
            out = list(stream.decompress(kind, pieces))
            self.assertEqual(data, b''.join(out))
            self.assertLessEqual(max(map(len, out)), stream.PIECE)

    def test_truncated_gzip(self):
        packed = gzip.compress(os.urandom(5000))
        for end in (1, 9, 20, 3000, len(packed) - 1):
            with self.assertRaises(errors.Truncated):
                list(stream.decompress('gzip', [packed[:end]]))

    def test_padding_and_rubbish_behind_gzip(self):
        packed = gzip.compress(b'x')
        self.assertEqual([b'x'], list(stream.decompress(
            'gzip', [packed + bytes(2000)])))
        with self.assertRaises(errors.Damaged):
            list(stream.decompress('gzip', [packed + b'rubbish' * 9]))


@ddt.ddt
class NamesTestCase(unittest.TestCase):

    @ddt.data((b'a/b', b'a/b'), (b'./a//b/', b'a/b'), (b'/', b''), (b'.', b''),
              (b'/a', b'a'), (b'a/./b', b'a/b'), (b'...', b'...'),
              (b'.a/.b', b'.a/.b'), (b'..a', b'..a'))
    @ddt.unpack
    def test_normalize(self, name, path):
        self.assertEqual(path, names.normalize(name, 'x', limits.Limits()))

    @ddt.data((b'a/b', b'../c', b'a/c'), (b'', b'../..', b''),
              (b'a', b'/x/../y', b'y'), (b'a/b', b'c', b'a/b/c'))
    @ddt.unpack
    def test_follow(self, parent, target, path):
        self.assertEqual(path, names.follow(parent, target))

    @ddt.data((b'a\nb', "'a\\nb'"), (b'\x1b[2J', "'\\x1b[2J'"),
              (b'\xff', "'\\xff'"), ("'", "'\\''"))
    @ddt.unpack
    def test_quote(self, name, text):
        self.assertEqual(text, errors.quote(name))


@ddt.ddt
@unittest.skipUnless(shutil.which('tar'), 'needs GNU tar')
class GnuTarTestCase(base.StoreTestCase):
    """What GNU tar packs, unpacked: the same again."""

    def _source(self):
        root = os.path.join(self.dir, 'source')
        os.makedirs(root + '/sub')
        with open(root + '/sparse', 'wb') as out:
            for at in range(9):
                out.seek(at * 10 ** 6)
                out.write(b'data%d' % at * 100)
            out.truncate(20 * 10 ** 6)
        with open(root + '/hole', 'wb') as out:
            out.truncate(3 * 10 ** 6)
        with open(root + '/sub/' + 'n' * 200, 'wb') as out:
            out.write(b'long')
        os.symlink('t' * 180, root + '/sub/link')
        os.link(root + '/sub/' + 'n' * 200, root + '/hard')
        os.utime(root + '/sub', ns=(5, 1234567890 * 10 ** 9))
        return root

    @ddt.data('gnu', 'posix', 'posix 0.0', 'posix 0.1', 'posix 1.0',
              'gnu plain', 'posix plain')
    def test_formats(self, form):
        root = self._source()
        form, _space, version = form.partition(' ')
        options = ['--format=' + form]
        if version != 'plain':
            options.append('--sparse')
        if version not in ('', 'plain'):
            options.append('--sparse-version=' + version)
        data = subprocess.run(
            ['tar', *options, '-C', root, '-cf', '-', '.'],
            stdout=subprocess.PIPE, check=True).stdout
        if version != 'plain':
            self.assertLess(len(data), 10 ** 6)
        goal = os.path.join(self.dir, 'goal')
        os.mkdir(goal)
        tree = fsutil.open_dir(goal)
        extract.Extractor(disktree.DiskTree(
            tree, forms.Mapped(), limits.Limits()), limits.Limits()).run(
            tarread.TarReader(stream.Reader([data])))
        os.close(tree)
        wanted = trees.native(root)
        found = trees.native(goal, forms.Mapped())
        ignore = ('mtime',) if form == 'gnu' else ()
        self.assertEqual([], trees.difference(found, wanted, ignore))
        if version != 'plain':
            used = os.stat(goal + '/sparse').st_blocks * 512
            self.assertLess(used, 10 ** 6)
