#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

import contextlib
import ctypes
import errno
import os
import shutil
import struct
import subprocess
import time
import unittest
from unittest import mock

import fixtures
from oslotest import base

from nova_containervm import conf
from nova_containervm import privsep
from nova_containervm.privsep import limits
from nova_containervm.privsep import mounts
from tests import namespaces

CONF = conf.CONF
MIB = 1 << 20


class LimitsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        privsep.ctx.set_client_mode(False)  # call the functions themselves
        self.addCleanup(privsep.ctx.set_client_mode, True)
        self.top = self.useFixture(fixtures.TempDir()).path
        CONF.set_override('instances_path', self.top)
        self.addCleanup(CONF.clear_override, 'instances_path')
        self.server = os.path.join(self.top, 'server')
        os.mkdir(self.server)
        self.file = os.path.join(self.server, 'rootfs.rw.img')
        self.directory = os.path.join(self.server, 'rootfs.rw')


@unittest.skipUnless(os.geteuid() == 0 and
                     os.path.exists('/dev/loop-control'),
                     'needs root, and loop devices')
class FileTestCase(LimitsTestCase):
    """With a loop device and a filesystem that is one."""

    SIZE = 16 * MIB

    def setUp(self):
        super().setUp()
        self.addCleanup(self._unmount)

    def _unmount(self):
        with contextlib.suppress(OSError):
            mounts.unmount(self.directory)

    def _mount(self, size=SIZE):
        limits.mount_file(self.file, self.directory, size)

    def _size(self):
        info = os.statvfs(self.directory)
        return info.f_blocks * info.f_frsize

    def _fill(self):
        written = 0
        with self.assertRaises(OSError) as caught:
            with open(os.path.join(self.directory, 'big'), 'wb', 0) as f:
                while True:
                    written += f.write(os.urandom(MIB))
        self.assertEqual(errno.ENOSPC, caught.exception.errno)
        return written

    def test_still_mounted_elsewhere(self):
        """Never the same file twice: that loses what is in it."""
        self._mount()
        path = os.path.join(self.directory, 'kept')
        with namespaces.copy_of_mounts():
            with open(path, 'w') as f:
                f.write('kept')
            limits.unmount_file(self.directory)
            # As what moves with its server to another host
            shutil.copy(self.file, self.file + '.copy')
            self.assertIn('kept', subprocess.run(
                ['debugfs', '-R', 'ls /', self.file + '.copy'], check=True,
                capture_output=True, text=True).stdout)
            self._mount()
            with open(path) as f:
                self.assertEqual('kept', f.read())
            os.unlink(path)
        mounts.unmount(self.directory)
        self._mount()
        self.assertFalse(os.path.exists(path))
        mounts.unmount(self.directory)
        subprocess.run(['e2fsck', '-fn', self.file], check=True,
                       capture_output=True)

    def test_loop_device_that_goes_away(self):
        """While it is looked at: somebody else's, most likely."""
        self._mount()
        file = os.open(self.file, os.O_RDONLY)
        self.addCleanup(os.close, file)
        for number in (errno.ENXIO, errno.ENOENT):
            with mock.patch('os.open', side_effect=OSError(number, '')):
                self.assertIsNone(limits._find_loop(file))
        with mock.patch('os.open', side_effect=OSError(errno.EIO, '')):
            self.assertRaises(OSError, limits._find_loop, file)
        path, device = limits._find_loop(file)
        os.close(device)
        self.assertTrue(path.startswith('/dev/loop'))

    def test_grows_when_mounted_nowhere_else(self):
        self._mount()
        before = self._size()
        with namespaces.copy_of_mounts():
            mounts.unmount(self.directory)
            self._mount(2 * self.SIZE)
            self.assertEqual(before, self._size())
        mounts.unmount(self.directory)
        self._mount(2 * self.SIZE)
        self.assertGreater(self._size(), 1.8 * before)
        mounts.unmount(self.directory)
        subprocess.run(['e2fsck', '-fn', self.file], check=True,
                       capture_output=True)

    def _on_disk(self):
        subprocess.run(['sync', '-f', self.directory], check=True)
        return os.stat(self.file).st_blocks * 512

    def test_full(self):
        self._mount()
        self.assertTrue(mounts.is_mounted(self.directory))
        self.assertLess(self._on_disk(), MIB)
        written = self._fill()
        self.assertGreater(written, 0.7 * self.SIZE)
        self.assertLess(written, self.SIZE)
        self.assertLessEqual(self._on_disk(), self.SIZE)
        # What is deleted is the host's again, once ext4 has come to it.
        os.unlink(os.path.join(self.directory, 'big'))
        deadline = time.monotonic() + 30
        while self._on_disk() > MIB and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertLess(self._on_disk(), MIB)
        self._mount()  # harmless

    def test_what_is_written_stays_and_it_grows(self):
        self._mount()
        with open(os.path.join(self.directory, 'kept'), 'wb') as f:
            f.write(b'data')
        before = self._size()
        mounts.unmount(self.directory)
        self._mount(3 * self.SIZE)
        self.assertGreater(self._size(), 2.5 * before)
        with open(os.path.join(self.directory, 'kept'), 'rb') as f:
            self.assertEqual(b'data', f.read())
        mounts.unmount(self.directory)
        self._mount()  # never smaller
        self.assertGreater(self._size(), 2.5 * before)

    def test_removed(self):
        self._mount()
        mounts.unmount(self.directory)
        limits.remove_file(self.file)
        limits.remove_file(self.file)
        mounts.remove_private(self.directory)
        self.assertEqual([], os.listdir(self.server))

    def test_only_what_was_made_here_is_mounted(self):
        def owned(path):
            os.chown(path, 1000, 0)

        def readable(path):
            os.chmod(path, 0o644)

        def named_twice(path):
            os.link(path, path + '.too')

        for change in (owned, readable, named_twice):
            self._mount()
            mounts.unmount(self.directory)
            change(self.file)
            self.assertRaises(ValueError, self._mount)
            self.assertFalse(mounts.is_mounted(self.directory))
            os.unlink(self.file)
        os.symlink('/etc/passwd', self.file)
        self.assertRaises(ValueError, self._mount)

    def test_only_below_instances_path(self):
        for arguments in (('/tmp/x.img', self.directory),
                          (self.file, '/tmp/x'),
                          (self.server + '/../../x', self.directory)):
            self.assertRaises(ValueError, limits.mount_file, *arguments,
                              self.SIZE)


class FakeQuotas:
    """A filesystem with project quotas, as ioctl and quotactl show it."""

    def __init__(self, case, kind='xfs'):
        self.projects = {}  # inode -> project
        self.limits = {}  # project -> (bytes, inodes)
        self.used = {}
        case.useFixture(fixtures.MockPatchObject(
            limits.fcntl, 'ioctl', self._ioctl))
        case.useFixture(fixtures.MockPatchObject(
            limits, '_quotactl', self._quotactl))
        case.useFixture(fixtures.MockPatchObject(
            limits.processutils, 'execute', return_value=(kind + '\n', '')))

    def _ioctl(self, fd, request, data):
        inode = os.fstat(fd).st_ino
        if request == limits._FS_IOC_FSSETXATTR:
            flags, _ext, _n, project, *_rest = limits._FSXATTR.unpack(data)
            assert flags == limits._XFLAG_PROJINHERIT
            self.projects[inode] = project
            return b''
        assert request == limits._FS_IOC_FSGETXATTR
        return limits._FSXATTR.pack(0, 0, 0, self.projects.get(inode, 0), 0,
                                    b'')

    def _quotactl(self, fd, command, project, block):
        if command == limits._Q_SETQUOTA:
            hard, soft, _used, inodes, *_rest = limits._DQBLK.unpack(block)
            assert hard == soft
            self.limits[project] = (hard << 10, inodes)
            return
        if project and project not in self.limits:
            raise OSError(errno.ENOENT, 'no such project')
        size, inodes = self.limits.get(project, (0, 0))
        ctypes.memmove(block, limits._DQBLK.pack(
            size >> 10, size >> 10, self.used.get(project, 0), inodes, inodes,
            0, 0, 0, 0), limits._DQBLK.size)


@unittest.skipUnless(os.geteuid() == 0, 'needs root to own a directory')
class ProjectTestCase(LimitsTestCase):

    def setUp(self):
        super().setUp()
        self.quotas = FakeQuotas(self)

    def _project(self, path=None):
        return self.quotas.projects[os.stat(path or self.directory).st_ino]

    def test_limit(self):
        limits.limit_directory(self.directory, 64 * MIB)
        project = self._project()
        self.assertEqual((64 * MIB, 4096), self.quotas.limits[project])
        self.quotas.used[project] = 10 * MIB
        self.assertEqual(54 * MIB, limits.room_in_directory(self.directory))
        # Again, and larger: the same project
        limits.limit_directory(self.directory, 128 * MIB)
        self.assertEqual(project, self._project())
        self.assertEqual(118 * MIB, limits.room_in_directory(self.directory))
        limits.release_directory(self.directory)
        self.assertEqual((0, 0), self.quotas.limits[project])

    def test_each_has_its_own(self):
        other = os.path.join(self.server, 'other')
        limits.limit_directory(self.directory, MIB)
        # The next candidate is taken by something else.
        with mock.patch.object(limits.zlib, 'crc32',
                               return_value=self._project()):
            limits.limit_directory(other, MIB)
        self.assertNotEqual(self._project(), self._project(other))

    def test_probe(self):
        self.assertEqual('xfs', limits.probe_project_quota(self.server))
        with mock.patch.object(limits, '_quotactl',
                               side_effect=OSError(errno.ENOSYS, '')):
            self.assertIsNone(limits.probe_project_quota(self.server))


class StructTestCase(base.BaseTestCase):
    """Sizes of the kernel's structures, from its headers."""

    def test_sizes(self):
        for made, size in ((limits._FSXATTR, 28), (limits._DQBLK, 72),
                           (limits._LOOP_CONFIG, 304)):
            self.assertEqual(size, made.size)
        # The ioctl numbers have the sizes in them.
        self.assertEqual(28, limits._FS_IOC_FSGETXATTR >> 16 & 0x3fff)
        self.assertEqual(28, limits._FS_IOC_FSSETXATTR >> 16 & 0x3fff)
        packed = limits._LOOP_CONFIG.pack(7, 0, limits._LO_FLAGS_AUTOCLEAR)
        self.assertEqual((4,), struct.unpack_from('I', packed, 8 + 52))
