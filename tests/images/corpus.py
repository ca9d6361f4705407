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

"""Every sample image in every format, against umoci and podman.

Run as root: ``python3 -m tests.images.corpus --work DIR [name ...]``, with
``--docker DIR`` for docker's own archives as well (see docker.py).
Needs skopeo, umoci, podman and buildah. Prints one line for each image and
format; exits 1 on any difference that is not listed, with its reason, below.
"""

import argparse
import contextlib
import gzip
import os
import shutil
import stat
import subprocess
import sys
import time

from nova_containervm.images import errors
from nova_containervm.images import store
from tests.images import docker
from tests.images import samples
from tests.unit.images import builders
from tests.unit.images import trees

#: Nothing in the samples is from the last month.
STARTED = time.time_ns() - 30 * 86400 * 10 ** 9

#: What podman, docker or umoci do differently, and why we do not follow.
#: image -> tool -> reason; the tool is then not asked.
KNOWN = {
    'lower_links': {'podman': 'refuses hard links to lower layers'},
    'implied': {'podman': 'replaces a symbolic link below by a directory',
                'docker': 'refuses a symbolic link that leads nowhere yet'},
    'replaced_types': {'podman': 'refuses a layer that has a name twice',
                       'docker': 'refuses a layer that has a name twice'},
    'sparse': {'podman': 'writes every hole: 9 GiB for each format',
               'docker': 'writes every hole: 9 GiB for each format'},
    'xattrs': {'podman': 'drops ACLs, keeps attributes of a lower layer'},
}


class Tools:
    """The other tools, with storage of their own."""

    def __init__(self, work, dockers=()):
        self.work = work
        self.dockers = dockers
        self.storage = ['--root', work + '/podman', '--runroot',
                        work + '/podman-run', '--storage-driver', 'vfs']

    def run(self, *args, **kwargs):
        done = subprocess.run(args, check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, **kwargs)
        if done.returncode:
            raise RuntimeError('%s: %s' % (' '.join(args), done.stderr))
        return done.stdout.strip()

    def skopeo(self, source, target, *options):
        self.run('skopeo', '--insecure-policy', 'copy', '-q', *options,
                 source, target)

    def podman(self, *args):
        return self.run('podman', *self.storage, *args)


def layout_dir(tools, name, layers):
    """The sample as an OCI layout in a directory, which all tools read."""
    path = os.path.join(tools.work, name + '.layout')
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    archive = path + '.tar'
    with open(archive, 'wb') as out:
        out.write(builders.oci(layers, ref='test', compression='gzip'))
    subprocess.run(['tar', '-C', path, '-xf', archive], check=True)
    os.unlink(archive)
    return path


def formats(tools, name, layers, layout):
    """Yield (format, path of an archive)."""
    base = os.path.join(tools.work, name)
    source = 'oci:%s:test' % layout

    def path(kind):
        full = '%s.%s.tar' % (base, kind)
        if os.path.exists(full):
            os.unlink(full)
        return full

    where = path('skopeo-docker')
    tools.skopeo(source, 'docker-archive:%s:test:latest' % where)
    yield 'skopeo docker-archive', where
    packed = path('gz')
    tools.skopeo(source, 'docker-archive:%s:test:latest' % where)
    with open(where, 'rb') as data, gzip.open(packed, 'wb', 1) as out:
        shutil.copyfileobj(data, out)
    tools.run('zstd', '-qf', where, '-o', path('zst'))
    yield 'the same, gzip', packed
    os.unlink(where)
    yield 'the same, zstd', path_of(base, 'zst')
    where = path('skopeo-oci')
    tools.skopeo(source, 'oci-archive:%s:test' % where)
    yield 'skopeo oci-archive', where
    where = path('skopeo-zstd')
    tools.skopeo(source, 'oci-archive:%s:test' % where,
                 '--dest-compress-format', 'zstd')
    yield 'skopeo oci-archive zstd', where
    if 'docker' not in KNOWN.get(name, {}):
        yield from of_docker(tools, name, layers, path)
    where = path('docker-v1')
    with open(where, 'wb') as out:
        out.write(builders.docker_v1(layers))
    yield 'docker v1 layout', where
    if 'podman' not in KNOWN.get(name, {}):
        image = tools.podman('pull', '-q', source)
        for kind in ('docker-archive', 'oci-archive'):
            where = path('podman-' + kind)
            tools.podman('save', '-q', '--format', kind, '-o', where, image)
            yield 'podman save ' + kind, where
        if name != 'scratch':  # no root filesystem by its looks
            where = path('export')
            made = tools.podman('create', image, '/bin/sh')
            tools.podman('export', '-o', where, made)
            tools.podman('rm', made)
            yield 'podman export', where
        where = path('buildah')
        tools.run('buildah', *tools.storage, 'push', '-q', image,
                  'oci-archive:%s:test' % where)
        yield 'buildah push', where


def of_docker(tools, name, layers, path):
    """Yield (format, path) of what docker makes of the sample."""
    for daemon in tools.dockers:
        where = path('docker')
        with open(where, 'wb') as out:
            out.write(builders.docker(layers, tags=['test:latest']))
        image = daemon.load(where)
        daemon.save(image, where)
        yield 'docker %s save' % daemon.version, where
        if name != 'scratch':
            where = path('docker-export')
            daemon.export(image, where)
            yield 'docker %s export' % daemon.version, where
        daemon.run('rmi', image)


def path_of(base, kind):
    return '%s.%s.tar' % (base, kind)


def read(path):
    """A fetch() for ImageStore.ensure."""
    def fetch():
        with open(path, 'rb') as source:
            yield from iter(lambda: source.read(65536), b'')
    return fetch


def expected(tools, name, layout):
    """Yield (tool, manifest) from the other tools."""
    if 'umoci' not in KNOWN.get(name, {}):
        bundle = os.path.join(tools.work, name + '.bundle')
        shutil.rmtree(bundle, ignore_errors=True)
        tools.run('umoci', 'unpack', '--image', layout + ':test', bundle)
        yield 'umoci', trees.native(bundle + '/rootfs')
        shutil.rmtree(bundle)
    if 'podman' not in KNOWN.get(name, {}):
        image = tools.podman('pull', '-q', 'oci:%s:test' % layout)
        mount = tools.podman('image', 'mount', image)
        yield 'podman', trees.native(mount)
        tools.podman('image', 'unmount', image)


def excused(tool, line, theirs):
    """Whether a difference is the other tool's own way with directories.

    Both leave the time of unpacking on some directories that get names
    without having a member themselves, podman also on those that lose or
    gain one in an upper layer; podman gives a root without a member 0555,
    and drops ACLs.
    """
    path, _colon, rest = line.partition(': ')
    if path not in theirs:
        return False
    if rest.startswith('mtime '):
        return (theirs[path]['type'] == stat.S_IFDIR
                and theirs[path]['mtime'] > STARTED)
    if tool != 'podman':
        return False
    if rest.startswith('xattrs '):  # it drops ACLs
        mine = rest.partition(' != ')[0]
        return 'posix_acl' in mine and rest.endswith(' != None')
    return path == '.' and rest == "mode '0o755' != '0o555'"


def of_tar(tools, path):
    """Manifest of what GNU tar makes of an archive."""
    place = os.path.join(tools.work, 'tar')
    os.mkdir(place)
    try:
        tools.run('tar', '-C', place, '--numeric-owner', '--same-owner', '-p',
                  '--xattrs', '--xattrs-include=*', '-xf', path)
        return trees.native(place)
    finally:
        shutil.rmtree(place)


def compare(tools, name, layers, verbose):
    """Number of differences over all formats and modes."""
    layout = layout_dir(tools, name, layers)
    wanted = list(expected(tools, name, layout))
    bad = 0
    for kind, path in formats(tools, name, layers, layout):
        # Docker's containers have more in them than the image, and podman
        # writes whole seconds.
        against = wanted if not kind.endswith('export') else [
            ('GNU tar', of_tar(tools, path))]
        for mode, owner in (('mapped', (64055, 64055)),
                            ('passthrough', None)):
            root = os.path.join(tools.work, 'store')
            shutil.rmtree(root, ignore_errors=True)
            where = store.ImageStore(root, access_mode=mode, owner=owner)
            try:
                image = where.ensure('sample', read(path))
            except (errors.ImageError, errors.StoreError) as exc:
                print('%-15s %-24s %-11s %s' % (name, kind, mode, exc))
                bad += 1
                continue
            ours = trees.stored(image, mode)
            damage = where.verify()
            results = []
            for tool, theirs in against:
                found = [d for d in trees.difference(ours, theirs)
                         if not excused(tool, d, theirs)]
                results.append('%s: %d of %d differ' % (tool, len(found),
                                                        len(theirs)))
                bad += len(found)
                if found and verbose:
                    print('\n'.join(found[:verbose]))
            bad += len(damage)
            print('%-15s %-24s %-11s %s%s' % (
                name, kind, mode, ', '.join(results),
                ' damage: %s' % damage if damage else ''), flush=True)
        os.unlink(path)
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work', required=True)
    parser.add_argument('--verbose', type=int, default=10)
    parser.add_argument('--rootfs', metavar='TAR', help='the root filesystem '
                        'of a distribution, for a sample of real size')
    parser.add_argument('--docker', metavar='DIR', help='compare what docker '
                        'makes of them, too; it is unpacked in DIR')
    parser.add_argument('names', nargs='*')
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    with contextlib.ExitStack() as stack:
        dockers = [stack.enter_context(docker.Docker(
            os.path.abspath(args.docker), release))
            for release in docker.RELEASES] if args.docker else []
        return run(Tools(os.path.abspath(args.work), dockers), args)


def run(tools, args):
    """Returns an exit status."""
    bad = 0
    for sample in samples.ALL:
        if not args.names or sample.__name__ in args.names:
            bad += compare(tools, sample.__name__, sample(), args.verbose)
    if args.rootfs:
        with open(args.rootfs, 'rb') as source:
            layers = [source.read(), samples.change_of(args.rootfs)]
        bad += compare(tools, 'distribution', layers, args.verbose)
    print('%d differences' % bad)
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
