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

"""Commands for servers that run docker images."""

from openstack import exceptions as sdk_exceptions
from osc_lib.cli import format_columns
from osc_lib.command import command
from osc_lib import exceptions

from nova_containervm.cli.osc import base
from nova_containervm.cli.osc import console

_STOP_TIMEOUT = 600
_COMMIT_TIMEOUT = 3600


def _addresses(server):
    return format_columns.DictListColumn({
        network: [entry['addr'] for entry in entries]
        for network, entries in (server.addresses or {}).items()})


def _number(text):
    return int(text) if text and text.isdigit() else None


def shown(server):
    """Columns and values of one server."""
    data = {
        'id': server.id,
        'name': server.name,
        'image': (server.image or {}).get('id'),
        'status': server.status,
        'container': base.state(server, 'state'),
        'exit_code': _number(base.state(server, 'exit_code')),
        'health': base.state(server, 'health'),
        'restarts': _number(base.state(server, 'restarts')),
        'started_at': base.state(server, 'started_at'),
        'error': base.state(server, 'error') or (
            (server.fault or {}).get('message')
            if server.status == 'ERROR' else None),
        'addresses': _addresses(server),
    }
    return tuple(data), tuple(data.values())


class Status(base.Documented, command.ShowOne):
    """Show how a container is, or how it has ended."""

    plain = ('openstack server show SERVER',)

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('server', metavar='<server>', help='name or id')
        return parser

    def take_action(self, parsed_args):
        return shown(base.find_server(base.connection(self),
                                      parsed_args.server))


class ListServers(base.Documented, command.Lister):
    """List the servers that run docker images."""

    plain = ('openstack image list --property container_format=docker',
             'openstack server list --image IMAGE',
             'openstack server show -c properties SERVER')

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('-a', '--all', action='store_true',
                            help='also those that do not run')
        parser.add_argument('--all-projects', action='store_true',
                            help='of all projects (for administrators)')
        parser.add_argument('--long', action='store_true',
                            help='show more of each')
        return parser

    def take_action(self, parsed_args):
        sdk = base.connection(self)
        images = {image.id: image.name for image in
                  sdk.image.images(container_format='docker')}
        found = [server for server in sdk.compute.servers(
                     details=True, all_projects=parsed_args.all_projects)
                 if base.is_container(server, images)
                 and (parsed_args.all or server.status not in base.ENDED)]
        columns = ['ID', 'Name', 'Image', 'Status', 'Container', 'Exit Code',
                   'Addresses']
        if parsed_args.long:
            columns += ['Health', 'Restarts', 'Started At', 'Error']
        return columns, [self._row(server, images, parsed_args.long)
                         for server in found]

    @staticmethod
    def _row(server, images, more):
        data = dict(zip(*shown(server)))
        names = ['id', 'name', 'image', 'status', 'container', 'exit_code',
                 'addresses']
        if more:
            names += ['health', 'restarts', 'started_at', 'error']
        # An image that is gone has an id only.
        data['image'] = images.get(data['image'], data['image'])
        return tuple(data[name] for name in names)


class Logs(base.Documented, command.Command):
    """Show what a container has written."""

    plain = ('openstack console log show [--lines N] SERVER',)

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('server', metavar='<server>', help='name or id')
        parser.add_argument('-f', '--follow', action='store_true',
                            help='go on until the container ends')
        parser.add_argument('-n', '--tail', type=int, metavar='N',
                            help='begin with the last N lines')
        return parser

    def take_action(self, parsed_args):
        sdk = base.connection(self)
        server = base.find_server(sdk, parsed_args.server)
        follower = console.Follower(sdk, self.app.stdout, parsed_args.tail)
        if not parsed_args.follow:
            follower.print_new(server)
            return
        try:
            follower.follow(server)
        except KeyboardInterrupt:
            # Nothing happens to the server.
            pass


class Stop(base.Documented, command.Command):
    """Stop servers: the stop signal, and SIGKILL after the stop timeout."""

    plain = ('openstack server stop SERVER...',)

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('servers', metavar='<server>', nargs='+',
                            help='name or id')
        parser.add_argument('--no-wait', action='store_true',
                            help='do not wait until they are stopped')
        return parser

    def take_action(self, parsed_args):
        sdk = base.connection(self)
        found = [base.find_server(sdk, name) for name in parsed_args.servers]
        stopping = [server for server in found if not base.ended(server)]
        for server in stopping:
            try:
                sdk.compute.stop_server(server.id)
            except sdk_exceptions.HttpException as exc:
                raise exceptions.CommandError(
                    'Server %s cannot be stopped: %s' % (
                        server.name, exc.details or exc))
        if not parsed_args.no_wait:
            for server in stopping:
                base.wait(sdk, server, base.ended, _STOP_TIMEOUT)


class Commit(base.Documented, command.ShowOne):
    """Make a docker image of a server, with what it has written."""

    plain = ('openstack server image create --name NAME --wait SERVER',)

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('server', metavar='<server>', help='name or id')
        parser.add_argument('name', metavar='<name>',
                            help='name of the new image')
        return parser

    def take_action(self, parsed_args):
        sdk = base.connection(self)
        server = base.find_server(sdk, parsed_args.server)
        try:
            image = sdk.compute.create_server_image(
                server.id, parsed_args.name)
            image = sdk.image.wait_for_status(
                image, 'active', failures=['killed', 'deleted',
                                           'pending_delete'],
                interval=base.INTERVAL, wait=_COMMIT_TIMEOUT)
        except sdk_exceptions.SDKException as exc:
            raise exceptions.CommandError(
                'Server %s could not be made an image of: %s' % (
                    server.name, self._reason(sdk, server) or exc))
        columns = ('id', 'name', 'status', 'container_format', 'size')
        return columns, tuple(getattr(image, name) for name in columns)

    @staticmethod
    def _reason(sdk, server):
        """What the compute host says of the latest attempt, if anything."""
        for action in sdk.compute.server_actions(server.id):
            if action.action != 'createImage':
                continue
            found = sdk.compute.get_server_action(action.request_id,
                                                  server.id)
            for event in found.events or ():
                if event.get('details'):
                    return event['details']
            return found.message
        return None
