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

"""Make the driver importable under the name that Nova looks for.

Nova imports ``nova.virt.<compute_driver>``, but ``nova`` is no namespace
package: nobody else can put a module into it. A directory ``nova/`` of ours
would shadow Nova's own package wherever Nova is an editable install, as under
DevStack. So the installation brings a ``nova-containervm.pth``, and that adds
the finder below to the end of ``sys.meta_path``: it answers for the one name
``nova.virt.containervm``, which nothing else provides, with the module object
of ``nova_containervm.driver`` itself. There is no second copy, hence options
are registered once and isinstance() holds.

This runs at the start of every Python process of the environment, so it
imports nothing but sys.
"""

import sys

ALIAS = 'nova.virt.containervm'
TARGET = 'nova_containervm.driver'


class DriverFinder:
    """Meta-path finder and loader of the one name ALIAS."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """The module spec for ALIAS, None for every other name."""
        if name != ALIAS:
            return None
        from importlib import machinery

        # importlib.abc.Loader is costly to import, and asks for no more.
        return machinery.ModuleSpec(
            name, cls(), origin=TARGET)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec):
        """None: let the import system make its (temporary) module."""
        return None

    @staticmethod
    def exec_module(module):
        """Put the real module in place of the temporary one.

        The import system looks the module up in sys.modules again after
        this, and binds what it finds there as the attribute of nova.virt.
        """
        import importlib

        sys.modules[ALIAS] = importlib.import_module(TARGET)


def install():
    """Register the finder, once, after all the others."""
    if DriverFinder not in sys.meta_path:
        sys.meta_path.append(DriverFinder)
