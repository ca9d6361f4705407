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

"""How long an image takes to get ready, against the usual tools.

Same archive, same run, on one file system: our store (both access modes),
``podman load``, ``umoci unpack`` and GNU tar of the flattened tree. Run as
root::

    python3 bench/prepare_image.py --work DIR [--rounds N] [--cold] ROOTFS.tar

The images are made of the root filesystem given: a tenth of it, all of it in
one layer, and all of it in eight layers. Prints seconds (minimum of the
rounds) until it is done and until it is on disk, which is the same for us, and
ratios of the latter to the fastest of the others and to GNU tar. DIR should be
on a file system with a journal: see clear().
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(
    __file__))))

from nova_containervm.images import store  # noqa: E402
from tests.unit.images import builders  # noqa: E402


def packages(source):
    """Debian's packages in a root filesystem.

    :returns: (dict of a file's path to the number of its package, number for
        files of none)
    """
    owners = {}
    number = 0
    with tarfile.open(source) as whole:
        for member in whole:
            if (member.isreg() and '/dpkg/info/' in member.name
                    and member.name.endswith('.list')):
                number += 1
                lines = whole.extractfile(member).read().decode()
                for path in lines.splitlines():
                    # /bin is a symbolic link to usr/bin by now.
                    owners[path.strip('/')] = number
                    owners['usr' + path] = number
    return owners, number + 1


def split(source, count, share):
    """Layers of a root filesystem: *share* of its files, in *count*.

    As of a build that installs packages in *count* steps; each layer has the
    directories above its files, as those of docker have.
    """
    layers = [source + '.layer%d' % n for n in range(count)]
    outs = [tarfile.open(name, 'w', format=tarfile.PAX_FORMAT)
            for name in layers]
    owners, last = packages(source)
    directories, taken = {}, {}
    there = [set() for _layer in layers]

    def add_parents(target, path):
        parent = os.path.dirname(path)
        if parent in directories and parent not in there[target]:
            add_parents(target, parent)
            there[target].add(parent)
            outs[target].addfile(directories[parent])

    with tarfile.open(source) as whole:
        for number, member in enumerate(whole):
            path = member.name.removeprefix('./').rstrip('/')
            target = owners.get(path, last) * count // (last + 1)
            if member.isdir():
                directories[path] = member
                if path in there[target]:
                    continue
                there[target].add(path)
            elif member.islnk():
                first = member.linkname.removeprefix('./')
                if first not in taken:
                    continue
                target = taken[first]
            elif member.isreg():
                if number % share:
                    continue
                taken[path] = target
            add_parents(target, path)
            outs[target].addfile(member, whole.extractfile(member)
                                 if member.isreg() else None)
    for out in outs:
        out.close()
    found = []
    for name in layers:
        with open(name, 'rb') as data:
            found.append(data.read())
        os.unlink(name)
    return found


def run(*args):
    subprocess.run(args, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ours(archive, root, mode):
    owner = (64055, 64055) if mode == 'mapped' else None
    where = store.ImageStore(root, access_mode=mode, owner=owner)

    def fetch():
        with open(archive, 'rb') as source:
            yield from iter(lambda: source.read(65536), b'')
    where.ensure('bench', fetch)


def contestants(paths):
    """Name -> function of a fresh directory."""
    tar = ['tar', '--numeric-owner', '--xattrs', '-xpf']

    def podman(archive):
        return lambda d: run(
            'podman', '--root', d + '/p', '--runroot', d + '/r',
            '--storage-driver', 'overlay', 'load', '-q', '-i', archive)

    return {
        'plain': {
            'ours mapped': lambda d: ours(paths['docker'], d, 'mapped'),
            'ours passthrough': lambda d: ours(paths['docker'], d,
                                               'passthrough'),
            'podman load': podman(paths['docker']),
            'GNU tar': lambda d: run(*tar, paths['flat'], '-C', d),
        },
        'gzip': {
            'ours mapped': lambda d: ours(paths['oci'], d, 'mapped'),
            'ours passthrough': lambda d: ours(paths['oci'], d,
                                               'passthrough'),
            'podman load': podman(paths['oci']),
            'umoci unpack': lambda d: run(
                'umoci', 'unpack', '--image', paths['layout'] + ':bench',
                d + '/bundle'),
            'GNU tar': lambda d: run(*tar, paths['flat.gz'], '-C', d),
        }}


def prepare(work, layers):
    """The same image in all forms."""
    paths = {k: os.path.join(work, k) for k in (
        'docker', 'oci', 'layout', 'flat', 'flat.gz')}
    with open(paths['docker'], 'wb') as out:
        out.write(builders.docker(layers, tags=['bench:latest']))
    with open(paths['oci'], 'wb') as out:
        out.write(builders.oci(layers, ref='bench'))
    os.mkdir(paths['layout'])
    run('tar', '-xf', paths['oci'], '-C', paths['layout'])
    tree = os.path.join(work, 'tree')
    os.mkdir(tree)
    for layer in layers:
        with open(paths['flat'], 'wb') as out:
            out.write(layer)
        run('tar', '--numeric-owner', '-xpf', paths['flat'], '-C', tree)
    run('tar', '--numeric-owner', '-cf', paths['flat'], '-C', tree, '.')
    shutil.rmtree(tree)
    with open(paths['flat.gz'], 'wb') as out:
        subprocess.run(['gzip', '-6c', paths['flat']], stdout=out, check=True)
    return paths


def measure(job, place, cold):
    """Seconds until the job says that it is done, and until it is on disk."""
    os.mkdir(place)
    os.sync()
    if cold:
        with open('/proc/sys/vm/drop_caches', 'w') as out:
            out.write('3')
    start = time.monotonic()
    job(place)
    taken = time.monotonic() - start
    os.sync()
    synced = time.monotonic() - start
    if os.path.isdir(place + '/p'):
        subprocess.run(['umount', '-q', place + '/p/overlay'], check=False)
    return taken, synced


def clear(place):
    """Remove what the jobs have made.

    Not before all have been measured: an ext4 without a journal does not use
    deleted inodes again for minutes, and passes over them one by one.
    """
    shutil.rmtree(place)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work', required=True)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--cold', action='store_true')
    parser.add_argument('--only', choices=('tenth', 'one', 'eight'))
    parser.add_argument('rootfs')
    args = parser.parse_args()
    for key, label, count, share in (
            ('tenth', 'a tenth, 1 layer', 1, 10),
            ('one', 'whole, 1 layer', 1, 1),
            ('eight', 'whole, 8 layers', 8, 1)):
        if args.only not in (None, key):
            continue
        work = os.path.join(args.work, 'bench')
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        layers = split(args.rootfs, count, share)
        size = sum(map(len, layers)) / 1048576
        paths = prepare(work, layers)
        del layers
        for form, jobs in contestants(paths).items():
            times = {}
            place = os.path.join(work, 'runs')
            os.mkdir(place)
            for number in range(args.rounds):
                for name, job in jobs.items():
                    times.setdefault(name, []).append(measure(
                        job, os.path.join(place, '%s %d' % (name, number)),
                        args.cold))
            clear(place)
            report('%s, %d MiB, %s, %s' % (
                label, size, form, 'cold' if args.cold else 'warm'), times)
        shutil.rmtree(work)


def report(title, times):
    print('\n%s\n%-18s %9s %9s %10s %11s' % (
        title, '', 'done s', '+sync s', '/ others', '/ GNU tar'))
    best = {n: (min(t[0] for t in v), min(t[1] for t in v))
            for n, v in times.items()}
    others = min(v[1] for n, v in best.items()
                 if not n.startswith(('ours', 'GNU')))
    for name, (done, synced) in best.items():
        print('%-18s %9.2f %9.2f %10.2f %11.2f' % (
            name, done, synced, synced / others,
            synced / best['GNU tar'][1]), flush=True)


if __name__ == '__main__':
    main()
