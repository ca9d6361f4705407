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

"""Images as disks: the same files, whichever mkfs.erofs makes them."""

import contextlib
import io
import os
import random
import signal
import subprocess
import tempfile
import unittest
from unittest import mock

import ddt

from nova_containervm.cli import store as store_cli
from nova_containervm.images import diskserver
from nova_containervm.images import errors
from nova_containervm.images import limits
from nova_containervm.images import mkerofs
from nova_containervm.images import nodes
from nova_containervm.images import tarread
from nova_containervm.images import tarwrite
from tests.images import differential
from tests.images import samples
from tests.unit.images import base
from tests.unit.images import builders
from tests.unit.images.builders import Tar
from tests.unit.images import merged
from tests.unit.images import trees

ROOT = os.geteuid() == 0

#: Samples that an old mkfs.erofs, or any, refuses.
_TOO_MUCH = {'sparse'}
_TOO_MUCH_FOR_OLD = {'odd_names', 'sparse'}


def _layer():
    return (Tar().dir('etc').file('etc/passwd', b'root:x:0:0::/:/bin/sh\n')
            .file('etc/group', b'root:x:0:\n')
            .file('zeros', bytes(1 << 20) + b'end')
            .file('cap', b'x', pax={'SCHILY.xattr.security.capability':
                                    builders.capability()}).end())


class MergeTestCase(base.StoreTestCase):
    """Layers merged in memory, against those unpacked into directories."""

    def test_random_images(self):
        for seed in range(50):
            layers = differential.image(random.Random(seed))
            theirs, _why = differential.ours(layers, self._work(), 'mapped')
            try:
                ours = merged.manifest(layers)
            except errors.ImageError:
                ours = None
            if ours is None or theirs is None:
                self.assertEqual(ours, theirs, seed)
            else:
                self.assertEqual([], trees.difference(ours, theirs), seed)

    def _work(self):
        self.number = getattr(self, 'number', 0) + 1
        path = os.path.join(self.dir, str(self.number))
        os.mkdir(path, 0o755)
        return path

    def test_holes_are_bounded(self):
        data = (Tar().add('f', b'0', builders.padded(b'0\n'), pax=[
            ('GNU.sparse.major', 1), ('GNU.sparse.minor', 0),
            ('GNU.sparse.name', 'f'),
            ('GNU.sparse.realsize', limits.HOLES + 1)]).end())
        with self.assertRaises(errors.Unsupported) as caught:
            merged.manifest([data])
        self.assertIn('containervm_rootfs_transport', str(caught.exception))


@ddt.ddt
class TarTestCase(base.StoreTestCase):
    """What tarwrite writes, as GNU tar reads it."""

    @unittest.skipUnless(ROOT, 'needs root to restore owners')
    @ddt.data(*(s for s in samples.ALL if s.__name__ not in _TOO_MUCH))
    def test_samples(self, sample):
        goal = os.path.join(self.dir, 'goal')
        os.mkdir(goal)
        path = os.path.join(self.dir, 'archive')
        with merged.merged(sample()) as (root, spools):
            with open(path, 'wb') as out:
                tarwrite.write(root, spools, out.fileno())
            wanted = trees.nodes(root, spools)
        subprocess.run(['tar', '-C', goal, '--numeric-owner', '--xattrs',
                        '--xattrs-include=*', '--same-owner', '-p', '-xf',
                        path], check=True)
        self.assertEqual([], trees.difference(wanted, trees.native(goal)))

    def test_numbers_that_have_no_room(self):
        node = merged.node(uid=3 << 30, gid=1 << 22, mtime=-1500000000,
                           size=9 << 30)
        data = tarwrite.header(b'a' * 150, node)
        for record in (b'uid=3221225472', b'gid=4194304',
                       b'size=9663676416', b'mtime=-1.500000000',
                       b'path=' + b'a' * 150):
            self.assertIn(b' ' + record + b'\n', data)

    def test_members_for_the_extractor(self):
        with merged.merged([_layer()]) as (root, spools):
            members = tarwrite.Members(root, spools)
            found = {m.name: b''.join(members.data()) for m in members}
        self.assertEqual(b'root:x:0:\n', found[b'etc/group'])
        self.assertEqual(bytes(1 << 20) + b'end', found[b'zeros'])


@ddt.ddt
@unittest.skipUnless(ROOT, 'needs root to mount what was made')
class DiskTestCase(base.StoreTestCase):

    @ddt.data(*((mkfs, sample) for mkfs in base.MKFS
                for sample in samples.ALL))
    @ddt.unpack
    def test_samples(self, mkfs, sample):
        layers = sample()
        where = self.store('block', mkfs=mkfs)
        refused = (_TOO_MUCH if mkerofs.find(mkfs).reads_tar
                   else _TOO_MUCH_FOR_OLD)
        if sample.__name__ in refused:
            with self.assertRaises(errors.Unsupported):
                self.ensure(builders.docker(layers), where=where)
            self.assertNothingLeft(where)
            return
        image = self.ensure(builders.docker(layers), where=where)
        wanted = merged.manifest(layers)
        for entry in wanted.values() if not trees.LOOPS else ():
            xattrs = entry.get('xattrs', {})
            if xattrs.pop('security.capability', None) and not xattrs:
                del entry['xattrs']
        self.assertEqual([], trees.difference(wanted,
                                              trees.disk(image.disk)))
        self.assertEqual({}, where.verify())
        self.assertEqual([], os.listdir(where.path('tmp')))
        self.assertEqual(['disk.erofs', 'layer.json'], sorted(os.listdir(
            os.path.dirname(image.disk))))
        subprocess.run(['fsck.erofs', image.disk], check=True,
                       capture_output=True)

    @ddt.data(*base.MKFS)
    def test_facts(self, mkfs):
        where = self.store('block', mkfs=mkfs)
        image = self.ensure(builders.docker([_layer()]), where=where)
        self.assertEqual((b'root:x:0:0::/:/bin/sh\n', b'root:x:0:\n'),
                         (image.passwd, image.group))
        self.assertEqual((('cap', builders.capability().hex()),),
                         image.file_caps)
        self.assertEqual((), image.layer_dirs)
        info = os.stat(image.disk)
        self.assertEqual((0o400, 64055, 64056), (
            info.st_mode & 0o777, info.st_uid, info.st_gid))
        # The zeros are a hole.
        self.assertLess(info.st_blocks * 512, 1 << 20)
        self.assertGreater(info.st_size, 1 << 20)

    @ddt.data(*base.MKFS)
    def test_compression(self, mkfs):
        data = builders.docker([Tar().file('f', b'text ' * 100000).end()])
        sizes = {}
        for kind in mkerofs.COMPRESSIONS:
            where = self.store('block', 'store-' + kind, mkfs=mkfs)
            where._compression = kind
            image = self.ensure(data, where=where)
            sizes[kind] = os.stat(image.disk).st_size
            self.assertIn('f', trees.disk(image.disk))
        self.assertLess(sizes['lz4'], sizes['none'] / 10)

    @ddt.data(*base.MKFS)
    def test_hosts_make_the_same(self, mkfs):
        """A guest that moves meanwhile finds everything in its place."""
        sums = []
        for host, compression in enumerate(('none', 'none', 'lz4')):
            where = self.store('block', 'host%d' % host, mkfs=mkfs)
            where._compression = compression
            self.ensure(builders.docker(samples.whiteouts()), where=where)
            sums.append(where.lookup('image').disk_sum)
        self.assertEqual(sums[0], sums[1])
        self.assertNotEqual(sums[0], sums[2])


@ddt.ddt
class DiskStoreTestCase(base.StoreTestCase):

    @unittest.skipUnless(ROOT or mkerofs.find(base.MKFS[-1]).reads_tar,
                         'an old mkfs.erofs needs root')
    def setUp(self):
        super().setUp()
        self.where = self.store('block')
        self.data = builders.docker([_layer()])

    def test_the_command_knows_it(self):
        self.ensure(self.data, where=self.where)
        for words, status in ((['list'], 0), (['verify', '--repair'], 0),
                              (['verify'], 0)):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                self.assertEqual(status, store_cli.main(
                    ['--root', self.where.root, *words]), out.getvalue())
        self.assertIsNotNone(self.where.lookup('image'))

    def test_the_same_layers_are_one_disk(self):
        made = []
        for name, data in (('one', self.data), ('two', self.data),
                           ('three', builders.oci([_layer()]))):
            made.append(self.where.ensure(name, builders.chunks(data)))
        self.assertEqual({made[0].disk}, {i.disk for i in made})
        self.assertEqual([made[0].passwd] * 3, [i.passwd for i in made])
        self.assertEqual(['one', 'two'], sorted(
            self.where.prune({'three'}, 0)))
        self.assertTrue(os.path.exists(made[0].disk))
        self.where.prune(set(), 0)
        self.assertNothingLeft(self.where)

    def test_another_base_is_another_disk(self):
        other = Tar().file('other').end()
        disks = {self.where.ensure(str(i), builders.chunks(
            builders.docker(layers))).disk for i, layers in enumerate((
                [_layer()], [other, _layer()], [_layer(), other]))}
        self.assertEqual(3, len(disks))

    def test_no_layers(self):
        with self.assertRaises(errors.NotAnImage):
            self.ensure(builders.docker([]), where=self.where)
        self.assertNothingLeft(self.where)

    def test_layer_twice(self):
        image = self.ensure(builders.docker([_layer(), _layer()]),
                            where=self.where)
        self.assertEqual(2, len(image.chain_ids))

    @ddt.data('contents', 'truncated', 'replaced', 'gone', 'record')
    def test_damage(self, kind):
        image = self.ensure(self.data, where=self.where)
        info = os.stat(image.disk)
        os.chmod(image.disk, 0o600)
        if kind == 'contents':  # the kind that only verify() finds
            with open(image.disk, 'r+b') as disk:
                disk.seek(2000)
                disk.write(b'x')
            os.utime(image.disk, ns=(info.st_atime_ns, info.st_mtime_ns))
            self.assertIsNotNone(self.where.lookup('image'))
        elif kind == 'truncated':
            os.truncate(image.disk, 1000)
        elif kind == 'replaced':
            os.rename(image.disk, image.disk + '.old')
            with open(image.disk, 'wb') as disk:
                disk.truncate(info.st_size)
        elif kind == 'gone':
            os.unlink(image.disk)
        else:
            os.unlink(os.path.join(os.path.dirname(image.disk),
                                   'layer.json'))
        self.assertTrue(self.where.verify(repair=True))
        self.assertIsNone(self.where.lookup('image'))
        self.ensure(self.data, where=self.where)
        self.assertEqual({}, self.where.verify())

    def test_libvirt_may_change_the_owner(self):
        image = self.ensure(self.data, where=self.where)
        if ROOT:
            os.chown(image.disk, 1, 1)
        self.assertEqual({}, self.where.verify())

    def test_failing_mkfs(self):
        path = os.path.join(self.dir, 'mkfs')
        with open(path, 'w') as script:
            script.write('#!/bin/sh\n[ "$1" != -V ] || exec echo 1.8.6\n'
                         'echo "no luck today" >&2\nexit 3\n')
        os.chmod(path, 0o755)
        where = self.store('block', 'other', mkfs=path)
        with self.assertRaises(errors.StoreError) as caught:
            self.ensure(self.data, where=where)
        self.assertIn('failed (3): no luck today', str(caught.exception))
        self.assertNothingLeft(where)

    # Contents once more, and the disk; a link to them takes nothing.
    @ddt.data((True, 'none', 3 * 4096), (False, 'none', 9999 + 3 * 4096),
              (False, 'lz4', 9999))
    @ddt.unpack
    def test_room(self, filled, compression, needed):
        root = nodes.directory()
        file = root.children[b'file'] = nodes.Node(tarread.REG, 0o644, 0, 0, 0)
        file.size = 9999
        root.children[b'link'] = file
        root.children[b'empty'] = nodes.Node(tarread.REG, 0o644, 0, 0, 0)
        with mock.patch('os.fstatvfs') as statvfs:
            statvfs.return_value.f_frsize = 1
            statvfs.return_value.f_bavail = needed
            diskserver._check_room(
                diskserver._files(root), compression, 0, filled)
            statvfs.return_value.f_bavail = needed - 1
            with self.assertRaisesRegex(errors.NoSpace, '0 MiB .* takes 1'):
                diskserver._check_room(
                    diskserver._files(root), compression, 0, filled)

    def test_mkfs_that_fails_and_stays(self):
        """As 1.8.6 does when the disk is full."""
        path = os.path.join(self.dir, 'mkfs')
        with open(path, 'w') as script:
            script.write('#!/bin/sh\n[ "$1" != -V ] || exec echo 1.8.6\n'
                         'echo "<E> erofs_io: failed to write: No space left '
                         'on device" >&2\nexec sleep 1000\n')
        os.chmod(path, 0o755)
        where = self.store('block', 'other', mkfs=path)
        with self.assertRaises(errors.NoSpace):
            self.ensure(self.data, where=where)
        self.assertNothingLeft(where)

    def test_no_mkfs(self):
        where = self.store('block', 'other', mkfs='/nonexistent')
        with self.assertRaises(errors.StoreError) as caught:
            self.ensure(self.data, where=where)
        self.assertIn('not installed', str(caught.exception))
        self.assertNothingLeft(where)


@ddt.ddt
class ToolTestCase(base.StoreTestCase):

    def _tool(self, text):
        path = os.path.join(self.dir, 'mkfs')
        with open(path, 'w') as script:
            script.write('#!/bin/sh\n' + text)
        os.chmod(path, 0o755)
        return path

    @ddt.data(('mkfs.erofs 1.5', False), ('mkfs.erofs 1.7.1', False),
              ('mkfs.erofs (erofs-utils) 1.8.1', True),
              ('mkfs.erofs (erofs-utils) 1.9.2-g12ab', True))
    @ddt.unpack
    def test_version(self, text, reads_tar):
        tool = mkerofs.find(self._tool('echo "%s"' % text))
        self.assertEqual(reads_tar, tool.reads_tar)

    # A silent one may take its time, and one that ends may say what it likes.
    @ddt.data(('sleep 0.3; exit 4', 4), ('echo no; exit 3', 3),
              ('echo no; exec sleep 1000', -signal.SIGKILL))
    @ddt.unpack
    def test_watch(self, script, status):
        with tempfile.TemporaryFile() as log, \
                mock.patch.multiple(mkerofs, _LOOK_EACH=10, _GRACE=100), \
                subprocess.Popen(['sh', '-c', script], stdout=log) as process:
            mkerofs.watch(process.pid, log.fileno())
            self.assertEqual(status, process.wait(60))

    @ddt.data(('exit 1', 'does not tell'), ('echo mkfs.erofs 1.2', 'too old'))
    @ddt.unpack
    def test_unusable(self, text, words):
        with self.assertRaises(errors.StoreError) as caught:
            mkerofs.find(self._tool(text))
        self.assertIn(words, str(caught.exception))

    @ddt.data(*base.MKFS)
    def test_probe(self, mkfs):
        for number, kind in enumerate(mkerofs.COMPRESSIONS):
            work = os.path.join(self.dir, str(number))
            os.mkdir(work)
            mkerofs.probe(mkerofs.find(mkfs), kind, work)

    def test_probe_finds_out(self):
        tool = mkerofs.Tool(self._tool(
            'case $* in *lz4*) echo no lz4 here >&2; exit 1;; esac\n'),
            (1, 8, 6))
        with self.assertRaises(errors.StoreError) as caught:
            mkerofs.probe(tool, 'lz4', self.dir)
        self.assertIn('no lz4 here', str(caught.exception))
