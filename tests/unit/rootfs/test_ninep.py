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


import os
from unittest import mock

import ddt
import fixtures
from oslotest import base

from nova_containervm.privsep import limits
from nova_containervm.privsep import mounts
from nova_containervm.rootfs import ninep
from nova_containervm.rootfs import share
from tests.unit import test_domain

ROOM = 3 << 30
NAMES = ['a' * 16, 'b' * 16]


def image(*directories):
    return mock.Mock(image_id='image', layer_dirs=directories or [
        '/store/layers/%s/tree' % name for name in NAMES])


@ddt.ddt
class NinePTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.dir = self.useFixture(fixtures.TempDir()).path
        self.mounts = mock.create_autospec(mounts)
        self.mounts.is_mounted.return_value = False
        self.useFixture(fixtures.MockPatchObject(share, 'mounts',
                                                 self.mounts))
        self.limits = mock.create_autospec(limits)
        self.useFixture(fixtures.MockPatchObject(share, 'limits',
                                                 self.limits))

    def _rootfs(self, **changes):
        return ninep.NinePRootfs(self.dir, test_domain.choices(**changes))

    def test_layer_disk(self):
        rootfs = self._rootfs()
        rootfs.prepare(image(), ROOM)
        self.mounts.mount_image.assert_called_once_with(
            os.path.join(self.dir, 'rootfs'), '/store/layers', NAMES)

    def test_overlay(self):
        rootfs = self._rootfs(writable_layer='share')
        rootfs.prepare(image(), ROOM)
        self.mounts.mount_writable_image.assert_called_once_with(
            rootfs.path, '/store/layers', NAMES, rootfs.private)

    @ddt.data(('copy', False), ('reflink', True))
    @ddt.unpack
    def test_copies(self, provisioning, reflink):
        rootfs = self._rootfs(writable_layer='share',
                              share_provisioning=provisioning)
        rootfs.prepare(image(), ROOM)
        self.mounts.mount_copied_image.assert_called_once_with(
            rootfs.path, '/store/layers', NAMES, rootfs.private, reflink)

    def test_prepared_already(self):
        self.mounts.is_mounted.return_value = True
        self._rootfs().prepare(image(), ROOM)
        self.mounts.mount_image.assert_not_called()

    def test_release_keeps_what_was_written(self):
        rootfs = self._rootfs(writable_layer='share')
        os.mkdir(rootfs.path)
        os.mkdir(rootfs.private)
        rootfs.release()
        self.mounts.unmount.assert_called_once_with(rootfs.path)
        self.mounts.remove_private.assert_not_called()

    def test_remove(self):
        rootfs = self._rootfs(writable_layer='share')
        os.mkdir(rootfs.path)
        os.mkdir(rootfs.private)
        rootfs.remove()
        self.assertEqual(
            [mock.call.unmount(rootfs.path),
             mock.call.remove_private(rootfs.private)],
            self.mounts.mock_calls)

    def test_remove_of_what_was_never_prepared(self):
        self._rootfs().remove()
        self.assertEqual([], self.mounts.mock_calls)

    def test_layers_in_two_places(self):
        self.assertRaises(ValueError, self._rootfs().prepare,
                          image('/a/1/tree', '/b/2/tree'), ROOM)

    @ddt.data(('file', ['mount_file']), ('project', ['limit_directory']),
              ('none', []))
    @ddt.unpack
    def test_limit(self, kind, calls):
        rootfs = self._rootfs(writable_layer='share', share_limit=kind)
        rootfs.prepare(image(), ROOM)
        self.assertEqual(calls, [c[0] for c in self.limits.mock_calls])
        for call in self.limits.mock_calls:
            self.assertEqual(ROOM, call.args[-1])

    def test_nothing_to_limit(self):
        self._rootfs(share_limit='file').prepare(image(), ROOM)
        self.assertEqual([], self.limits.mock_calls)

    def test_release_of_a_file(self):
        rootfs = self._rootfs(writable_layer='share', share_limit='file')
        os.mkdir(rootfs.path)
        os.mkdir(rootfs.private)
        # The one is mounted on top of the other.
        both = mock.Mock()
        both.attach_mock(self.mounts.unmount, 'unmount')
        both.attach_mock(self.limits.unmount_file, 'unmount_file')
        rootfs.release()
        self.assertEqual([mock.call.unmount(rootfs.path),
                          mock.call.unmount_file(rootfs.private)],
                         both.mock_calls)
        self.limits.remove_file.assert_not_called()
        rootfs.remove()
        self.limits.remove_file.assert_called_once_with(rootfs.file)

    def test_remove_of_a_project(self):
        rootfs = self._rootfs(writable_layer='share', share_limit='project')
        os.mkdir(rootfs.private)
        rootfs.remove()
        self.limits.release_directory.assert_called_once_with(rootfs.private)
        self.mounts.remove_private.assert_called_once_with(rootfs.private)

    @ddt.data(('copy', 'file', 10240), ('reflink', 'project', 10240),
              ('copy', 'none', 0), ('overlay', 'file', 0))
    @ddt.unpack
    def test_needs(self, provisioning, limit, size):
        made = mock.Mock(size=2048, entries=2)
        self.assertEqual(size, self._rootfs(
            writable_layer='share', share_provisioning=provisioning,
            share_limit=limit).needs(made))
        self.assertEqual(0, self._rootfs().needs(made))

    def test_room(self):
        self.assertEqual(0, self._rootfs(share_limit='file').room())
        rootfs = self._rootfs(writable_layer='share', share_limit='file')
        self.assertEqual(0, rootfs.room())
        with open(rootfs.file, 'wb') as f:
            f.write(b'x' * 65536)
            f.truncate(1 << 30)
            f.flush()
            os.fsync(f.fileno())
        self.assertEqual((1 << 30) - 65536, rootfs.room())
        self.limits.room_in_directory.return_value = 7
        self.assertEqual(7, self._rootfs(
            writable_layer='share', share_limit='project').room())
