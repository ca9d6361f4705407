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

"""nova-containervm-baseimage: builds and checks base VM images."""

import argparse
import os
import pathlib
import sys
import time

from nova_containervm.baseimage import bootable
from nova_containervm.baseimage import cloud
from nova_containervm.baseimage import errors
from nova_containervm.baseimage import manifest
from nova_containervm.baseimage import minimal

_BUILDERS = {'minimal': minimal, 'cloud': cloud, 'bootable': bootable}

_EPILOG = """\
A host needs the packages that the `packages` command prints, and no root
for the minimal type. The result goes to /var/lib/nova-containervm on every
compute host, and nova.conf points at it:

  [libvirt]
  base_vm_image = /var/lib/nova-containervm/base.qcow2
"""


def default_cache():
    """Directory where builds keep package lists and packages."""
    base = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return os.path.join(base, 'nova-containervm', 'baseimage')


def _parser():
    parser = argparse.ArgumentParser(
        prog='nova-containervm-baseimage', epilog=_EPILOG,
        description='Build and check the base VM images of nova-containervm.',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True,
                                     metavar='COMMAND')

    build = commands.add_parser(
        'build', help='build an image into a directory',
        description='Build a base VM image from Debian packages. The same '
                    'packages and tools give the same bytes.')
    _add_type(build)
    build.add_argument('--output', required=True, metavar='DIR',
                       help='directory for the image; made if missing')
    build.add_argument(
        '--cache', default=default_cache(), metavar='DIR',
        help='keeps package lists and packages between builds '
             '(default: %(default)s)')
    source = build.add_mutually_exclusive_group()
    source.add_argument(
        '--mirror', metavar='URL',
        help='Debian mirror to use with --suite, in place of the sources '
             'that this host\'s apt has')
    source.add_argument(
        '--packages', metavar='DIR',
        help='use the .deb files in DIR and nothing else (no network)')
    build.add_argument('--suite', default='bookworm',
                       help='release for --mirror, bookworm or trixie '
                            '(default: %(default)s)')

    verify = commands.add_parser(
        'verify', help='check an image against its manifest')
    verify.add_argument('directory', metavar='DIR')

    packages = commands.add_parser(
        'packages', help='print the packages the build host needs')
    _add_type(packages)
    return parser


def _add_type(parser):
    parser.add_argument('--type', choices=sorted(_BUILDERS),
                        default='minimal',
                        help='kind of image (default: %(default)s)')


def _build(args):
    builder = _BUILDERS[args.type]
    start = time.monotonic()

    def progress(text):
        print('[%5.1fs] %s' % (time.monotonic() - start, text), flush=True)

    sources = None
    if args.mirror:
        sources = (f'deb {args.mirror} {args.suite} main\n'
                   f'deb {args.mirror} {args.suite}-updates main\n')
    builder.build(args.output, args.cache, progress, sources=sources,
                  packages_dir=args.packages)
    content = manifest.read(args.output)
    for part in ('disk', 'kernel', 'initrd'):
        if part in content:
            print('%8.1f MiB  %s' % (
                content[part]['size'] / 2**20,
                pathlib.Path(args.output) / content[part]['file']))


def _verify(args):
    content = manifest.verify(args.directory)
    print('%s: %s image, contract %s: ok' % (
        args.directory, content['type'],
        ','.join(str(v) for v in content['contract'])))


def _packages(args):
    print('\n'.join(_BUILDERS[args.type].BUILD_PACKAGES))


def main(argv=None):
    """Entry point; returns the exit status (0, or 1 with a message)."""
    args = _parser().parse_args(argv)
    commands = {'build': _build, 'verify': _verify, 'packages': _packages}
    try:
        commands[args.command](args)
    except (errors.BuildError, OSError) as exc:
        print(f'nova-containervm-baseimage: {exc}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
