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
"""The finder that makes nova.virt.containervm importable.

How installations register it is tested in tests/packaging.
"""

import importlib
import importlib.util
import sys

import fixtures
from oslotest import base

from nova_containervm import loader


class LoaderTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(
            'sys.meta_path', [f for f in sys.meta_path
                              if f is not loader.DriverFinder]))

    def test_install_is_idempotent_and_last(self):
        loader.install()
        loader.install()
        self.assertEqual(1, sys.meta_path.count(loader.DriverFinder))
        self.assertIs(loader.DriverFinder, sys.meta_path[-1])

    def test_one_name_only(self):
        find = loader.DriverFinder.find_spec
        self.assertEqual('nova.virt.containervm',
                         find('nova.virt.containervm', ['x']).name)
        for name in ('nova', 'nova.virt', 'nova.virt.containervm.driver',
                     'nova.virt.libvirt', 'containervm'):
            self.assertIsNone(find(name))

    def test_same_module(self):
        import nova.virt

        from nova_containervm import driver

        sys.modules.pop(loader.ALIAS, None)
        loader.install()
        spec = driver.__spec__
        alias = importlib.import_module('nova.virt.containervm')
        self.assertIs(driver, alias)
        self.assertIs(driver, nova.virt.containervm)
        self.assertIs(spec, driver.__spec__)
        self.assertEqual('nova_containervm.driver', alias.__name__)

    def test_error_of_the_driver_is_seen(self):
        """A driver that cannot be imported says why, each time."""
        sys.modules.pop(loader.ALIAS, None)
        loader.install()
        self.useFixture(fixtures.MonkeyPatch(
            'nova_containervm.loader.TARGET', 'nova_containervm.nosuch'))
        for _attempt in range(2):
            error = self.assertRaises(
                ModuleNotFoundError, importlib.import_module, loader.ALIAS)
            self.assertIn('nova_containervm.nosuch', str(error))
        self.assertNotIn(loader.ALIAS, sys.modules)
