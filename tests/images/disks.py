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

"""Power cuts and full disks, on an ext4 of its own.

``python3 -m tests.images.disks power --rounds 100 [--seed N]``: each round
creates an image from a slow stream, has the file system lose all that is not
on its disk at a random moment, mounts it again, and looks at the store.

``python3 -m tests.images.disks full``: an image meets less and less room, and
too few inodes. As root, both.
"""

import argparse
import fcntl
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

from nova_containervm.images import errors
from nova_containervm.images import store
from tests.images import kill
from tests.unit.images import builders
from tests.unit.images import trees

#: ioctl EXT4_IOC_SHUTDOWN, and its flag: do not even write the journal.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587d, 2
OWNER = (64055, 64055)
MIB = 1024 * 1024


class Disk:
    """An ext4 in a file, mounted.

    :param place: path of a directory that exists
    """

    def __init__(self, place, size=128 * MIB, inodes=16384):
        self.file = os.path.join(place, 'disk')
        self.path = os.path.join(place, 'mnt')
        os.mkdir(self.path)
        with open(self.file, 'wb') as out:
            out.truncate(size)
        subprocess.run(['mkfs.ext4', '-q', '-N', str(inodes), self.file],
                       check=True)

    def __enter__(self):
        subprocess.run(['mount', '-o', 'loop', self.file, self.path],
                       check=True)
        return self

    def __exit__(self, *_exc):
        # Processes that have just been killed may not have let go yet.
        deadline = time.monotonic() + 30
        while subprocess.run(['umount', self.path], check=False,
                             stderr=subprocess.DEVNULL).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError('%s is busy' % self.path)
            time.sleep(0.05)

    def cut(self):
        """What is not on the disk now never gets there."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack('I', NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def room(self):
        """Free bytes and inodes."""
        os.sync()
        st = os.statvfs(self.path)
        return st.f_bavail * st.f_frsize, st.f_favail

    def store(self):
        return store.ImageStore(os.path.join(self.path, 'store'),
                                owner=OWNER, architecture='amd64')


def look(where, wanted, data):
    """Problems of a store after a fault; the image is made again."""
    found = []
    image = where.lookup('image')
    state = 'there' if image else 'absent'
    if image:
        found += trees.difference(trees.stored(image, 'mapped'), wanted)
    found += map(str, where.verify().items())
    image = where.ensure('image', builders.chunks(data))
    found += trees.difference(trees.stored(image, 'mapped'), wanted)
    found += map(str, where.verify().items())
    where.prune(set(), 0)
    for name in ('tmp', 'locks', 'images', 'layers'):
        found += ['%s is left in %s' % (n, name)
                  for n in os.listdir(where.path(name))]
    return state, found


def power(place, rounds, seed):
    """Cut the power at random moments. Returns an exit status."""
    rng = random.Random(seed)
    data = kill.archive()
    archive = os.path.join(place, 'archive')
    with open(archive, 'wb') as out:
        out.write(data)
    disk = Disk(place)
    with disk:
        start = time.monotonic()
        wanted = trees.stored(disk.store().ensure(
            'image', builders.chunks(data)), 'mapped')
        disk.store().prune(set(), 0)
    longest = 1.5 * (time.monotonic() - start) + len(data) / 8192 * 0.0015
    count = {}
    for number in range(rounds):
        with disk:
            disk.store().prepare()
            os.sync()
            job = kill.start(disk.store().root, archive, OWNER)
            # What kernels write back by themselves is part of the matter.
            time.sleep(rng.random() * longest)
            if rng.random() < 0.3:
                os.sync()
            disk.cut()
            kill.end(job)
        with disk:
            state, found = look(disk.store(), wanted, data)
        count[state] = count.get(state, 0) + 1
        if found:
            print('round %d: the image was %s: %s' % (number, state,
                                                      found[:5]))
            return 1
        if number % 10 == 9:
            print('%d power cuts, image afterwards: %s' % (number + 1, count),
                  flush=True)
    return 0


def full(place):
    """Leave less and less room. Returns an exit status."""
    data = kill.archive()
    outcomes = []
    for inodes, frees in ((16384, range(0, 12 * MIB, MIB // 2)),
                          (600, [20 * MIB])):
        directory = tempfile.mkdtemp(dir=place)
        with Disk(directory, inodes=inodes) as disk:
            where = disk.store()
            where.prepare()
            for free in frees:
                ballast = disk.path + '/ballast'
                with open(ballast, 'wb') as out:
                    os.posix_fallocate(out.fileno(), 0,
                                       disk.room()[0] - free)
                before = disk.room()
                try:
                    where.ensure('image', builders.chunks(data))
                    outcomes.append('stored')
                    where.prune(set(), 0)
                except errors.NoSpace:
                    outcomes.append('no space')
                left = [n for d in ('tmp', 'locks', 'images', 'layers')
                        for n in os.listdir(where.path(d))]
                # Directories keep the blocks that they have grown to.
                if left or disk.room()[1] != before[1] \
                        or before[0] - disk.room()[0] > 65536:
                    print('%d bytes free: left %s, room %s, then %s' % (
                        free, left, before, disk.room()))
                    return 1
                os.unlink(ballast)
    print(', '.join('%s x %d' % (x, outcomes.count(x))
                    for x in sorted(set(outcomes))))
    return 0 if outcomes.count('stored') and outcomes[-1] == 'no space' else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', choices=('power', 'full'))
    parser.add_argument('--rounds', type=int, default=100)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--unshared', action='store_true',
                        help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.unshared:
        # In other namespaces our mounts would live on when unmounted here.
        os.execvp('unshare', ['unshare', '--mount', sys.executable, '-m',
                              __spec__.name, *sys.argv[1:], '--unshared'])
    with tempfile.TemporaryDirectory(prefix='disks') as place:
        os.chmod(place, 0o755)
        if args.what == 'full':
            return full(place)
        return power(place, args.rounds, args.seed)


if __name__ == '__main__':
    sys.exit(main())
