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

"""What the commands have in common."""

import argparse
import time

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

# Seconds between two looks at a server.
INTERVAL = 1.0

PREFIX = 'containervm_'

# What a server is in once it does not change by itself any more.
SETTLED = ('ACTIVE', 'SHUTOFF', 'ERROR', 'PAUSED', 'SUSPENDED', 'SHELVED',
           'SHELVED_OFFLOADED')
ENDED = ('SHUTOFF', 'ERROR', 'SHELVED', 'SHELVED_OFFLOADED', 'DELETED')


class _HelpFormatter(argparse.HelpFormatter):
    """Wraps paragraphs, and leaves indented ones as they are."""

    def _fill_text(self, text, width, indent):
        return '\n\n'.join(
            part if part.startswith(' ') else super(
                _HelpFormatter, self)._fill_text(part, width, indent)
            for part in text.split('\n\n'))


class Documented:
    """A command that says how the plain client does what it does."""

    # Commands of the plain client, a line each.
    plain: tuple[str, ...] = ()

    def get_epilog(self):
        """What the plain client has instead."""
        return '\n'.join(['Without this plugin::', '',
                          *('    ' + line for line in self.plain)])

    def get_parser(self, prog_name):
        """A parser whose help keeps the paragraphs of our docstrings."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = _HelpFormatter
        return parser


def connection(command):
    """The openstacksdk connection of a command.

    It is asked for microversions as openstackclient's user wants them: the
    newest that both sides know.
    """
    return command.app.client_manager.sdk_connection


def find_server(sdk, name):
    """A server by name or id.

    :raises CommandError: there is none, or there are several
    """
    try:
        found = sdk.compute.find_server(name, ignore_missing=False)
    except (sdk_exceptions.NotFoundException,
            sdk_exceptions.DuplicateResource) as exc:
        raise exceptions.CommandError(str(exc))
    return sdk.compute.get_server(found.id)


def find_image(sdk, name):
    """A docker image in Glance by name or id.

    :raises CommandError: there is none, there are several, or it is an image
        of another kind
    """
    try:
        image = sdk.image.find_image(name, ignore_missing=False)
    except (sdk_exceptions.NotFoundException,
            sdk_exceptions.DuplicateResource) as exc:
        raise exceptions.CommandError(str(exc))
    if image.container_format != 'docker':
        raise exceptions.CommandError(
            'Image %s is no docker image: its container format is %s. '
            'Upload one with "openstack containervm image create".' % (
                name, image.container_format))
    return image


def is_container(server, docker_images):
    """Whether a server runs a docker image.

    :param docker_images: ids of the docker images in Glance
    """
    # The image may be gone, and the server may not have reported yet.
    return (PREFIX + 'state' in (server.metadata or {}) or
            (server.image or {}).get('id') in docker_images)


def state(server, name):
    """What the driver has made known of a server's container, or None."""
    return (server.metadata or {}).get(PREFIX + name)


def fault(server):
    """Why a server is in ERROR, in one line."""
    message = (server.fault or {}).get('message') or 'no reason is given'
    return 'Server %s is in ERROR: %s' % (server.name, message)


def look(sdk, server):
    """A server as it is now.

    :raises CommandError: it has been deleted
    """
    try:
        return sdk.compute.get_server(server.id)
    except sdk_exceptions.NotFoundException:
        raise exceptions.CommandError(
            'Server %s has been deleted.' % server.name)


def wait(sdk, server, done, timeout=None):
    """Look at a server until it is as wanted.

    :param done: a function of the server
    :param timeout: seconds; None is forever
    :returns: the server as it was last seen
    :raises CommandError: it takes too long, or the server is deleted
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        server = look(sdk, server)
        if done(server):
            return server
        if deadline is not None and time.monotonic() > deadline:
            raise exceptions.CommandError(
                'Server %s is still %s after %d seconds.' % (
                    server.name, server.status, timeout))
        time.sleep(INTERVAL)


def settled(server):
    """Whether a server is in no task and between no states."""
    return server.status in SETTLED and not server.task_state


def ended(server):
    """Whether a server does not run any more, and will not by itself."""
    return server.status in ENDED and not server.task_state
