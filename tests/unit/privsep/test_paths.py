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

import ddt
import fixtures
from oslotest import base

from nova_containervm import conf
from nova_containervm.privsep import paths

CONF = conf.CONF


@ddt.ddt
class PathsTestCase(base.BaseTestCase):
    """The daemon is root: it takes nothing on trust from nova-compute."""

    def setUp(self):
        super().setUp()
        self.top = self.useFixture(fixtures.TempDir()).path
        self.snapshots = self.useFixture(fixtures.TempDir()).path
        CONF.set_override('instances_path', self.top)
        self.addCleanup(CONF.clear_override, 'instances_path')
        CONF.set_override('snapshots_directory', self.snapshots, 'libvirt')
        self.addCleanup(CONF.clear_override, 'snapshots_directory',
                        'libvirt')
        os.mkdir(os.path.join(self.top, 'target'))
        os.symlink('/etc', os.path.join(self.top, 'link'))

    @ddt.data('/etc', '/', '{top}', '{top}/../x', '{top}/.', '{top}/..',
              '{top}/link', '{top}/link/x', '{top}/target/../../x', '',
              '{snapshots}', '{snapshots}/../x', '{top}x/y')
    def test_path_outside(self, path):
        self.assertRaises(ValueError, paths.own, path.replace(
            '{top}', self.top).replace('{snapshots}', self.snapshots))

    @ddt.data('{top}/target', '{top}/target/below', '{snapshots}/x')
    def test_path_inside(self, path):
        path = path.replace('{top}', self.top).replace('{snapshots}',
                                                       self.snapshots)
        self.assertEqual(os.path.realpath(path), paths.own(path))
