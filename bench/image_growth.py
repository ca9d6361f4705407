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

"""How the time to prepare an image grows, and what creates side by side cost.

Our store alone, as nova-compute uses it. As root::

    python3 bench/image_growth.py --work DIR

Prints seconds, and by how much the creating process, nova-compute's part,
grew: images of one size and ever more files, of few files and ever more bytes,
one image in ever more layers, and several images at once.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from tests.unit.images import builders  # noqa: E402

MIB = 1024 * 1024
CREATE = """
import json, sys, time
from nova_containervm.images import store
root, path, name = sys.argv[1:]
def fetch():
    with open(path, 'rb') as source:
        yield from iter(lambda: source.read(65536), b'')
def peak():
    with open('/proc/self/status') as status:
        return next(int(l.split()[1]) for l in status if l.startswith('VmHWM'))
where = store.ImageStore(root, owner=(64055, 64055))
idle, start = peak(), time.monotonic()
where.ensure(name, fetch)
print(json.dumps([start, time.monotonic(), (peak() - idle) / 1024]))
"""


def layer(seed, files, size):
    """A layer of *files* files that together have *size* bytes."""
    rng = random.Random(seed)
    tar = builders.Tar()
    for number in range(files):
        if not number % 100:
            tar.dir('d%d-%d' % (seed, number // 100))
        tar.file('d%d-%d/f%d' % (seed, number // 100, number),
                 rng.randbytes(size // files))
    return tar.end()


def create(work, paths):
    """Create images at once: seconds, and MiB of the largest process."""
    root = os.path.join(work, 'store')
    shutil.rmtree(root, ignore_errors=True)
    os.sync()
    jobs = [subprocess.Popen(
        [sys.executable, '-c', CREATE, root, path, 'image%d' % number],
        stdout=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': ROOT})
        for number, path in enumerate(paths)]
    found = [json.loads(job.communicate()[0]) for job in jobs]
    starts, ends, grown = zip(*found, strict=True)
    return max(ends) - min(starts), max(grown)


def report(work, title, paths, rounds):
    found = [create(work, paths) for _ in range(rounds)]
    print('%-38s %7.2f s %6.1f MiB' % (title, *map(
        min, zip(*found, strict=True))), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work', required=True)
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)

    def archive(name, layers):
        path = os.path.join(args.work, name)
        with open(path, 'wb') as out:
            out.write(builders.docker(layers))
        return path

    started = time.monotonic()
    for files in (2500, 5000, 10000, 20000, 40000):
        report(args.work, '%d files, 40 MiB' % files, [archive(
            'archive', [layer(1, files, 40 * MIB)])], args.rounds)
    for size in (50, 100, 200, 400, 800):
        report(args.work, '100 files, %d MiB' % size, [archive(
            'archive', [layer(1, 100, size * MIB)])], args.rounds)
    for count in (1, 2, 4, 8):
        report(args.work, '20000 files, 200 MiB, %d layers' % count, [archive(
            'archive', [layer(n, 20000 // count, 200 * MIB // count)
                        for n in range(count)])], args.rounds)
    paths = [archive('archive%d' % n, [layer(n, 5000, 50 * MIB)])
             for n in range(4)]
    for count in (1, 2, 4):
        report(args.work, '%d images at once, each 5000 files' % count,
               paths[:count], args.rounds)
    report(args.work, 'the same image 4 times at once', paths[:1] * 4,
           args.rounds)
    print('%.0f s in all' % (time.monotonic() - started))
    shutil.rmtree(args.work)


if __name__ == '__main__':
    main()
