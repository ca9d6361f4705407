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

"""nova-containervm-image convert: a disk of a docker image."""

import argparse
import contextlib
import json
import os
import sys

from nova_containervm.baseimage import errors as base_errors
from nova_containervm.cli import text
from nova_containervm.convert import bootable
from nova_containervm.convert import disk
from nova_containervm.convert import errors
from nova_containervm.convert import filesystems
from nova_containervm.convert import progress
from nova_containervm.images import errors as image_errors
from nova_containervm.images import mkerofs

_DESCRIPTION = '''\
Make a disk of a docker image: its root filesystem, with the image's config
behind it. Upload it with --container-format docker and the --disk-format that
it has; servers of it have the transport "block". No root is needed, and
nothing is mounted.
'''
_EPILOG = '''\
Exit status: 0 made, 1 not.

  nova-containervm-image convert nginx.tar nginx.qcow2
  openstack image create --container-format docker --disk-format qcow2 \\
      --file nginx.qcow2 nginx

For a cloud whose compute hosts have no nova-containervm:

  nova-containervm-baseimage build --type bootable --output %(base)s
  nova-containervm-image convert --bootable nginx.tar nginx.qcow2
  openstack image create --container-format bare --disk-format qcow2 \\
      --file nginx.qcow2 nginx
''' % {'base': bootable.BASE}


def add_parser(commands):
    """Add the command to those of nova-containervm-image."""
    parser = commands.add_parser(
        'convert', help='make a disk of an image file',
        description=_DESCRIPTION, epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'input', metavar='IN.tar',
        help='an image file as for "inspect"; - for standard input')
    parser.add_argument(
        'output', metavar='OUT.qcow2', help='the disk to make; one that is '
        'there is replaced when the new one is whole')
    parser.add_argument(
        '--format', choices=filesystems.FORMATS, default='erofs',
        help='filesystem: erofs (fastest to start and to read; '
        'mkfs.erofs 1.8.1 or later), squashfs (smallest, zstd; tar2sqfs), '
        'ext4 (mke2fs and debugfs). Default: %(default)s')
    parser.add_argument(
        '--method', choices=filesystems.METHODS, default='direct',
        help='direct: with the tools of the filesystem (default); guestfs: '
             'have libguestfs do it in a small virtual machine, which takes '
             'minutes without KVM (guestfish; ext4 only)')
    parser.add_argument(
        '--output-format', choices=disk.OUTPUT_FORMATS,
        help='format of the file (default: by its suffix: .qcow2, .raw, '
             '.img)')
    parser.add_argument(
        '--compress', action='store_true',
        help='compress the qcow2 (zstd): less to upload, and no difference '
             'to servers, whose hosts keep it raw')
    parser.add_argument(
        '--bootable', action='store_true',
        help='make a disk that boots by itself, as any image does on any '
             'Nova: with a kernel, and an init that runs the container. It '
             'is uploaded with --container-format bare')
    parser.add_argument(
        '--base', metavar='DIR', default=bootable.BASE,
        help='what bootable disks have in common, made by '
             '"nova-containervm-baseimage build --type bootable" (default: '
             '%(default)s)')
    parser.add_argument(
        '--property', metavar='NAME=VALUE', action='append', default=[],
        help='of a bootable disk: a default, as of the image property '
             'containervm_NAME, which its guest could not ask for. May be '
             'given several times')
    parser.add_argument(
        '--ref', help='which image, if there are several')
    parser.add_argument(
        '--arch', help='architecture of the compute hosts (default: of this '
                       'one)')
    parser.add_argument(
        '--mkfs', metavar='PROGRAM', default=mkerofs.COMMAND,
        help='mkfs.erofs to use; one older than 1.8.1 takes root')
    parser.add_argument('--json', action='store_true',
                        help='print one JSON object')


def run(args):
    """What the command does.

    :returns: exit status
    """
    bar = progress.Progress()
    try:
        wanted = disk.output_format(args.output, args.output_format)
        if args.compress and wanted != 'qcow2':
            raise errors.ConvertError('--compress is for qcow2 only')
        if args.property and not args.bootable:
            raise errors.ConvertError(
                '--property is for bootable disks; other images have their '
                'properties in Glance')
        properties = bootable.properties(args.property)
        if args.bootable:
            bootable.check_base(args.base)
        options = disk.Options(
            format=args.format, method=args.method, output_format=wanted,
            compress=args.compress, ref=args.ref, architecture=args.arch,
            mkfs=args.mkfs, base=args.base if args.bootable else None,
            properties=properties)
        with _opened(args.input) as (source, size):
            made = disk.convert(bar.reading(source, size), args.output,
                                options, bar.step)
        bar.end()
    except OSError as exc:
        return _fail(bar, '%s: %s' % (exc.filename or args.output,
                                      exc.strerror))
    except (image_errors.ImageError, image_errors.StoreError) as exc:
        return _fail(bar, '%s: %s' % (args.input, exc))
    except (errors.ConvertError, base_errors.BuildError) as exc:
        return _fail(bar, str(exc))
    _report(args, options, made)
    return 0


@contextlib.contextmanager
def _opened(path):
    """An input file, and its size or 0."""
    if path == '-':
        yield sys.stdin.buffer, 0
        return
    with open(path, 'rb') as source:
        yield source, os.fstat(source.fileno()).st_size


def _fail(bar, message):
    bar.abandon()
    print(text.safe(message), file=sys.stderr)
    return 1


def _report(args, options, made):
    if args.json:
        print(json.dumps({
            'file': args.output, 'format': options.format,
            'output_format': options.output_format,
            'bootable': args.bootable,
            'architecture': made.architecture, 'unpacked': made.unpacked,
            'entries': made.entries, 'filesystem': made.filesystem,
            'virtual_size': made.virtual, 'size': made.file}, indent=1))
        return
    for label, value in (
            ('Image', '%s in %d entries, %s' % (
                text.size(made.unpacked), made.entries, made.architecture)),
            ('Filesystem', '%s, %s' % (options.format,
                                       text.size(made.filesystem))),
            ('Disk', '%s%s, %s' % (options.output_format,
                                   ', bootable' if args.bootable else '',
                                   text.size(made.virtual))),
            ('File', '%s, %s' % (args.output, text.size(made.file)))):
        print('%-11s %s' % (label, text.safe(value)))
