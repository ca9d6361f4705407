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

"""A cloud for the commands: openstacksdk's own resources, no network."""

import io
import itertools
import uuid
from unittest import mock

from openstack.compute.v2 import flavor as sdk_flavor
from openstack.compute.v2 import server as sdk_server
from openstack import exceptions as sdk_exceptions
from openstack.image.v2 import image as sdk_image
from openstack.network.v2 import network as sdk_network
from openstackclient.tests.unit import utils

from nova_containervm.cli.osc import base


def server(name='web1', status='ACTIVE', task_state=None, **more):
    """A server; ``metadata`` has the driver's reports."""
    return sdk_server.Server(
        id=more.pop('id', str(uuid.uuid4())), name=name, status=status,
        task_state=task_state, **more)


def image(name='nginx', container_format='docker', **more):
    return sdk_image.Image(id=str(uuid.uuid4()), name=name, status='active',
                           container_format=container_format,
                           disk_format='raw', **more)


def flavor(name, ram, disk=1, vcpus=1):
    return sdk_flavor.Flavor(id=name, name=name, ram=ram, disk=disk,
                             vcpus=vcpus)


def network(name, external=False):
    return sdk_network.Network(id='id-of-' + name, name=name,
                               is_router_external=external)


def finder(*found):
    """A find_*() of openstacksdk, by name or id."""
    def find(name, ignore_missing=True, **kwargs):
        for each in found:
            if name in (each.id, each.name):
                return each
        if ignore_missing:
            return None
        raise sdk_exceptions.NotFoundException('No such thing: %s' % name)
    return find


class TestCommand(utils.TestCommand):
    """The base of osc, with a cloud that has an image and a flavor."""

    def setUp(self):
        super().setUp()
        self.app.stdout = io.StringIO()
        self.sdk = mock.Mock()
        self.app.client_manager.sdk_connection = self.sdk
        self.image = image(min_ram=256, min_disk=1)
        self.sdk.image.find_image.side_effect = finder(self.image)
        self.sdk.compute.flavors.return_value = [
            flavor('big', 2048, 10), flavor('small', 512, 5),
            flavor('tiny', 64), flavor('diskless', 512, 0)]
        self.sdk.network.networks.return_value = [
            network('private'), network('public', external=True)]
        self.sleep = mock.patch.object(base.time, 'sleep').start()
        self.addCleanup(mock.patch.stopall)

    def history(self, *states):
        """A server goes through these states; the last one stays.

        :param states: dicts of arguments of :func:`server`
        """
        servers = [server(id='1234', **state) for state in states]
        later = itertools.chain(servers, itertools.repeat(servers[-1]))
        self.sdk.compute.get_server.side_effect = lambda _id: next(later)
        self.sdk.compute.find_server.side_effect = finder(servers[0])
        self.sdk.compute.create_server.return_value = servers[0]
        return servers[0]

    def console(self, *logs):
        """The console log grows like this."""
        later = itertools.chain(logs, itertools.repeat(logs[-1]))
        self.sdk.compute.get_server_console_output.side_effect = (
            lambda _id: {'output': next(later)})

    def execute(self, command_class, *arguments):
        """Run a command line; return what cliff's run() returns."""
        command = command_class(self.app, None)
        parser = command.get_parser('test')
        return command.run(parser.parse_args(arguments))

    def take(self, command_class, *arguments):
        """Run a command line; return its columns and values as a dict."""
        command = command_class(self.app, None)
        parser = command.get_parser('test')
        return dict(zip(*command.take_action(parser.parse_args(arguments))))

    def printed(self):
        return self.app.stdout.getvalue()

    def patch_time(self, times):
        """The monotonic clock shows these."""
        mock.patch.object(base.time, 'monotonic',
                          side_effect=lambda: next(times)).start()
