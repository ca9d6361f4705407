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

"""The plugin as openstackclient finds it."""

import argparse
import importlib.metadata
import subprocess
import sys
from unittest import mock

from oslotest import base

from nova_containervm.cli.osc import plugin

# Imports every command, as a user's machine without Nova would.
IMPORTS = '''
import sys
for name in ('nova', 'oslo_config', 'oslo_log', 'oslo_privsep', 'libvirt'):
    sys.modules[name] = None
for name in %r:
    __import__(name)
'''


def entry_points(group):
    return {e.name: e for e in importlib.metadata.entry_points(group=group)
            if e.value.startswith('nova_containervm.')}


class PluginTestCase(base.BaseTestCase):

    def test_loaded_by_openstackclient(self):
        self.assertIs(plugin, entry_points(
            'openstack.cli.extension')['containervm'].load())
        self.assertIn(plugin.DEFAULT_API_VERSION, plugin.API_VERSIONS)

    def test_commands(self):
        commands = entry_points('openstack.%s.v%s' % (
            plugin.API_NAME, plugin.DEFAULT_API_VERSION))
        self.assertEqual(
            {'containervm_' + name for name in (
                'commit', 'image_create', 'image_show', 'logs', 'ps', 'run',
                'status', 'stop')}, set(commands))
        for name, entry in commands.items():
            command = entry.load()(mock.Mock(), None)
            self.assertTrue(command.get_description(), name)
            text = command.get_parser(name).format_help()
            for line in command.plain:
                self.assertIn('\n    ' + line, text)
            self.assertTrue(any('openstack ' in line
                                for line in command.plain), name)

    def test_needs_no_nova(self):
        modules = sorted({e.module for group in (
            'openstack.cli.extension', 'openstack.containervm.v1')
            for e in entry_points(group).values()})
        self.assertGreater(len(modules), 3)
        subprocess.run([sys.executable, '-W', 'ignore', '-c',
                        IMPORTS % modules], check=True)

    def test_client(self):
        instance = mock.Mock()
        self.assertIs(instance.sdk_connection, plugin.make_client(instance))

    def test_version_option(self):
        parser = argparse.ArgumentParser()
        args = plugin.build_option_parser(parser).parse_args(
            ['--os-containervm-api-version', '1'])
        self.assertEqual('1', getattr(args, plugin.API_VERSION_OPTION))
