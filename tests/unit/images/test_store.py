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

"""The image store: every format in, one image out, nothing left over."""

import errno
import gzip
import itertools
import json
import multiprocessing
import os
import time
from unittest import mock

import ddt

from nova_containervm.images import errors
from nova_containervm.images import layout
from tests.unit.images import base
from tests.unit.images import builders
from tests.unit.images.builders import Tar
from tests.unit.images import trees


_RENAME = os.rename


def _layers():
    first = (Tar().dir('etc').file('etc/passwd', b'root:x:0:0::/:/bin/sh\n')
             .file('etc/group', b'root:x:0:\n').dir('d')
             .file('d/gone', b'1').file('d/kept', b'2', mode=0o4711)
             .file('cap', b'x', pax={'SCHILY.xattr.security.capability':
                                     builders.capability()}).end())
    second = (Tar().file('d/.wh.gone').link('d/hard', 'd/kept')
              .file('new/f', b'3').end())
    return [first, second, builders.Tar().end()]


def _rootfs():
    return (Tar().file('.dockerenv').dir('bin').dir('dev').dir('etc')
            .file('etc/passwd', b'root:x:0:0::/:/bin/sh\n').end())


def _multi():
    made = builders.Layout()
    arm = made.image([Tar().file('arm').end()], architecture='arm64',
                     index=False, platform={'architecture': 'arm64',
                                            'os': 'linux'})
    amd = made.image(_layers(), index=False,
                     platform={'architecture': 'amd64', 'os': 'linux'})
    note = made.image([Tar().file('x').end()], index=False, platform={
        'architecture': 'unknown', 'os': 'unknown'}, architecture='unknown')
    note['annotations'] = {'vnd.docker.reference.type':
                           'attestation-manifest'}
    made.index([arm, amd, note])
    return made.end()


def _both():
    """Docker 25 and later: OCI layout and manifest.json."""
    made = builders.Layout()
    made.image(_layers(), compression=None)
    conf = builders.config(_layers())
    archive = Tar().raw(made.end()[:-1024])
    archive.file('manifest.json', json.dumps([{
        'Config': 'blobs/sha256/' + builders.sha(conf)[7:],
        'RepoTags': ['web:1'], 'Layers': [
            'blobs/sha256/' + builders.sha(x)[7:] for x in _layers()]}])
        .encode())
    return archive.end()


FORMATS = {
    'docker': lambda: builders.docker(_layers()),
    'docker, gzip layers': lambda: builders.docker(
        _layers(), compression='gzip'),
    'docker v1 layout': lambda: builders.docker_v1(_layers()),
    'docker 25': _both,
    'OCI': lambda: builders.oci(_layers()),
    'OCI, plain layers': lambda: builders.oci(_layers(), compression=None),
    'OCI, zstd layers': lambda: builders.oci(_layers(), compression='zstd'),
    'OCI, several architectures': _multi,
    'whole file gzip': lambda: gzip.compress(builders.docker(_layers()), 1),
    'whole file zstd': lambda: builders.zstd(builders.oci(_layers())),
    'gzip in two members': lambda: b''.join(
        gzip.compress(x) for x in (builders.docker(_layers())[:5000],
                                   builders.docker(_layers())[5000:])),
}


def _create(store, path, number, results):
    def fetch():
        with open(path + '.fetched', 'ab') as out:
            out.write(b'x')
        with open(path, 'rb') as source:
            for chunk in iter(lambda: source.read(4096), b''):
                time.sleep(0.002)
                yield chunk
    try:
        image = store.ensure('image%d' % number, fetch)
        results.put(len(image.chain_ids))
    except BaseException as exc:
        results.put(repr(exc))


@ddt.ddt
class FormatTestCase(base.StoreTestCase):

    @ddt.data(*FORMATS)
    def test_format(self, name):
        data = FORMATS[name]()
        for mode in base.MODES:
            where = self.store(mode, name='store-' + mode)
            image = self.ensure(data, where=where)
            self.assertEqual('amd64', image.architecture)
            self.assertEqual(['/bin/sh'], image.config['config']['Cmd'])
            self.assertEqual(b'root:x:0:0::/:/bin/sh\n', image.passwd)
            self.assertEqual(b'root:x:0:\n', image.group)
            self.assertEqual((('cap', builders.capability().hex()),),
                             image.file_caps)
            self.assertEqual(3, len(image.chain_ids))
            self.assertEqual(2, len(image.layer_dirs))
            found = trees.stored(image, mode)
            self.assertEqual({'.', 'etc', 'etc/passwd', 'etc/group', 'd',
                              'd/kept', 'd/hard', 'cap', 'new', 'new/f'},
                             set(found))
            self.assertEqual(['d/hard', 'd/kept'], found['d/kept']['same'])
            self.assertEqual('0o4711', found['d/hard']['mode'])
            self.assertEqual({}, where.verify())
            self.assertEqual([], os.listdir(where.path('tmp')))
            self.assertEqual([], os.listdir(where.path('locks')))

    def test_rootfs(self):
        for data in (_rootfs(), gzip.compress(_rootfs())):
            where = self.store(name='store%d' % len(data))
            image = self.ensure(data, where=where)
            self.assertEqual('rootfs', image.format)
            self.assertEqual({}, image.config['config'])
            self.assertEqual(b'root:x:0:0::/:/bin/sh\n', image.passwd)

    @ddt.data(
        (b'', 'NotAnImage', 'empty'),
        (b'QFI\xfb' + bytes(5000), 'IsDisk', 'transport block'),
        (bytes(2000), 'NotAnImage', 'docker save'),
        (Tar().file('README', b'hello').dir('src').end(), 'NotAnImage',
         'manifest.json'),
        (Tar().file('a' * 64 + '.tar', b'').end(), 'NotAnImage',
         'manifest.json'),
        (builders.docker([_rootfs()], architecture='arm64'),
         'WrongArchitecture', 'linux/arm64'),
        (builders.docker([_rootfs()], os='windows'), 'WrongArchitecture',
         'windows/amd64'),
        (builders.docker([_rootfs()])[:3000], 'Truncated', 'cut off'),
        (gzip.compress(builders.docker([_rootfs()]))[:-300], 'Truncated',
         'early'),
        (_rootfs()[:-1024], 'Truncated', 'end mark'),
        (b'\xfd7zXZ\x00' + bytes(600), 'Unsupported', 'xz'),
    )
    @ddt.unpack
    def test_bad_file(self, data, error, words):
        where = self.store()
        with self.assertRaises(errors.ImageError) as caught:
            self.ensure(data, where=where)
        self.assertEqual(error, type(caught.exception).__name__,
                         str(caught.exception))
        self.assertIn(words, str(caught.exception))
        self.assertNothingLeft(where)

    def test_every_truncation_is_noticed(self):
        data = builders.docker([_rootfs()])
        where = self.store()
        for size in range(0, len(data) - 1024, 700):
            with self.assertRaises(errors.ImageError):
                self.ensure(data[:size], where=where)
        self.assertNothingLeft(where)

    def test_several_images(self):
        made = builders.Layout()
        made.image([_rootfs()], ref='docker.io/library/web:1')
        made.image(_layers(), ref='docker.io/library/db:2')
        where = self.store()
        with self.assertRaises(errors.Ambiguous) as caught:
            self.ensure(made.end(), where=where)
        self.assertIn('db:2', str(caught.exception))
        with self.assertRaises(errors.RefNotFound):
            self.ensure(made.end(), ref='cache', where=where)
        for ref, count in (('web:1', 1), ('db', 0), ('2', 3),
                           ('docker.io/library/db:2', 3)):
            if count:
                image = self.ensure(made.end(), ref=ref, where=where)
                self.assertEqual(count, len(image.chain_ids), ref)
        self.assertEqual([], os.listdir(where.path('tmp')))


class StoreTestCase(base.StoreTestCase):

    def test_layers_are_shared(self):
        where = self.store()
        one = where.ensure('one', builders.chunks(
            builders.docker(_layers()[:1])))
        before = os.stat(one.layer_dirs[0]).st_ino
        two = where.ensure('two', builders.chunks(builders.oci(_layers())))
        self.assertEqual(one.layer_dirs[0], two.layer_dirs[0])
        self.assertEqual(before, os.stat(two.layer_dirs[0]).st_ino)
        self.assertEqual(3, len(where.layers()))
        self.assertEqual(['one'], where.prune({'two'}, 0))
        self.assertEqual(3, len(where.layers()))
        self.assertEqual(two, where.lookup('two'))
        self.assertEqual([], where.prune(set(), 1000))
        self.assertEqual(['two'], where.prune(set(), 0))
        self.assertNothingLeft(where)

    def test_fetch_fails(self):
        where = self.store()

        def fetch():
            yield builders.docker(_layers())
            raise KeyError('signature')
        with self.assertRaises(KeyError):
            where.ensure('image', fetch)
        self.assertNothingLeft(where)

    def test_one_fetch_for_many(self):
        where = self.store()
        path = os.path.join(self.dir, 'archive')
        with open(path, 'wb') as out:
            out.write(builders.docker(_layers()))
        results = multiprocessing.Queue()
        jobs = [multiprocessing.Process(
            target=_create, args=(where, path, number % 2, results))
            for number in range(8)]
        for job in jobs:
            job.start()
        self.assertEqual([3] * 8, [results.get(timeout=60) for _ in jobs])
        for job in jobs:
            job.join()
        self.assertEqual(2, os.path.getsize(path + '.fetched'))
        self.assertEqual({}, where.verify())
        self.assertEqual([], os.listdir(where.path('tmp')))
        self.assertEqual([], os.listdir(where.path('locks')))

    def test_damage_is_found_and_repaired(self):
        where = self.store()
        data = builders.docker(_layers())
        image = self.ensure(data, where=where)
        tree = image.layer_dirs[0]
        path = os.path.join(tree, 'etc/passwd')
        st = os.stat(path)

        def tamper(action):
            where.verify(repair=True)
            image = self.ensure(data, where=where)
            self.assertEqual({}, where.verify())
            action(image)
            self.assertTrue(where.verify(repair=True))
            self.assertIsNone(where.lookup('image'))
        with open(path, 'r+b') as out:  # same size, same time
            out.write(b'toor')
        os.utime(path, ns=(st.st_mtime_ns, st.st_mtime_ns))
        self.assertIn('/etc/passwd has other contents',
                      str(where.verify()))
        tamper(lambda i: os.unlink(os.path.join(tree, 'd/kept')))
        tamper(lambda i: os.utime(path))
        tamper(lambda i: os.mkdir(os.path.join(tree, 'etc/new')))
        tamper(lambda i: os.rename(path, path + '2'))
        tamper(lambda i: os.setxattr(path, 'user.virtfs.uid', b'1111'))
        tamper(lambda i: os.setxattr(path, 'user.other', b''))
        tamper(lambda i: os.truncate(path, 0))
        self.ensure(data, where=where)
        self.assertEqual({}, where.verify())

    def test_visible_damage_is_repaired_by_the_next_use(self):
        where = self.store()
        data = builders.docker(_layers())
        image = self.ensure(data, where=where)
        layer = os.path.dirname(image.layer_dirs[0])
        record = where.path('images', 'image.json')
        for damage in (
                lambda: os.unlink(os.path.join(layer, 'layer.json')),
                lambda: os.rename(layer, layer + '.away'),
                lambda: os.rename(image.layer_dirs[0], layer + '/x'),
                lambda: os.truncate(record, 20),
                lambda: os.unlink(record),
                lambda: os.rename(image.layer_dirs[0] + '/etc',
                                  image.layer_dirs[0] + '/etc2')):
            damage()
            self.assertIsNone(where.lookup('image'))
            again = self.ensure(data, where=where)
            self.assertIn('etc/passwd', trees.stored(again, 'mapped'))
            self.assertEqual([], os.listdir(where.path('tmp')))
        self.assertEqual({}, where.verify())

    def test_rubbish_in_tmp_is_in_nobodys_way(self):
        where = self.store()
        where.prepare()
        os.makedirs(where.path('tmp', 'a b/c/d'))
        self.ensure(builders.docker(_layers()), where=where)

    def test_leftovers_of_a_crash_are_swept(self):
        where = self.store()
        where.prepare()
        tree = where.path('tmp', '5f000000-aaaaaaaaaaaa', 'b0', 'tree')
        os.makedirs(os.path.join(tree, 'a/b'))
        with open(os.path.join(tree, 'a/b/c'), 'wb'):
            pass
        if os.geteuid() == 0:
            for path, dirs, files in os.walk(tree):
                for name in ['.', *dirs, *files]:
                    os.chown(os.path.join(path, name), 64055, 64056)
        where.sweep()
        self.assertNothingLeft(where)

    def test_killed_while_the_record_is_written(self):
        where = self.store()
        pid = os.fork()
        if pid == 0:
            # Just before the record gets its name.
            with mock.patch('os.rename', side_effect=lambda a, b, **_more: (
                    os._exit(7) if b.endswith('.json') and '/images/' in b
                    else _RENAME(a, b))):
                self.ensure(builders.docker(_layers()), where=where)
            os._exit(0)
        self.assertEqual(7, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        self.ensure(builders.docker(_layers()), where=where)
        self.assertEqual(['image.json'], os.listdir(where.path('images')))
        self.assertEqual([], os.listdir(where.path('tmp')))

    def test_record_of_another_mode_does_not_count(self):
        self.ensure(builders.docker(_layers()))
        other = self.store('passthrough')
        self.assertIsNone(other.lookup('image'))

    def test_impossible_image_id(self):
        with self.assertRaises(errors.StoreError):
            self.store().ensure('../x', list)


@ddt.ddt
class FullDiskTestCase(base.StoreTestCase):
    """There is no room left, from some call on, in both processes."""

    @ddt.data('mkdir', 'open', 'write', 'setxattr', 'link', 'mknod', 'rename')
    def test_from_some_call_on(self, name):
        where = self.store()
        data = builders.docker(_layers())
        real = getattr(os, name)
        for after in (0, 1, 2, 4, 7, 12, 20, 33, 55, 90, 150, 250):
            calls = itertools.count()

            def full(*args, after=after, calls=calls, **kwargs):
                creates = name != 'open' or args[1] & os.O_CREAT
                if creates and next(calls) >= after:
                    raise OSError(errno.ENOSPC, 'No space left on device')
                return real(*args, **kwargs)
            with mock.patch.object(os, name, full):
                try:
                    self.ensure(data, where=where)
                    break
                except errors.NoSpace as exc:
                    self.assertIn('no space left', str(exc))
            where.prepare()
            where.sweep()
            self.assertEqual([], os.listdir(where.path('tmp')))
            self.assertEqual([], os.listdir(where.path('images')))
            self.assertEqual({}, where.verify())
            where.prune(set(), 0)
            self.assertNothingLeft(where)
        else:
            self.fail('there was never room enough')
        self.assertGreater(after, 0)
        self.assertEqual({}, where.verify())

    def test_leftovers_are_swept_without_room(self):
        where = self.store()
        where.prepare()
        tree = where.path('tmp', '5f000000-aaaaaaaaaaaa', 'b0', 'tree')
        os.makedirs(tree)
        with mock.patch('os.mkdir', side_effect=OSError(errno.ENOSPC, '')):
            where.sweep()
        self.assertNothingLeft(where)

    def test_large_attribute(self):
        data = builders.docker([Tar().file('f', pax={
            'SCHILY.xattr.user.a': b'x' * 2000}).end()])
        with mock.patch('os.setxattr',
                        side_effect=OSError(errno.ENOSPC, '')), \
                mock.patch('os.fstatvfs', return_value=mock.Mock(f_bavail=0)):
            with self.assertRaises(errors.NoSpace):
                self.ensure(data)


class ChainTestCase(base.StoreTestCase):

    def test_chain_ids(self):
        # The example of the OCI image-spec's definition, by hand.
        a, b = 'sha256:' + 'a' * 64, 'sha256:' + 'b' * 64
        self.assertEqual(
            [a, builders.sha(('%s %s' % (a, b)).encode())],
            layout.chain_ids([a, b]))
