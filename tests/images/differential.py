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

"""Random images of several layers: do we and umoci agree?

``python3 -m tests.images.differential --rounds N [--seed S]``, as root.
Members get in each other's way on purpose: replaced types, links to links,
whiteouts, files below symbolic links of lower layers.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from nova_containervm.images import errors
from nova_containervm.images import store
from tests.unit.images import builders
from tests.unit.images import trees

NAMES = ('a', 'b', 'c', 'd')


def path(rng):
    return '/'.join(rng.choices(NAMES, k=rng.choice((1, 1, 2, 2, 3))))


def layer(rng, made):
    """A layer that a build tool could have written, on a bad day."""
    tar = builders.Tar().dir('./')
    for _ in range(rng.choice((1, 2, 4, 8))):
        name = path(rng)
        kind = rng.choice(('file', 'file', 'dir', 'dir', 'link', 'symlink',
                           'fifo', 'whiteout', 'opaque'))
        mtime = builders.MTIME + rng.randrange(1000)
        if kind == 'file':
            tar.file(name, rng.randbytes(rng.randrange(40)), mtime=mtime,
                     mode=rng.choice((0o644, 0o4755)), uid=rng.randrange(3))
            made.append(name)
        elif kind == 'dir':
            tar.dir(name, mtime=mtime, mode=rng.choice((0o755, 0o700)))
        elif kind == 'link':
            tar.link(name, rng.choice(made or [path(rng)]), mtime=mtime)
        elif kind == 'symlink':
            tar.symlink(name, rng.choice(('', '/', '../')) + path(rng),
                        mtime=mtime)
        elif kind == 'fifo':
            tar.add(name, b'6', mtime=mtime)
        else:
            parent, _slash, base = name.rpartition('/')
            base = '.wh.' + base if kind == 'whiteout' else '.wh..wh..opq'
            tar.file((parent + '/' if parent else '') + base)
    return tar.end()


def lowest(rng, made):
    """A layer with symbolic links that those above write through."""
    tar = builders.Tar().dir('./')
    for _ in range(rng.choice((2, 4, 8))):
        name = path(rng)
        mtime = builders.MTIME + rng.randrange(1000)
        kind = rng.choice(('file', 'dir', 'dir', 'symlink', 'symlink'))
        if kind == 'file':
            tar.file(name, rng.randbytes(9), mtime=mtime)
            made.append(name)
        elif kind == 'dir':
            tar.dir(name, mtime=mtime, mode=rng.choice((0o755, 0o700)))
        else:
            tar.symlink(name, rng.choice(('', '/', '../')) + path(rng),
                        mtime=mtime)
    return tar.end()


def through_links(rng, made):
    """A layer that names files and whiteouts by way of lower links.

    Whiteouts come first, as the image-spec advises: umoci lets it depend on
    the order how a directory without a member looks.
    """
    tar = builders.Tar().dir('./')
    kinds = ['whiteout'] * rng.choice((0, 1, 3)) + ['opaque'] * rng.choice(
        (0, 1)) + rng.choices(('file', 'file', 'dir', 'link'),
                              k=rng.choice((1, 2, 4)))
    for kind in kinds:
        parent = '/'.join(rng.choices(NAMES, k=rng.choice((1, 1, 2, 3))))
        base = rng.choice(NAMES)
        name = parent + '/' + base
        mtime = builders.MTIME + rng.randrange(1000)
        if kind == 'whiteout':
            tar.file(parent + '/.wh.' + base)
        elif kind == 'opaque':
            tar.file(parent + '/.wh..wh..opq')
        elif kind == 'dir':
            tar.dir(name, mtime=mtime, mode=rng.choice((0o755, 0o700)))
        elif kind == 'link':
            tar.link(name, rng.choice(made or [name]), mtime=mtime)
        else:
            tar.file(name, rng.randbytes(9), mtime=mtime)
            made.append(name)
    return tar.end()


def image(rng):
    """The layers of a random image."""
    made = []
    if rng.random() < 0.5:
        return [layer(rng, made) for _ in range(rng.choice((1, 2, 3, 4)))]
    return [lowest(rng, made), *(through_links(rng, made) for _ in range(
        rng.choice((1, 1, 2, 3))))]


def theirs(layers, work):
    """umoci's tree, or None when it refuses."""
    layout = os.path.join(work, 'layout')
    os.mkdir(layout)
    subprocess.run(['tar', '-C', layout, '-xf', '-'],
                   input=builders.oci(layers, ref='x'), check=True)
    done = subprocess.run(['umoci', 'unpack', '--image', layout + ':x',
                           work + '/bundle'], capture_output=True,
                          check=False)
    if done.returncode:
        return None, done.stderr.decode().strip()
    return trees.native(work + '/bundle/rootfs'), ''


def ours(layers, work, mode):
    where = store.ImageStore(os.path.join(work, mode), access_mode=mode,
                             owner=(64055, 64055), architecture='amd64')
    try:
        image = where.ensure('x', builders.chunks(builders.docker(layers)))
    except errors.ImageError as exc:
        return None, str(exc)
    return trees.stored(image, mode), ''


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=200)
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    recent = time.time_ns() - 86400 * 10 ** 9
    count = {'same': 0, 'both refuse': 0, 'only we refuse': 0,
             'only umoci refuses': 0, 'differ': 0}
    for seed in range(args.seed, args.seed + args.rounds):
        rng = random.Random(seed)
        layers = image(rng)
        work = tempfile.mkdtemp(prefix='diff')
        a, why = ours(layers, work, rng.choice(('mapped', 'passthrough')))
        b, why_not = theirs(layers, work)
        shutil.rmtree(work)
        if a is None or b is None:
            what = ('both refuse' if a is b else
                    'only we refuse' if a is None else 'only umoci refuses')
            count[what] += 1
            if a is not b:
                print('seed %d: %s: %s' % (seed, what, why or why_not))
            continue
        found = [d for d in trees.difference(a, b)
                 if not (d.split(': ')[1].startswith('mtime')
                         and b[d.split(': ')[0]]['mtime'] > recent)]
        count['differ' if found else 'same'] += 1
        if found:
            print('seed %d:\n  %s' % (seed, '\n  '.join(found[:6])))
    print(count)
    return 1 if count['differ'] else 0


if __name__ == '__main__':
    sys.exit(main())
