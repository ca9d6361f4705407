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

"""kill -9 at any moment: the next create works, and nothing is left.

``python3 -m tests.images.kill --rounds 200 [--seed N]``. Each round starts a
process that creates an image from a slow stream, kills it (or its helper, or
both) at a random moment, and creates the image again.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from nova_containervm.images import store
from tests.unit.images import builders
from tests.unit.images import trees

CREATE = """
import sys, time
from nova_containervm.images import store
root, path, owner = sys.argv[1:4]
def fetch():
    with open(path, 'rb') as source:
        for chunk in iter(lambda: source.read(8192), b''):
            time.sleep(0.001)
            yield chunk
owner = tuple(map(int, owner.split(':')))
print('start', flush=True)
store.ImageStore(root, owner=owner, architecture='amd64').ensure('image',
                                                                 fetch)
"""


def archive():
    """Eight layers of 200 files, with links into lower ones."""
    layers = []
    for n in range(8):
        tar = builders.Tar().dir('d%d' % n)
        for m in range(200):
            tar.file('d%d/f%d' % (n, m), os.urandom(600) * 3)
        tar.link('d%d/low' % n, 'd%d/f1' % max(n - 1, 0))
        if n:
            tar.file('d%d/.wh.f0' % (n - 1))
        layers.append(tar.end())
    return builders.docker(layers, compression='gzip')


def children(pid):
    """Processes started by *pid*."""
    with open('/proc/%d/task/%d/children' % (pid, pid)) as source:
        return list(map(int, source.read().split()))


def start(root, path, owner):
    """A process that creates the image; it has begun."""
    job = subprocess.Popen(
        [sys.executable, '-c', CREATE, root, path, '%d:%d' % owner],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    job.stdout.readline()
    return job


def end(job, what='both'):
    """Kill a process that creates, its helper, or both.

    :returns: its exit status, 0 if it was done before
    """
    victims = [job.pid] if what != 'helper' else []
    try:
        if what != 'nova':
            for helper in children(job.pid):
                victims += [helper, *children(helper)]
    except OSError:
        pass
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    code = job.wait()
    job.stdout.close()
    return code


def round_(root, path, owner, rng, longest):
    """One kill. Returns what was killed, for the report."""
    job = start(root, path, owner)
    time.sleep(rng.random() * longest)
    what = rng.choice(('nova', 'helper', 'both'))
    return what if end(job, what) else 'too late'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=200)
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    owner = (64055, 64055) if os.geteuid() == 0 else (os.getuid(),
                                                      os.getgid())
    work = tempfile.mkdtemp(prefix='kill')
    path = os.path.join(work, 'archive')
    data = archive()
    with open(path, 'wb') as out:
        out.write(data)
    root = os.path.join(work, 'store')
    where = store.ImageStore(root, owner=owner, architecture='amd64')
    start = time.monotonic()
    wanted = trees.stored(where.ensure('image', builders.chunks(data)),
                          'mapped')
    longest = 1.3 * (time.monotonic() - start) + len(data) / 8192 * 0.0015
    where.prune(set(), 0)
    killed = {}
    for number in range(args.rounds):
        what = round_(root, path, owner, rng, longest)
        killed[what] = killed.get(what, 0) + 1
        time.sleep(rng.random() * 0.05)
        image = where.ensure('image', builders.chunks(data))
        # A child that was still writing is gone by a later sweep.
        deadline = time.monotonic() + 10
        where.sweep()
        while os.listdir(where.path('tmp')) and time.monotonic() < deadline:
            time.sleep(0.05)
            where.sweep()
        problems = [*trees.difference(trees.stored(image, 'mapped'), wanted),
                    *map(str, where.verify().items())]
        left = os.listdir(where.path('tmp')) + os.listdir(
            where.path('locks')) + os.listdir(where.path('images'))
        if problems or left != ['image.json']:
            print('round %d (%s): %s, left: %s' % (number, what,
                                                   problems[:5], left))
            return 1
        where.prune(set(), 0)
        if os.listdir(where.path('layers')):
            print('round %d: layers left' % number)
            return 1
        if number % 10 == 9:
            print('%d rounds clean, killed: %s' % (number + 1, killed),
                  flush=True)
    shutil.rmtree(work)
    return 0


if __name__ == '__main__':
    sys.exit(main())
