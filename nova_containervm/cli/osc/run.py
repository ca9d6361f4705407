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

"""``openstack containervm run``: docker run, with a server behind it."""

import argparse
import base64
import secrets
import sys

from openstack import exceptions as sdk_exceptions
from osc_lib.cli import parseractions
from osc_lib.command import command
from osc_lib import exceptions

from nova_containervm.cli.osc import base
from nova_containervm.cli.osc import console
from nova_containervm.cli.osc import options
from nova_containervm.cli.osc import places
from nova_containervm.cli.osc import servers

_WORDS = ('containervm', 'run')


class Run(base.Documented, command.ShowOne):
    """Create a server from a docker image and follow its output.

    Prints what the container writes, and ends with its exit status: 125 if
    it could not be run at all. Ctrl-C stops the server. With -d, shows the
    server and leaves it running.

    Options come before the image. What follows the image is the command; put
    -- between them if the command has options of its own.
    """

    plain = (
        'openstack server create --image IMAGE --flavor FLAVOR '
        '--network NETWORK \\',
        "    --property containervm_command='COMMAND' "
        '--property containervm_env=A=1 NAME',
        'openstack console log show NAME',
        'openstack server show -c properties NAME',
        'openstack server delete NAME',
    )

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('image', metavar='<image>', help='name or id')
        parser.add_argument(
            'command', metavar='<command>', nargs=argparse.REMAINDER,
            help="replaces the image's command")
        parser.add_argument('--name', metavar='NAME',
                            help='name of the server (default: made up)')
        parser.add_argument(
            '--flavor', metavar='FLAVOR',
            help='name or id (default: the smallest that the image allows)')
        parser.add_argument(
            '--network', metavar='NETWORK', action='append',
            help='name or id, repeatable (default: the only one there is)')
        parser.add_argument(
            '--security-group', metavar='GROUP', action='append',
            help='name or id (repeatable)')
        parser.add_argument(
            '-d', '--detach', action='store_true',
            help='show the server and leave it running')
        parser.add_argument(
            '--wait', action='store_true',
            help='with -d: wait until the container runs')
        parser.add_argument(
            '--rm', action='store_true',
            help='delete the server when the container has ended')
        parser.add_argument(
            '-v', '--volume', metavar='VOLUME:PATH[:ro]', action='append',
            dest='volumes', help='attach a Cinder volume (name or id) and '
                                 'mount it there; ephemeral0 is the '
                                 "flavor's ephemeral disk (repeatable)")
        parser.add_argument(
            '--property', metavar='KEY=VALUE', dest='properties',
            action=parseractions.KeyValueAction,
            help='more metadata of the server (repeatable)')
        options.add_options(parser)
        return parser

    def run(self, parsed_args):
        """Return the exit status of the command."""
        args = self._as_written(parsed_args)
        if args.command[:1] == ['--']:
            args.command = args.command[1:]
        if args.detach and args.rm:
            raise exceptions.CommandError(
                '--rm needs somebody to see the end: it does not go with -d.')
        if args.detach:
            return super().run(args)
        return self._attached(args)

    def _as_written(self, parsed_args):
        """Parse the command line again, as it was written.

        openstackclient takes its own options (-v, -q, --debug) out of it
        wherever they are: also -v, which is --volume here, and what belongs
        to the container's command.
        """
        written = list(getattr(self.app, 'command_options', None) or ())
        for at in range(len(written)):
            if tuple(written[at:at + 2]) == _WORDS:
                break
        else:
            return parsed_args
        parser = self.get_parser('openstack containervm run')
        _add_global_options(parser, self.app.parser)
        return parser.parse_args(written[at + 2:])

    def take_action(self, args):
        sdk = base.connection(self)
        server = self._create(sdk, args)
        if args.wait:
            server = base.wait(sdk, server, _has_run)
            if server.status == 'ERROR':
                raise exceptions.CommandError(base.fault(server))
        return servers.shown(server)

    def _attached(self, args):
        sdk = base.connection(self)
        server = self._create(sdk, args)
        try:
            print('Server %s (%s)' % (server.name, server.id),
                  file=sys.stderr)
            server = _follow(sdk, server, self.app.stdout)
            return console.exit_code(sdk, server)
        finally:
            if args.rm:
                sdk.compute.delete_server(server.id, ignore_missing=True)
                sdk.compute.wait_for_delete(server, interval=base.INTERVAL)

    def _create(self, sdk, args):
        image = base.find_image(sdk, args.image)
        volumes = places.volumes(sdk, args.volumes)
        given = options.given(
            args, args.command, [v.override for v in volumes])
        metadata, user_data = options.for_server(given)
        metadata = {**metadata, **(args.properties or {})}
        options.check(image.properties, metadata, user_data)
        settings = {
            'name': args.name or '%s-%s' % (_host_name(image.name),
                                            secrets.token_hex(2)),
            'image_id': image.id,
            'flavor_id': places.flavor(sdk, args.flavor, image).id,
            'networks': places.networks(sdk, args.network),
            'metadata': metadata,
        }
        if args.security_group:
            settings['security_groups'] = [
                {'name': name} for name in args.security_group]
        if user_data:
            settings['user_data'] = base64.b64encode(user_data).decode()
        if volumes:
            settings['block_device_mapping'] = places.block_devices(
                image, volumes)
        try:
            return sdk.compute.create_server(**settings)
        except sdk_exceptions.HttpException as exc:
            raise exceptions.CommandError(
                'The server could not be created: %s' % (
                    exc.details or exc))


def _add_global_options(parser, top):
    """Have the options of openstackclient itself pass, unless they are ours.

    They have taken effect already.
    """
    known = {text for action in parser._actions
             for text in action.option_strings}
    for action in top._actions:
        texts = [t for t in action.option_strings if t not in known]
        if texts:
            parser.add_argument(
                *texts, dest=argparse.SUPPRESS, default=argparse.SUPPRESS,
                help=argparse.SUPPRESS,
                **({'action': 'store_true'} if action.nargs == 0 else {}))


def _host_name(name):
    """What of an image's name can begin the name of a server."""
    name = (name or '').rpartition('/')[2].partition(':')[0].lower()
    kept = ''.join(c if c.isascii() and c.isalnum() else '-' for c in name)
    return kept.strip('-')[:40] or 'container'


def _has_run(server):
    """Whether the container runs or has run, or never will."""
    return base.ended(server) or base.state(server, 'state') in (
        'running', 'restarting', 'exited', 'failed')


def _follow(sdk, server, out):
    """Show a server's output until it ends; Ctrl-C stops it."""
    follower = console.Follower(sdk, out)
    try:
        return follower.follow(server)
    except KeyboardInterrupt:
        print('Stopping the server; Ctrl-C again leaves it alone.',
              file=sys.stderr)
        _stop(sdk, server)
        return follower.follow(server)


def _stop(sdk, server):
    """Stop a server as soon as it can be."""
    server = base.wait(sdk, server, base.settled)
    if not base.ended(server):
        sdk.compute.stop_server(server.id)
