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

"""Layers of a directory: the guest's writer, ours, and readers of others."""

import io
import os
import resource
import shutil
import stat
import subprocess
import tarfile
import tempfile
import unittest
from unittest import mock

from nova_containervm.images import stream
from nova_containervm.images import tarread
from nova_containervm.snapshot import hostfiles
from nova_containervm.snapshot import pack
from tests.unit.snapshot import guest
from tests.unit.snapshot import trees

CAP = bytes.fromhex('0100000200200000000000000000000000000000')


class TreeCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.upper = self.path('upper')
        self.lower = self.path('lower')
        os.mkdir(self.upper)
        os.mkdir(self.lower)

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, content=''):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(content)

    def pack(self, form='passthrough', caps=None, reference=None, tree=None):
        """A layer as our own packer makes it."""
        fds = [os.open(p, os.O_RDONLY | os.O_DIRECTORY)
               for p in (tree or self.upper, reference) if p]
        frames = []
        try:
            pack.pack(fds[0], hostfiles.FORMS[form](), frames.append, caps,
                      fds[1] if reference else None)
        finally:
            for fd in fds:
                os.close(fd)
        if frames[-1][:1] == b'E':
            raise pack.PackError(frames[-1][5:].decode())
        self.assertEqual(b'S', frames[0][:1])
        size = int.from_bytes(frames[0][5:], 'big')
        self.assertEqual(b'F', frames[-1][:1])
        data = b''.join(f[5:] for f in frames[1:-1])
        self.assertEqual(size, len(data))
        return data


def members(data):
    """The archive's members by name, as Python's reader sees them."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {m.name: m for m in archive}


@unittest.skipUnless(shutil.which('gcc'), 'no C compiler')
class GuestLayerTest(TreeCase):
    """changes.c: what an overlay has changed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.programs = tempfile.TemporaryDirectory()
        cls.program = guest.build(cls.programs.name)

    @classmethod
    def tearDownClass(cls):
        cls.programs.cleanup()
        super().tearDownClass()

    def changes(self, merged=None, *caps):
        done = subprocess.run(
            [self.program, 'changes', self.upper, merged or self.upper,
             self.lower, *caps], capture_output=True,
            env={**os.environ, 'OVERLAY': 'user.overlay.'})
        self.assertEqual(b'', done.stderr)
        if done.returncode:
            raise pack.PackError(done.stdout.decode())
        return done.stdout

    def test_same_bytes_as_ours(self):
        trees.make(self.upper)
        trees.overlay_marks(self.upper, self.lower)
        self.assertEqual(self.pack(), self.changes())

    def test_whiteouts_only_above_something(self):
        trees.overlay_marks(self.upper, self.lower)
        os.mkdir(self.path('upper/new'))
        os.mknod(self.path('upper/new/gone'), stat.S_IFCHR, 0)
        # The form for overlays on overlays
        self.write('upper/file')
        os.setxattr(self.path('upper/file'), 'user.overlay.whiteout', b'')
        self.assertEqual({'.', '.wh.gone', '.wh.file', 'new', 'opaque',
                          'opaque/.wh..wh..opq'}, set(members(
                              self.changes())))

    def test_moved_directory_comes_whole(self):
        merged = self.path('merged')
        os.mkdir(self.path('upper/new'))
        os.setxattr(self.path('upper/new'), 'user.overlay.redirect', b'old')
        for name in ('lower/old/below/file', 'merged/new/below/file'):
            self.write(name, 'content')
        found = members(self.changes(merged))
        self.assertEqual({'.', 'new', 'new/below', 'new/below/file'},
                         set(found))
        # Over another: that is not to show through.
        os.mkdir(self.path('lower/new'))
        self.assertIn('new/.wh..wh..opq', members(self.changes(merged)))

    def test_data_comes_from_the_overlay(self):
        merged = self.path('merged')
        self.write('upper/file')
        os.truncate(self.path('upper/file'), 7)
        self.write('merged/file', 'content')
        data = self.changes(merged)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            self.assertEqual(b'content', archive.extractfile('file').read())

    def test_unchanged_directories_are_left_out(self):
        for side in ('upper', 'lower'):
            os.makedirs(self.path(side + '/a/b'))
            os.makedirs(self.path(side + '/c/d'))
        self.write('upper/c/d/new')
        for side in ('upper', 'lower'):
            for name in ('a/b', 'a', 'c/d', 'c', '.'):
                os.utime(self.path(os.path.join(side, name)), ns=(0, 10 ** 9))
        self.assertEqual(['.', 'c', 'c/d', 'c/d/new'],
                         list(members(self.changes())))
        os.chmod(self.path('upper/a/b'), 0o700)
        self.assertEqual(['.', 'a', 'a/b', 'c', 'c/d', 'c/d/new'],
                         list(members(self.changes())))

    @unittest.skipUnless(os.geteuid() == 0, 'only root sets capabilities')
    def test_capability_of_the_image(self):
        """What the init has set is no change, all else is."""
        merged = self.path('merged')
        for side in ('upper', 'lower', 'merged'):
            self.write(side + '/file', 'content')
            os.utime(self.path(side + '/file'), ns=(0, 10 ** 9))
            os.utime(self.path(side), ns=(0, 10 ** 9))
        os.setxattr(self.path('upper/file'), 'user.overlay.metacopy', b'')
        os.setxattr(self.path('merged/file'), 'security.capability', CAP)
        cap = CAP.hex() + ' file'
        self.assertEqual([], list(members(self.changes(merged, cap))))
        for caps in ((), (CAP.hex() + ' other',),
                     (CAP.hex().replace('2', '3') + ' file',)):
            found = members(self.changes(merged, *caps))
            self.assertEqual(['.', 'file'], list(found), caps)
            self.assertEqual(CAP.decode('latin-1'), found['file'].pax_headers[
                'SCHILY.xattr.security.capability'])
        os.chmod(self.path('merged/file'), 0o600)
        self.assertIn('file', members(self.changes(merged, cap)))

    @unittest.skipUnless(os.geteuid() == 0, 'it is root')
    def test_what_the_init_makes_is_no_change(self):
        os.makedirs(self.path('lower/etc'))
        for name in ('dev/pts', 'proc', 'sys', 'etc'):
            os.makedirs(self.path('upper/' + name))
        for name in ('.dockerenv', 'dev/console', 'etc/hosts'):
            self.write('upper/' + name)
        # As overlayfs marks any new directory
        os.setxattr(self.path('upper/sys'), 'user.overlay.opaque', b'y')
        os.symlink('/proc/mounts', self.path('upper/etc/mtab'))
        for name in ('etc', '.'):
            for side in ('upper', 'lower'):
                os.utime(self.path(os.path.join(side, name)),
                         ns=(0, 10 ** 9))
        self.assertEqual([], list(members(self.changes())))
        # Whoever changes it means it.
        self.write('upper/.dockerenv', 'x')
        self.write('upper/etc/motd')
        self.assertEqual(['.', '.dockerenv', 'etc', 'etc/motd'],
                         list(members(self.changes())))
        # The image's own is another matter.
        self.write('lower/dev/console', 'x')
        self.assertIn('dev/console', members(self.changes()))

    def test_names_of_whiteouts_are_refused(self):
        self.write('upper/a/.wh.x')
        for make in (self.changes, self.pack):
            with self.assertRaises(pack.PackError) as caught:
                make()
            self.assertIn('/a/.wh.x: an image cannot have a file of that '
                          'name', str(caught.exception))

    def test_long_paths_are_refused(self):
        start = os.open(self.upper, os.O_RDONLY)
        fd = start
        for _level in range(17):
            os.mkdir('d' * 250, dir_fd=fd)
            below = os.open('d' * 250, os.O_RDONLY, dir_fd=fd)
            if fd != start:
                os.close(fd)
            fd = below
        os.close(fd)
        os.close(start)
        for make in (self.changes, self.pack):
            with self.assertRaises(pack.PackError) as caught:
                make()
            self.assertIn('longer than 4095 bytes', str(caught.exception))


class LimitTest(unittest.TestCase):
    """pack.py: how many files its process may open."""

    def limit(self, hard):
        with mock.patch.object(resource, 'getrlimit',
                               return_value=(1024, hard)), \
                mock.patch.object(resource, 'setrlimit') as setrlimit:
            pack._allow_files()
        (number, limits), = [call.args for call in setrlimit.mock_calls]
        self.assertEqual(resource.RLIMIT_NOFILE, number)
        return limits

    def test_never_beyond_the_hard_limit(self):
        # What DevStack gives its services; more takes a capability.
        self.assertEqual((2048, 2048), self.limit(2048))

    def test_enough_for_the_deepest_tree(self):
        self.assertEqual((8192, 8192), self.limit(524288))
        self.assertEqual((8192, 8192), self.limit(resource.RLIM_INFINITY))


class PackTest(TreeCase):
    """pack.py, and who reads what it makes."""

    def setUp(self):
        super().setUp()
        trees.make(self.upper)

    def test_strict_reader(self):
        """Ours, which refuses what is not beyond doubt."""
        reader = tarread.TarReader(stream.Reader([self.pack()]))
        found = {m.name: m for m in reader}
        self.assertTrue(reader.ended)
        self.assertEqual(b'a/file', found[b'a/link'].linkname)
        self.assertEqual({b'user.name': b'va\0lue\n='},
                         found[b'a/file'].xattrs)
        self.assertEqual(1700000000123456789, found[b'a/file'].mtime)
        self.assertEqual(-1500000000, found[b'a/b/other'].mtime)
        self.assertEqual(0o4750, found[b'a/b/other'].mode)
        self.assertEqual(trees.SPARSE, found[b'hole'].size)
        self.assertEqual([], [e for e in found[b'hole'].sparse if e[1]])
        self.assertEqual(b'/' + b't' * 150, found[b'far'].linkname)
        self.assertEqual(tarread.LINK, found[b'symlink2'].type)
        self.assertEqual(set(os.listdir(os.fsencode(self.upper))),
                         {n.strip(b'/').split(b'/')[0] for n in found} -
                         {b'.'})

    @unittest.skipUnless(shutil.which('tar'), 'no tar')
    def test_gnu_tar_unpacks_the_same_tree(self):
        target = self.path('unpacked')
        os.mkdir(target)
        subprocess.run(
            ['tar', '--extract', '--xattrs', '--xattrs-include=*',
             '--preserve-permissions', '--no-same-owner', '--sparse',
             '--warning=none', '--file=-', '--directory', target],
            input=self.pack(), check=True, capture_output=True)
        self.assertEqual(self.pack(), self.pack(tree=target))

    def test_mapped(self):
        for name in ('symlink', 'symlink2', 'far', 'fifo'):
            os.unlink(self.path('upper/' + name))
        trees.map_owners(self.upper)
        link = self.path('upper/mapped-link')
        self.write('upper/mapped-link', 'target')
        self.write('upper/mapped-device')
        self.write('upper/mapped-socket')
        for name, mode, rdev in (
                ('link', stat.S_IFLNK | 0o777, None),
                ('device', stat.S_IFCHR | 0o640, os.makedev(1, 3)),
                ('socket', stat.S_IFSOCK | 0o700, None)):
            path = self.path('upper/mapped-' + name)
            os.setxattr(path, 'user.virtfs.mode', mode.to_bytes(4, 'little'))
            if rdev is not None:
                os.setxattr(path, 'user.virtfs.rdev',
                            rdev.to_bytes(8, 'little'))
        os.setxattr(link, 'user.virtfs.uid', (3 << 22).to_bytes(4, 'little'))
        found = members(self.pack('mapped', {b'a/file': CAP}))
        self.assertEqual((12, 34), (found['a/file'].uid,
                                    found['a/file'].gid))
        self.assertEqual(
            {'SCHILY.xattr.user.name': 'va\0lue\n=',
             'SCHILY.xattr.security.capability': CAP.decode('latin-1')},
            {k: v for k, v in found['a/file'].pax_headers.items()
             if k.startswith('SCHILY')})
        self.assertEqual(('target', 3 << 22), (
            found['mapped-link'].linkname, found['mapped-link'].uid))
        device = found['mapped-device']
        self.assertTrue(device.ischr())
        self.assertEqual((1, 3, 0o640), (device.devmajor, device.devminor,
                                         device.mode))
        self.assertNotIn('mapped-socket', found)

    def test_differences_from_a_copy(self):
        copy = self.path('copy')
        subprocess.run(['cp', '--archive', self.upper, copy], check=True)
        with tarfile.open(fileobj=io.BytesIO(self.pack(
                reference=copy))) as archive:
            self.assertEqual([], archive.getnames())
        os.unlink(self.path('upper/nothing'))
        shutil.rmtree(self.path('upper/empty'))
        self.write('upper/empty', 'a file now')
        self.write('upper/a/new', 'new')
        os.utime(self.path('upper/a/b'), ns=(0, 5))
        self.assertEqual(
            ['.', '.wh.nothing', 'a', 'a/b', 'a/new', 'empty'],
            list(members(self.pack(reference=copy))))

    def test_file_that_changes_meanwhile(self):
        path = self.path('upper/a/file')

        class Form(hostfiles.Passthrough):
            def entry(self, *args):
                os.truncate(path, os.stat(path).st_size + 1024)
                return super().entry(*args)

        fd = os.open(self.upper, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        sent = []
        pack.pack(fd, Form(), sent.append)
        self.assertEqual(b'E', sent[-1][:1])
