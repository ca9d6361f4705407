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

"""``openstack containervm image``: docker images in Glance."""

import contextlib
import shlex

from openstack import exceptions as sdk_exceptions
from osc_lib.cli import format_columns
from osc_lib.command import command
from osc_lib import exceptions

from nova_containervm.cli import image as image_cli
from nova_containervm.cli.osc import archive
from nova_containervm.cli.osc import base
from nova_containervm.cli.osc import options
from nova_containervm.guest import overrides

_FORMATS = {'docker': 'docker archive', 'oci': 'OCI image layout',
            'rootfs': 'bare root filesystem', 'disk': 'disk',
            'bootable': 'bootable disk'}


class CreateImage(base.Documented, command.ShowOne):
    """Check a docker image and upload it to Glance.

    Reads the image as a compute host would, so that what could not run is
    refused before the upload. Sets container format, architecture, least
    memory and disk, and the trait of hosts that can run it.
    """

    plain = (
        'skopeo copy docker://REF docker-archive:FILE',
        'nova-containervm-image inspect FILE',
        'openstack image create NAME --file FILE '
        '--container-format docker --disk-format raw \\',
        '    --min-disk GB --min-ram MB '
        '--property architecture=x86_64 \\',
        '    --property trait:CUSTOM_CONTAINERVM=required '
        '--property containervm_user=...',
    )

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='<name>',
                            help='name of the new image')
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument(
            '--file', metavar='FILE',
            help='what docker save, podman save, skopeo copy or docker '
                 'export has written; plain, gzip or zstd; or a disk of '
                 'nova-containervm-image convert')
        source.add_argument(
            '--from', dest='source', metavar='SOURCE',
            help='fetch it with skopeo, from docker://NAME, oci:DIRECTORY, '
                 'containers-storage:NAME, docker-daemon:NAME ...')
        parser.add_argument(
            '--ref', metavar='NAME',
            help='which image, if the file holds several')
        parser.add_argument(
            '--arch', metavar='ARCH',
            help='architecture of the compute hosts as docker names it, '
                 'such as amd64 (default: of this machine)')
        parser.add_argument(
            '--min-disk', type=int, metavar='GB',
            help='least root disk (default: room to change every file once)')
        parser.add_argument(
            '--min-ram', type=int, metavar='MB',
            help='least memory (default: 128 for images below 64 MiB, 256 '
                 'for others)')
        parser.add_argument(
            '--no-trait', action='store_true',
            help='let every host be chosen; only where all hosts run docker '
                 'images')
        parser.add_argument('--no-progress', action='store_true',
                            help='show no progress bar')
        visibility = parser.add_mutually_exclusive_group()
        for name in ('public', 'private', 'shared', 'community'):
            visibility.add_argument(
                '--' + name, action='store_const', const=name,
                dest='visibility', help='who may use it')
        options.add_property(parser, 'image')
        options.add_options(parser)
        return parser

    def take_action(self, parsed_args):
        given = {**options.for_image(options.given(parsed_args)),
                 **parsed_args.properties}
        # Now, rather than after minutes of reading
        options.check(image=given)
        with contextlib.ExitStack() as stack:
            path = parsed_args.file
            if path is None:
                path = stack.enter_context(archive.pulled(
                    parsed_args.source, parsed_args.arch))
            found = self._check(path, given, parsed_args)
            created = self._upload(path, found, given, parsed_args)
        return _shown(created, found)

    def _check(self, path, given, args):
        name = args.file or args.source
        with archive.opened(path, 'Checking %s' % name,
                            not args.no_progress) as source:
            found = archive.inspect(archive.chunks(source), name, args.ref,
                                    args.arch, given)
        archive.check(found, name)
        if found['format'] == 'bootable' and any(
                key.startswith(options.PREFIX) for key in given):
            raise exceptions.CommandError(
                '%s is a disk that boots by itself: its guest is not told '
                'properties of the image. Give them to '
                '"nova-containervm-image convert" with --property.' % name)
        return found

    def _upload(self, path, found, given, args):
        sdk = base.connection(self)
        settings = {
            **archive.properties(found, args.ref, not args.no_trait),
            **given,
            'min_disk': args.min_disk if args.min_disk is not None
            else archive.min_disk(found),
            'min_ram': args.min_ram if args.min_ram is not None
            else archive.min_ram(found),
        }
        if args.visibility:
            settings['visibility'] = args.visibility
        with archive.opened(path, 'Uploading', not args.no_progress) as data:
            try:
                made = sdk.image.create_image(
                    args.name, data=data,
                    container_format=archive.container_format(found),
                    disk_format=found.get('disk_format', 'raw'),
                    allow_duplicates=True,
                    disable_vendor_agent=False, meta=settings)
            except sdk_exceptions.SDKException as exc:
                raise exceptions.CommandError(
                    'The image could not be uploaded: %s' % exc)
        return sdk.image.get_image(made.id)


class ShowImage(base.Documented, command.ShowOne):
    """Show a docker image, as a server would run it.

    What the file itself says, its command for example, is shown with
    --contents, which downloads it.
    """

    plain = (
        'openstack image show IMAGE',
        'openstack image save IMAGE | nova-containervm-image inspect -',
    )

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('image', metavar='<image>', help='name or id')
        parser.add_argument('--contents', action='store_true',
                            help='download the image and look into it')
        parser.add_argument(
            '--arch', metavar='ARCH',
            help='architecture of the compute hosts (default: of this '
                 'machine)')
        return parser

    def take_action(self, parsed_args):
        sdk = base.connection(self)
        image = base.find_image(sdk, parsed_args.image)
        found = None
        if parsed_args.contents:
            response = sdk.image.download_image(image.id, stream=True)
            found = archive.inspect(
                response.iter_content(1 << 18), parsed_args.image,
                (image.properties or {}).get(options.PREFIX + 'ref'),
                parsed_args.arch, image.properties)
        return _shown(image, found)


def _shown(image, found):
    """Columns and values of an image.

    :param found: what its file says, or None
    """
    properties = image.properties or {}
    names = {options.PREFIX + name for name in overrides.OPTIONS}
    data = {
        'id': image.id,
        'name': image.name,
        'status': image.status,
        'size': image.size,
        'architecture': image.architecture or properties.get('architecture'),
        'min_disk': image.min_disk,
        'min_ram': image.min_ram,
        'ref': properties.get(options.PREFIX + 'ref'),
        'needs_trait': 'required' in (properties.get(archive.TRAIT),
                                      properties.get(archive.BLOCK_TRAIT)),
        'overrides': format_columns.DictColumn({
            name.removeprefix(options.PREFIX): value
            for name, value in sorted(properties.items())
            if name in names or name.startswith(options.PREFIX + 'env_')}),
    }
    if found:
        data.update({
            'format': _FORMATS[found['format']],
            'command': image_cli.safe(shlex.join(found['command'] or ())),
            'environment': format_columns.ListColumn(
                [image_cli.safe(v) for v in found['environment']]),
            'user': image_cli.safe(found['user']),
            'working_directory': image_cli.safe(found['working_directory']),
            'stop_signal': image_cli.safe(found['stop_signal']),
            'ports': format_columns.ListColumn(
                [image_cli.safe(v) for v in found['exposed_ports']]),
            'unpacked_size': found['size'],
            'problems': format_columns.ListColumn(
                [image_cli.safe(v) for v in found['problems']]),
        })
    return tuple(data), tuple(data.values())
