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

"""What stands in the documentation is so."""

import argparse
import ast
import functools
import re
from unittest import mock

import ddt
from osc_lib.command import commandmanager
from oslotest import base

from nova_containervm.cli import baseimage
from nova_containervm.cli import doctor
from nova_containervm.cli import image
from nova_containervm.cli.osc import options
from nova_containervm.cli.osc import run
from nova_containervm.cli import store
from nova_containervm import conf
from nova_containervm.guest import overrides
from tests import docs

# Where openstackclient keeps the commands of the services
GROUPS = ('openstack.common', 'openstack.compute.v2', 'openstack.image.v2',
          'openstack.network.v2', 'openstack.identity.v3',
          'openstack.volume.v3', 'openstack.containervm.v1')
# Commands of plugins that are not installed here
FOREIGN = (['resource', 'provider', 'list'],)

TOOLS = {'nova-containervm-baseimage': baseimage,
         'nova-containervm-doctor': doctor,
         'nova-containervm-image': image,
         'nova-containervm-store': store}

PREFIX = overrides.PREFIX


def given_properties(words):
    """The containervm_* properties among a command's words."""
    return dict(word.split('=', 1) for option, word in zip(
        words, words[1:]) if option == '--property' and
        word.startswith(PREFIX))


@functools.cache
def command_manager():
    manager = commandmanager.CommandManager('openstack.cli')
    for group in GROUPS:
        manager.add_command_group(group)
    return manager


def parsed(command):
    """A command line of openstackclient's, by that command's own parser.

    :returns: the class of the command and its arguments
    """
    factory, name, rest = command_manager().find_command(command.words[1:])
    with mock.patch('argparse.ArgumentParser.exit',
                    side_effect=AssertionError(str(command))):
        parser = factory(mock.MagicMock(), None).get_parser(name)
        return factory, parser.parse_args(rest)


@ddt.ddt
class CommandsTestCase(base.BaseTestCase):

    def test_there_are_commands(self):
        self.assertGreater(len(docs.all_commands()), 40)

    def test_openstack(self):
        """Options and arguments are those that there are."""
        for command in docs.all_commands():
            if command.words[0] != 'openstack' or any(
                    command.words[1:1 + len(words)] == words
                    for words in FOREIGN):
                continue
            factory, args = parsed(command)
            if factory is run.Run:
                given = options.given(args, args.command)
                options.check(metadata=options.for_server(given)[0])

    def test_tools(self):
        for command in docs.all_commands():
            name, *rest = command.words
            if name == 'openstack':
                continue
            if name == 'nova-containervm-status':
                self.assertEqual(['upgrade', 'check'], rest)
                continue
            with mock.patch.object(
                    argparse.ArgumentParser, 'error',
                    side_effect=AssertionError(str(command))):
                TOOLS[name]._parser().parse_args(rest)

    def test_properties(self):
        for command in docs.all_commands():
            overrides.parse(metadata=given_properties(command.words))

    def test_documents(self):
        """User-data documents can be read."""
        found = [block for path in docs.files()
                 for block in docs.blocks(path)
                 if block.text.startswith('#containervm')]
        self.assertGreater(len(found), 1)
        for block in found:
            self.assertTrue(overrides.parse(
                user_data=block.text.encode()).names(), str(block))


@ddt.ddt
class PropertiesTestCase(base.BaseTestCase):
    """user/properties.rst: everything there is, and nothing else."""

    def _blocks(self, name, kind):
        return [b for b in docs.blocks(docs.PROPERTIES)
                if (b.section, b.kind) == (name, kind)]

    def test_sections(self):
        self.assertEqual(
            set(overrides.OPTIONS),
            {b.section for b in docs.blocks(docs.PROPERTIES)})

    @ddt.data(*overrides.OPTIONS)
    def test_examples(self, name):
        """The option and the property mean the same."""
        text, = self._blocks(name, 'text')
        console, = self._blocks(name, 'console')
        command, = docs.commands(console)
        by_property = overrides.parse(metadata=docs.properties(text))
        self.assertIsNotNone(getattr(by_property, name))
        factory, args = parsed(command)
        self.assertIs(run.Run, factory)
        if name == 'volumes':
            # The option takes the name of a volume.
            self.assertEqual(by_property.volumes[0].path,
                             args.volumes[0].partition(':')[2])
            return
        by_option = overrides.parse(metadata=options.for_server(
            options.given(args, args.command))[0])
        self.assertEqual(getattr(by_property, name),
                         getattr(by_option, name))
        for block in self._blocks(name, 'yaml'):
            by_document = overrides.parse(user_data=block.text.encode())
            self.assertEqual(getattr(by_property, name),
                             getattr(by_document, name))


@ddt.ddt
class OptionsTestCase(base.BaseTestCase):

    def test_options_of_nova_conf(self):
        """[containervm] and [libvirt] options that are named exist."""
        known = {'containervm': {o.dest for o in conf.containervm_opts},
                 'containervm_privsep': {'helper_command'}}
        count = 0
        for path in docs.files():
            text = ' '.join(path.read_text().split())
            for group, name in re.findall(
                    r'\[(containervm\w*)\] (\w+)', text):
                count += 1
                self.assertIn(name, known[group], path)
        self.assertGreater(count, 5)


# A placeholder of %, or of C's printf
_FORMAT = re.compile(r'%(\(\w+\))?[-+ #0-9.*]*(ll|l|z)?[a-zA-Z]')
_C_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"(?:\s*"(?:[^"\\]|\\.)*")*')


def _python_strings(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield ''.join(part.value if isinstance(part, ast.Constant)
                          else '\0' for part in node.values)


def _c_strings(path):
    for found in _C_STRINGS.findall(path.read_text()):
        yield re.sub(r'"\s*"', '', found)[1:-1]


@functools.cache
def messages():
    """Every text in the code, with \\0 for what is filled in."""
    package = docs.ROOT / 'nova_containervm'
    found = [text for path in package.rglob('*.py')
             for text in _python_strings(path)]
    found += [text for path in package.rglob('*.c')
              for text in _c_strings(path)]
    found += [line for path in package.rglob('*.sh')
              for line in path.read_text().splitlines()]
    return [_FORMAT.sub('\0', ' '.join(text.split())) for text in found]


def exists(message):
    """Whether the code has a message, ``...`` standing for anything."""
    pattern = re.compile('.*?'.join(
        re.escape(part) for part in ' '.join(message.split()).split('...')))
    return any(pattern.search(text) for text in messages())


class TroubleshootingTestCase(base.BaseTestCase):

    def test_messages(self):
        found = [b for b in docs.blocks(docs.TROUBLESHOOTING)
                 if b.kind == 'text']
        self.assertGreater(len(found), 20)
        missing = [str(b) for b in found if not exists(b.text)]
        self.assertEqual([], missing)

    def test_the_test(self):
        self.assertTrue(exists('The base VM image ... is for ..., this host'))
        self.assertFalse(exists('The base VM image ... is on fire'))
