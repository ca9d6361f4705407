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

"""Disks of images, as the kernel and the filesystems' own tools see them."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest
from unittest import mock

import ddt

from nova_containervm.cli import image as cli
from nova_containervm.convert import disk
from nova_containervm.convert import errors
from nova_containervm.convert import ext4
from nova_containervm.convert import filesystems
from nova_containervm.convert import progress
from nova_containervm.images import diskfile
from nova_containervm.images import errors as image_errors
from nova_containervm.images import mkerofs
from nova_containervm.images import tarread
from tests.images import samples
from tests.unit.images import base
from tests.unit.images import builders
from tests.unit.images import merged
from tests.unit.images import trees
from tests.unit.images.builders import Tar

MKFS = base.MKFS[-1]
MOUNTS = os.geteuid() == 0 and trees.LOOPS
#: What each refuses, of the samples.
REFUSED = {'ext4': {'odd_names', 'sparse'}, 'erofs': {'sparse'},
           'squashfs': {'sparse', 'xattrs'}}
#: Seconds, 32 bits of them.
LOST = {'ext4': (), 'erofs': (), 'squashfs': ('mtime',)}
CHECKS = {'ext4': ('e2fsck', '-fn'), 'erofs': ('fsck.erofs',),
          'squashfs': ('unsquashfs', '-s')}
CONFIG = {'Cmd': ['/bin/run'], 'Env': ['A=b']}


def _layer():
    return (Tar().dir('bin').file('bin/run', b'#!/bin/sh\n', mode=0o755)
            .file('etc/passwd', b'app:x:7:8::/:/bin/sh\n')
            .file('etc/group', b'app:x:8:\n').end())


def _missing(kind):
    tools = {'ext4': ('mke2fs', 'debugfs'), 'erofs': (MKFS,),
             'squashfs': ('tar2sqfs', 'unsquashfs')}[kind]
    return [name for name in tools if shutil.which(
        name, path=os.environ['PATH'] + ':/usr/sbin:/sbin') is None]


class ConvertTestCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.dir = tempfile.mkdtemp(prefix='cvm')
        self.addCleanup(shutil.rmtree, self.dir)
        patch = mock.patch.object(tempfile, 'tempdir', self.dir)
        patch.start()
        self.addCleanup(patch.stop)

    def convert(self, data, kind='erofs', name='out.raw', **options):
        self.path = os.path.join(self.dir, name)
        options = {'architecture': 'amd64', 'mkfs': MKFS} | options
        self.made = disk.convert(
            [data], self.path, disk.Options(
                format=kind, output_format=disk.output_format(name),
                **options), lambda step: lambda share: None)
        self.assertEqual([name], sorted(os.listdir(self.dir)))
        return self.path

    def described(self):
        with open(self.path, 'rb') as source:
            return diskfile.read(source.fileno())


@ddt.ddt
class FilesystemTestCase(ConvertTestCase):

    @unittest.skipUnless(MOUNTS, 'needs root and loop devices to mount it')
    @ddt.data(*((kind, sample) for kind in filesystems.FORMATS
                for sample in samples.ALL))
    @ddt.unpack
    def test_samples(self, kind, sample):
        self.assertEqual([], _missing(kind))
        layers = sample()
        data = builders.docker(layers)
        if sample.__name__ in REFUSED[kind]:
            with self.assertRaises(image_errors.Unsupported):
                self.convert(data, kind)
            self.assertEqual([], os.listdir(self.dir))
            return
        path = self.convert(data, kind)
        wanted = merged.manifest(layers)
        found = trees.disk(path)
        found.pop('lost+found', None)
        self.assertEqual([], trees.difference(wanted, found, LOST[kind]))
        subprocess.run([*CHECKS[kind], path], check=True,
                       capture_output=True)

    @ddt.data(*filesystems.FORMATS)
    def test_description(self, kind):
        if kind == 'erofs' and os.geteuid():
            self.assertTrue(mkerofs.find(MKFS).reads_tar, MKFS)
        self.convert(builders.docker([_layer()], config=dict(CONFIG)), kind)
        found = self.described()
        self.assertEqual((kind, 'amd64', CONFIG), (
            found.filesystem, found.architecture, found.config['config']))
        self.assertEqual((b'app:x:7:8::/:/bin/sh\n', b'app:x:8:\n'),
                         (found.passwd, found.group))
        self.assertEqual(self.made.filesystem, found.size)
        self.assertEqual(self.made.virtual, os.stat(self.path).st_size)

    # mkfs.erofs notes when it was made.
    @ddt.data('ext4', 'squashfs')
    def test_the_same_each_time(self, kind):
        data = builders.docker([_layer()])
        first = self.described_bytes(data, kind)
        # In another second, so that whatever notes the time is seen.
        begin = int(time.time())
        while int(time.time()) == begin:
            time.sleep(0.05)
        self.assertEqual(first, self.described_bytes(data, kind))

    def described_bytes(self, data, kind):
        with open(self.convert(data, kind), 'rb') as source:
            return source.read()

    @ddt.data(False, True)
    def test_qcow2(self, compress):
        self.convert(builders.docker([_layer()]), name='out.qcow2',
                     compress=compress)
        subprocess.run(['qemu-img', 'check', '-q', self.path], check=True)
        info = json.loads(subprocess.run(
            ['qemu-img', 'info', '--output=json', self.path], check=True,
            capture_output=True).stdout)
        self.assertEqual(('qcow2', self.made.virtual, None), (
            info['format'], info['virtual-size'],
            info.get('backing-filename')))
        raw = os.path.join(self.dir, 'raw')
        subprocess.run(['qemu-img', 'convert', '-O', 'raw', self.path, raw],
                       check=True)
        self.path = raw
        self.assertEqual('erofs', self.described().filesystem)

    def test_names_that_debugfs_would_take_for_something_else(self):
        tar = Tar().dir('bin').dir('etc')
        names = ('<2>', '<8>', '"', '"; rm -rf x', ' ', '-f', '~', '#x',
                 'a" "b', '\\', '$HOME', '!ls')
        for name in names:
            tar.file('bin/' + name, name.encode(), mode=0o640, uid=9)
            tar.link('etc/' + name, 'bin/' + name)
        self.convert(builders.docker([tar.end()]), 'ext4')
        subprocess.run(['e2fsck', '-fn', self.path], check=True,
                       capture_output=True)
        if MOUNTS:
            found = trees.disk(self.path)
            self.assertEqual({'etc/' + n for n in names} | {
                'bin/' + n for n in names} | {'.', 'bin', 'etc',
                                             'lost+found'}, set(found))

    def test_hard_links_of_ext4_are_counted(self):
        node = merged.node()
        writer = ext4._Writer(None, self.dir)
        writer._names[id(node)] = 2
        self.assertIn(b'sif "./c" links_count 3\n', list(
            writer._entry(b'a/c', b'c', node, b'a/b')))

    def test_old_mkfs_without_root(self):
        with mock.patch.object(os, 'geteuid', return_value=1000), \
                mock.patch.object(
                    mkerofs, 'find', return_value=mkerofs.Tool(
                        '/sbin/mkfs.erofs', (1, 5))):
            with self.assertRaises(errors.ConvertError) as caught:
                self.convert(builders.docker([_layer()]))
        self.assertIn('it takes root', str(caught.exception))
        self.assertEqual([], os.listdir(self.dir))

    def _guestfish(self, script):
        path = os.path.join(self.dir, 'guestfish')
        with open(path, 'w') as out:
            out.write('#!/bin/sh\n' + script)
        os.chmod(path, 0o755)
        patch = mock.patch('nova_containervm.convert.tools.require',
                           return_value=path)
        patch.start()
        self.addCleanup(patch.stop)
        return path

    def test_guestfs_has_the_whole_image(self):
        log = os.path.join(self.dir, 'log')
        path = self._guestfish(
            'printf "%%s\\n" "$LIBGUESTFS_BACKEND" "$@" >%s\n'
            'while [ "$1" != tar-in ]; do shift; done\n'
            'cp "$2" %s.tar\nexit 3\n' % (log, log))
        with self.assertRaises(errors.ConvertError) as caught:
            self.convert(builders.docker([_layer()]), 'ext4',
                         method='guestfs')
        self.assertIn('guestfish failed (3)', str(caught.exception))
        with open(log) as said:
            words = said.read().split('\n')
        self.assertEqual('direct', words[0])
        self.assertIn('xattrs:true', words)
        self.assertEqual(
            ['./', './bin', './bin/run', './etc', './etc/group',
             './etc/passwd'], sorted(subprocess.run(
                 ['tar', '-tf', log + '.tar'], check=True, text=True,
                 capture_output=True).stdout.split()))
        for name in (path, log, log + '.tar'):
            os.unlink(name)
        self.assertEqual([], os.listdir(self.dir))

    @ddt.data('erofs', 'squashfs')
    def test_guestfs_makes_ext4_only(self, kind):
        with self.assertRaises(errors.ConvertError) as caught:
            self.convert(builders.docker([_layer()]), kind, method='guestfs')
        self.assertIn('--format ext4', str(caught.exception))

    def test_no_room(self):
        with mock.patch('shutil.disk_usage',
                        return_value=mock.Mock(free=1)):
            with self.assertRaises(image_errors.NoSpace) as caught:
                self.convert(builders.docker([_layer()]))
        self.assertIn('TMPDIR', str(caught.exception))

    def test_tool_that_fails(self):
        with mock.patch('nova_containervm.convert.tools.require',
                        return_value='/bin/false'):
            with self.assertRaises(errors.ConvertError) as caught:
                self.convert(builders.docker([_layer()]), 'ext4')
        self.assertIn('failed (1)', str(caught.exception))
        self.assertEqual([], os.listdir(self.dir))

    def test_long_attribute(self):
        tar = Tar().file('f', b'', pax={'SCHILY.xattr.user.x': 'y' * 4000})
        with self.assertRaises(image_errors.Unsupported):
            self.convert(builders.docker([tar.end()]), 'ext4')

    def test_kinds_of_files_have_types(self):
        self.assertEqual({tarread.REG, tarread.DIR, tarread.SYMLINK,
                          tarread.CHR, tarread.BLK, tarread.FIFO},
                         set(ext4._TYPES))


class CommandBase(ConvertTestCase):

    def setUp(self):
        super().setUp()
        self.input = os.path.join(self.dir, 'in.tar')
        with open(self.input, 'wb') as out:
            out.write(builders.docker([_layer()], config=dict(CONFIG)))

    def run_command(self, *words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(err):
            status = cli.main(['convert', '--arch', 'amd64', '--mkfs', MKFS,
                               *words])
        return status, out.getvalue(), err.getvalue()


@ddt.ddt
class CommandTestCase(CommandBase):

    def test_sizes(self):
        goal = os.path.join(self.dir, 'out.qcow2')
        status, out, err = self.run_command(self.input, goal)
        self.assertEqual((0, ''), (status, err))
        self.assertIn('erofs', out)
        self.assertIn(goal, out)
        status, out, _err = self.run_command(
            self.input, goal, '--format', 'ext4', '--json',
            '--output-format', 'raw')
        found = json.loads(out)
        self.assertEqual(
            ('ext4', 'raw', os.stat(goal).st_size, os.stat(goal).st_size),
            (found['format'], found['output_format'], found['size'],
             found['virtual_size']))

    @ddt.data(
        (('{in}', '{dir}/out'), 'the name does not say the format'),
        (('{in}', '{dir}/o.raw', '--compress'), 'for qcow2 only'),
        (('{dir}/none.tar', '{dir}/o.raw'), 'No such file'),
        (('{in}', '{dir}/no/o.qcow2'), 'No such file'),
        (('{in}', '{dir}/o.raw', '--arch', 'riscv64'), 'riscv64'),
        (('/bin/sh', '{dir}/o.raw'), 'docker save'))
    @ddt.unpack
    def test_fails(self, words, message):
        status, out, err = self.run_command(*(w.replace(
            '{in}', self.input).replace('{dir}', self.dir) for w in words))
        self.assertEqual((1, ''), (status, out))
        self.assertIn(message, err)
        self.assertEqual(['in.tar'], os.listdir(self.dir))


class ProgressTestCase(unittest.TestCase):

    @mock.patch.object(progress, '_PERIOD', 0)
    def test_terminal(self):
        stream = io.StringIO()
        stream.isatty = lambda: True
        bar = progress.Progress(stream)
        self.assertEqual(b'abcd', b''.join(
            bar.reading(io.BytesIO(b'abcd'), 4)))
        bar.step('Making')(0.5)
        bar.end()
        lines = stream.getvalue().split('\n')
        self.assertIn('Reading', lines[0])
        self.assertTrue(lines[0].endswith('100 %'))
        self.assertIn(' 50 %\r', lines[1])

    def test_no_terminal(self):
        stream = io.StringIO()
        bar = progress.Progress(stream)
        bar.step('Making')(0.5)
        bar.end()
        self.assertEqual('', stream.getvalue())
