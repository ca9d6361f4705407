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
from nova_containervm.privsep import mounts

CONF = conf.CONF
LAYERS = ['a' * 16, 'b' * 16]


@ddt.ddt
class ArgumentsTestCase(base.BaseTestCase):
    """The daemon is root: it takes nothing on trust from nova-compute."""

    def setUp(self):
        super().setUp()
        self.top = self.useFixture(fixtures.TempDir()).path
        CONF.set_override('instances_path', self.top)
        self.addCleanup(CONF.clear_override, 'instances_path')
        os.mkdir(self._path('layers'))
        os.mkdir(self._path('target'))

    def _path(self, *names):
        return os.path.join(self.top, *names)

    @ddt.data('..', 'a' * 15, 'A' * 16, 'a' * 16 + ',upperdir=/', '', 'a:b',
              'a' * 16 + '\n')
    def test_layer_name(self, name):
        self.assertRaises(ValueError, mounts._lowerdir,
                          self._path('layers'), [name])

    def test_lowerdir(self):
        self.assertEqual('%s/tree:%s/tree:../empty' % (LAYERS[1], LAYERS[0]),
                         mounts._lowerdir(self._path('layers'), LAYERS))

    def test_most_layers_fit_the_options_of_mount(self):
        self.assertLess(len(mounts._lowerdir(
            self._path('layers'), ['a' * 16] * 127)), 3500)

    def test_is_mounted(self):
        self.assertTrue(mounts.is_mounted('/'))
        self.assertTrue(mounts.is_mounted('/proc'))
        self.assertFalse(mounts.is_mounted(self._path('target')))

    def test_remove_does_not_follow_links(self):
        outside = self.useFixture(fixtures.TempDir()).path
        kept = os.path.join(outside, 'kept')
        open(kept, 'w').close()
        os.mkdir(self._path('rw'))
        os.symlink(outside, self._path('rw', 'link'))
        with mock.patch.object(mounts.privsep.ctx, 'client_mode', False):
            mounts.remove_private(self._path('rw'))
        self.assertFalse(os.path.exists(self._path('rw')))
        self.assertTrue(os.path.exists(kept))
