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

"""nova-containervm-store: the image store of a compute host, for operators."""

import argparse
import json
import os
import sys
import time

from nova_containervm.cli import pipes
from nova_containervm.images import diskstore
from nova_containervm.images import errors
from nova_containervm.images import store

DEFAULT_ROOT = '/var/lib/nova/instances/_base/containervm'


def _parser():
    parser = argparse.ArgumentParser(
        prog='nova-containervm-store',
        description='Look after the image store of a compute host. Run as '
                    'root: files of layers belong to QEMU\'s user.')
    parser.add_argument('--root', default=DEFAULT_ROOT, metavar='DIR',
                        help='the store (default: %(default)s)')
    parser.add_argument('--json', action='store_true',
                        help='print one JSON object')
    commands = parser.add_subparsers(dest='command', required=True,
                                     metavar='COMMAND')
    commands.add_parser('list', help='show the images and their layers')
    verify = commands.add_parser(
        'verify', help='compare every file with what was stored',
        description='Read every layer and compare it with its manifest. '
                    'Exit status 1 when anything is damaged.')
    verify.add_argument('--repair', action='store_true',
                        help='take what is damaged out of the store; the '
                             'next server fetches it again')
    prune = commands.add_parser(
        'prune', help='remove images that have not been used for a while',
        description='Remove images that no server has been created from '
                    'for some time, and layers that no image needs. This '
                    'command does not know the servers of the host: name '
                    'the images that they use with --keep.')
    prune.add_argument('--min-age', type=int, default=86400, metavar='S',
                       help='seconds since an image was last used '
                            '(default: %(default)s)')
    prune.add_argument('--keep', action='append', default=[], metavar='ID',
                       help='an image to keep; may be repeated')
    return parser


def open_store(root):
    """The store at *root*, in the form that its images have.

    :raises StoreError: there is none
    """
    if not os.path.isdir(os.path.join(root, 'layers')):
        raise errors.StoreError('%s is no image store' % root)
    plain = store.ImageStore(root)
    for name in plain.layers():
        info = plain.layer_info(name)
        if info is None or 'access_mode' not in info:
            continue
        if info['access_mode'] == 'block':
            return diskstore.DiskStore(root, owner=tuple(info['owner']))
        return store.ImageStore(root, access_mode=info['access_mode'],
                                owner=tuple(info['owner']))
    return plain


def _list(where, args):
    images = []
    for path, record in where.records():
        record = record or {}
        images.append({
            'image_id': record.get('image_id', os.path.basename(path)),
            'ref': record.get('ref'), 'size': record.get('size', 0),
            'entries': record.get('entries', 0),
            'architecture': record.get('architecture', '?'),
            'last_used': os.stat(path).st_mtime,
            'layers': [x['dir'] for x in record.get('layers', ())]})
    found = {'images': images, 'layers': {
        n: where.layer_info(n) for n in where.layers()}}
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    print('%-36s %-7s %9s %8s %6s  %s' % ('IMAGE', 'ARCH', 'MIB', 'ENTRIES',
                                          'LAYERS', 'LAST USED'))
    for image in images:
        print('%-36s %-7s %9.1f %8d %6d  %s' % (
            image['image_id'], image['architecture'],
            image['size'] / 1048576, image['entries'], len(image['layers']),
            time.strftime('%Y-%m-%d %H:%M', time.localtime(
                image['last_used']))))
    size = sum((x or {}).get('size', 0) for x in found['layers'].values())
    print('%d images, %d layers, %.1f MiB' % (
        len(images), len(found['layers']), size / 1048576))
    return 0


def _verify(where, args):
    found = where.verify(repair=args.repair)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        for name, problems in found.items():
            for problem in problems:
                print('%s: %s' % (name, problem))
        print('%d damaged%s' % (len(found), ', taken out of the store'
                                if found and args.repair else ''))
    return 1 if found else 0


def _prune(where, args):
    removed = where.prune(set(args.keep), args.min_age)
    if args.json:
        print(json.dumps({'removed': removed}))
    else:
        for image in removed:
            print('removed %s' % image)
        print('%d images removed' % len(removed))
    return 0


@pipes.reader_may_leave
def main(argv=None):
    """Entry point of the command.

    :returns: exit status
    """
    args = _parser().parse_args(argv)
    try:
        where = open_store(args.root)
        return {'list': _list, 'verify': _verify,
                'prune': _prune}[args.command](where, args)
    except BrokenPipeError:
        raise
    except (errors.StoreError, OSError) as exc:
        print('nova-containervm-store: %s' % exc, file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
