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

"""Disks that mkfs.erofs has laid out, without mkfs.erofs."""

import errno
import os
import tempfile
import unittest
from unittest import mock
import zlib

import ddt

from nova_containervm.images import diskfill
from nova_containervm.images import errors
from nova_containervm.images import tarwrite
from tests.images import samples
from tests.unit.images import merged

BLOCK = diskfill.EROFS_BLOCK
PIECE = diskfill._PIECE


def _files(*sizes):
    """Nodes as tarwrite.outline() returns them, contents one by one."""
    nodes, at = {}, 0
    for number, size in enumerate(sizes):
        nodes[512 * (number + 1)] = merged.node(size=size, start=at)
        at += size + -size % BLOCK
    return nodes


@ddt.ddt
class PlacesTestCase(unittest.TestCase):

    def _places(self, notes, nodes, size):
        with tempfile.TemporaryFile() as file:
            file.write(notes)
            file.flush()
            return diskfill.places(file.fileno(), nodes, size)

    def test_the_order_of_the_disk(self):
        nodes = _files(BLOCK, 1, 2 * BLOCK + 1)
        found = self._places(b'0000000a        1 00000200\n'
                             b'00000009        1 00000400 00004095\n'
                             b'0000000b        3 00000600 00004095\n',
                             nodes, 14 * BLOCK)
        self.assertEqual([(9 * BLOCK, nodes[0x400]), (10 * BLOCK, nodes[512]),
                          (11 * BLOCK, nodes[0x600])], found)

    def test_no_files(self):
        self.assertEqual([], self._places(b'', {}, BLOCK))

    # Two files, the second of two blocks, on a disk of nine
    @ddt.data(
        b'', b'1 1 200\n', b'1 1 200\n2 2 400\n3 2 400\n',
        b'1 1 200\n2 2 200\n', b'1 1 200\n1 2 400\n', b'2 1 200\n1 2 400\n',
        b'1 1 200\n8 2 400\n', b'1 1 200\n2 1 400\n', b'1 1 200\n2 2 401\n',
        b'1 1 200\n-2 2 400\n', b'1 1 200\n2 2 400 0\nrubbish\n',
        b'1 1 200\n2\n', b'\xff\n')
    def test_misplaced(self, notes):
        with self.assertRaisesRegex(errors.StoreError, 'no place, or share'):
            self._places(notes, _files(1, BLOCK + 1), 9 * BLOCK)


@ddt.ddt
class FillTestCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.disk = self.enterContext(tempfile.TemporaryFile())
        self.spool = self.enterContext(tempfile.TemporaryFile())
        self.other = self.enterContext(tempfile.TemporaryFile())

    def _fill(self, files):
        return diskfill.fill(self.disk.fileno(), files, [
            self.spool.fileno(), self.other.fileno()])

    def _put(self, node):
        """Contents of a file; where the spool ends is the last one's end."""
        data = os.urandom(node.size)
        spool = (self.spool, self.other)[node.spool]
        os.pwrite(spool.fileno(), data, node.start)
        end = node.start + node.size
        spool.truncate(max(os.fstat(spool.fileno()).st_size,
                           end + -end % BLOCK))
        return data + bytes(-len(data) % BLOCK)

    # Most come from a spool in its order; what does not may be anywhere.
    @ddt.data(lambda nodes: nodes, reversed,
              lambda nodes: nodes[5:] + nodes[:5],
              lambda nodes: nodes[::2] + nodes[1::2])
    def test_all_sizes(self, order):
        nodes = list(_files(
            1, BLOCK - 1, BLOCK, BLOCK + 1, PIECE - BLOCK, PIECE, PIECE - 1,
            3 * PIECE + 7, 5, 9 * BLOCK, 1).values())
        for node in nodes[3:5]:
            node.spool = 1
        wanted, files = os.urandom(3 * BLOCK + 5), []
        wanted += bytes(-len(wanted) % BLOCK)
        self.disk.write(wanted)
        for node in order(nodes):
            files.append((len(wanted), node))
            wanted += self._put(node)
            if node.size == PIECE:  # something else comes between
                more = os.urandom(BLOCK + 9)
                self.disk.seek(len(wanted))
                self.disk.write(more)
                wanted += more + bytes(-len(more) % BLOCK)
        self.disk.flush()
        self.disk.truncate(len(wanted))
        crc = self._fill(files)
        self.disk.seek(0)
        self.assertEqual(wanted, self.disk.read())
        head = bytearray(wanted)
        head[1028:1032] = bytes(4)
        head[1048:1060] = bytes(12)
        self.assertEqual(zlib.crc32(head), int(crc, 16))
        self.assertEqual(0o400, os.fstat(self.disk.fileno()).st_mode & 0o777)

    def test_zeros_are_holes(self):
        size = 40 * PIECE + 3
        self.spool.truncate(size + BLOCK - 3)
        # Whatever is in its place
        os.posix_fallocate(self.disk.fileno(), 0, size + BLOCK)
        (node,) = _files(size).values()
        self._fill([(BLOCK, node)])
        info = os.fstat(self.disk.fileno())
        self.assertEqual(size + BLOCK, info.st_size)
        self.assertLess(info.st_blocks * 512, PIECE)

    def test_contents_are_cut_off(self):
        self.spool.truncate(9)
        self.disk.truncate(2 * BLOCK)
        (node,) = _files(10).values()
        with self.assertRaisesRegex(OSError, 'cut off'):
            self._fill([(BLOCK, node)])

    def test_no_room(self):
        size = 3 * diskfill._ROOMS * PIECE
        self.spool.truncate(size)
        self.spool.seek(0)
        for _at in range(0, size, PIECE):
            self.spool.write(b'x' * PIECE)
        self.spool.flush()
        self.disk.truncate(size)
        (node,) = _files(size).values()
        real = os.pwrite

        def pwrite(fd, data, at):
            if at >= PIECE:
                raise OSError(errno.ENOSPC, 'full')
            return real(fd, data, at)

        with mock.patch('os.pwrite', pwrite), \
                self.assertRaisesRegex(OSError, 'full'):
            self._fill([(0, node)])

    def test_nothing(self):
        self.assertEqual('00000000', self._fill([]))


@ddt.ddt
class OutlineTestCase(unittest.TestCase):
    """It is the archive, but for the contents."""

    @ddt.data(*(s for s in samples.ALL if s.__name__ != 'sparse'))
    def test_samples(self, sample):
        with merged.merged(sample()) as (root, spools), \
                tempfile.TemporaryFile() as whole, \
                tempfile.TemporaryFile() as outline:
            tarwrite.write(root, spools, whole.fileno())
            for at, node in tarwrite.outline(root, outline.fileno()).items():
                data = os.pread(spools[node.spool], node.size, node.start)
                os.pwrite(outline.fileno(), data, at)
            whole.seek(0)
            self.assertEqual(whole.read(), outline.read())
