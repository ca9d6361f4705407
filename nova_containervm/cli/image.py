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

"""nova-containervm-image: docker images before their upload."""

import argparse
import json
import shlex
import sys

from nova_containervm.cli import convert
from nova_containervm.cli import pipes
from nova_containervm.cli import text
from nova_containervm.images import errors
from nova_containervm.images import survey


def _parser():
    parser = argparse.ArgumentParser(
        prog='nova-containervm-image',
        description='Look at docker images as nova-containervm does, and '
                    'make disks of them.')
    commands = parser.add_subparsers(dest='command', required=True,
                                     metavar='COMMAND')
    inspect = commands.add_parser(
        'inspect', help='show what a server of an image file would run',
        description='Read an image file (docker save, podman save, skopeo '
                    'copy, docker export; plain, gzip or zstd; or a disk that '
                    '"convert" has made) to its end, check all its digests, '
                    'and show what a server made of it would run. Nothing is '
                    'unpacked. Exit status: 0 usable, 1 no server can be '
                    'made of it.')
    inspect.add_argument('file', metavar='FILE', help='- for standard input')
    inspect.add_argument('--ref', help='which image, if there are several '
                                       '(the property containervm_ref)')
    inspect.add_argument('--arch', help='architecture of the compute host '
                                        '(default: of this one)')
    inspect.add_argument('--json', action='store_true',
                         help='print one JSON object')
    convert.add_parser(commands)
    return parser


def _chunks(source):
    return iter(lambda: source.read(1 << 18), b'')


#: Formats that "convert" makes.
DISKS = ('disk', 'bootable')

_size = text.size
safe = text.safe


def _print(found):
    kind = {'docker': 'docker archive', 'oci': 'OCI image layout',
            'rootfs': 'bare root filesystem', 'disk': 'disk',
            'bootable': 'bootable disk'}[found['format']]
    if found['format'] in DISKS:
        kind += ', %s' % found['disk_format']
    if found['compression']:
        kind += ', %s-compressed' % found['compression']
    command = found['command']
    lines = [
        ('Format', kind),
        ('Images', '; '.join(found['images']) or '-'),
        ('Architecture', found['architecture']),
        ('Command', shlex.join(map(str, command)) if command else '(none)'),
        ('Environment', ' '.join(shlex.quote(str(e))
                                 for e in found['environment']) or '-'),
        ('User', found['user']),
        ('Directory', found['working_directory']),
        ('Stop signal', found['stop_signal']),
        ('Ports', ' '.join(found['exposed_ports']) or '-'),
        ('Volumes', ' '.join(found['volumes']) or '-'),
    ]
    if found['format'] in DISKS:
        lines.append(('Filesystem', '%s, %s' % (
            found['filesystem'], _size(found['size'])
            if found['size'] else 'without a description')))
        lines += [('Property', '%s=%s' % entry)
                  for entry in sorted(found['properties'].items())]
    else:
        lines.append(('Unpacked', '%s in %d entries, %d layers' % (
            _size(found['size']), found['entries'], len(found['layers']))))
    for label, value in lines:
        print('%-13s %s' % (label, safe(value)))
    for number, layer in enumerate(found['layers'], 1):
        print('  layer %-4d  %s  %10s  %d entries' % (
            number, layer['diff_id'][7:19], _size(layer['size']),
            layer['entries']))
    for problem in found['problems']:
        print('%-13s %s' % ('Problem', safe(problem)))


def _inspect(args):
    if args.file == '-':
        return survey.survey(_chunks(sys.stdin.buffer), args.ref, args.arch)
    with open(args.file, 'rb') as source:
        return survey.survey(_chunks(source), args.ref, args.arch)


@pipes.reader_may_leave
def main(argv=None):
    """Entry point of the command.

    :returns: exit status
    """
    args = _parser().parse_args(argv)
    if args.command == 'convert':
        return convert.run(args)
    try:
        found = _inspect(args)
    except OSError as exc:
        print('%s: %s' % (args.file, exc.strerror), file=sys.stderr)
        return 1
    except (errors.ImageError, errors.StoreError) as exc:
        if args.json:
            print(json.dumps({'problems': [str(exc)],
                              'error': type(exc).__name__}))
        else:
            print('%s: %s' % (args.file, safe(exc)), file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        _print(found)
    return 0


if __name__ == '__main__':
    sys.exit(main())
