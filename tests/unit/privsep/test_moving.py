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

from nova_containervm import conf
from nova_containervm.privsep import moving

CONF = conf.CONF


@ddt.ddt
class PrivateDirectoryTestCase(base.BaseTestCase):
    """What a server has written to a share, from one host to another."""

    def setUp(self):
        super().setUp()
        self.top = self.useFixture(fixtures.TempDir()).path
        CONF.set_override('instances_path', self.top)
        self.addCleanup(CONF.clear_override, 'instances_path')
        for patch in (
                mock.patch.object(moving.privsep.ctx, 'client_mode', False),
                mock.patch.object(moving.mounts, 'make_private', os.mkdir)):
            patch.start()
            self.addCleanup(patch.stop)

    # An overlay's upper directory, or a copy
    @ddt.data(('upper', 'work'), ('tree',))
    def test_there(self, names):
        source, archive, target = (os.path.join(self.top, name) for name in
                                   ('there', 'rootfs.tar', 'here'))
        for name in names:
            os.makedirs(os.path.join(source, name, 'directory'))
        os.makedirs(os.path.join(source, 'source', 'of the image'))
        place = os.path.join(source, names[0], 'directory')
        with open(os.path.join(place, 'file'), 'w') as out:
            out.write('kept')
        os.setxattr(os.path.join(place, 'file'), 'user.virtfs.uid', b'1234')
        os.symlink('/nowhere', os.path.join(place, 'link'))
        moving.archive_private(source, archive)
        changed = []
        with mock.patch.object(
                moving.os, 'chown', side_effect=lambda name, *a, **kw:
                changed.append(os.path.basename(name))):
            moving.restore_private(archive, target, (1, 2))
        self.assertEqual({names[0], 'directory', 'file', 'link'},
                         set(changed))
        self.assertEqual(set(names), set(os.listdir(target)))
        place = os.path.join(target, names[0], 'directory')
        with open(os.path.join(place, 'file')) as file:
            self.assertEqual('kept', file.read())
        self.assertEqual(b'1234', os.getxattr(
            os.path.join(place, 'file'), 'user.virtfs.uid'))
        self.assertEqual('/nowhere', os.readlink(os.path.join(place, 'link')))
