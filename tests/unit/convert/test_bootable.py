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

"""Disks that boot by themselves: what is where on them."""

import json
import os
import pathlib
import subprocess

import ddt

from nova_containervm.baseimage import disk as disk_lib
from nova_containervm.baseimage import errors as base_errors
from nova_containervm.baseimage import manifest
from nova_containervm.convert import bootable
from nova_containervm.convert import errors
from nova_containervm.images import diskfile
from tests.unit.convert import test_convert
from tests.unit.images import builders

PARTS = [bytes([n]) * 3000 + bytes(disk_lib.MIB) + b'end' for n in (1, 2, 4)]
DISK_ID = 0xC0A7B007


def _base(directory, kind='bootable', parts=PARTS):
    directory = pathlib.Path(directory)
    directory.mkdir()
    images = []
    for number, content in enumerate(parts):
        images.append(directory / ('part%d' % number))
        images[-1].write_bytes(content)
    disk_lib.assemble(directory / 'raw', *images, disk_id=DISK_ID,
                      boot_code=b'code')
    disk_lib.to_qcow2(directory / 'raw', directory / 'base.qcow2')
    for path in (*images, directory / 'raw'):
        path.unlink()
    manifest.write(directory, {'type': kind, 'disk': manifest.describe_file(
        directory / 'base.qcow2')})
    return str(directory)


@ddt.ddt
class BootableTestCase(test_convert.ConvertTestCase):

    def setUp(self):
        super().setUp()
        self.base = _base(os.path.join(self.dir, 'base'))

    def make(self, name='out.raw', config=None, properties=None, **options):
        data = builders.docker([test_convert._layer()], config=dict(
            test_convert.CONFIG if config is None else config))
        self.path = os.path.join(self.dir, name)
        options = {'format': 'ext4', 'architecture': 'amd64',
                   'output_format': 'raw', 'base': self.base,
                   'properties': properties or {}} | options
        return test_convert.disk.convert(
            [data], self.path, test_convert.disk.Options(**options),
            lambda step: lambda share: None)

    def test_partitions(self):
        made = self.make(properties={'containervm_env_A': 'b'})
        self.assertEqual({'base', 'out.raw'}, set(os.listdir(self.dir)))
        with open(self.path, 'rb') as disk:
            code, disk_id, found = disk_lib.partitions_of(disk)
            parts = []
            for offset, size in found:
                disk.seek(offset)
                parts.append(disk.read(size))
        self.assertEqual((b'code'.ljust(440, b'\0'), DISK_ID),
                         (code, disk_id))
        self.assertEqual(made.virtual, os.stat(self.path).st_size)
        self.assertEqual(4, len(parts))
        container = parts.pop(2)
        # Sectors are whole.
        self.assertEqual([p.ljust(-(-len(p) // 512) * 512, b'\0')
                          for p in PARTS], parts)
        part = os.path.join(self.dir, 'part')
        with open(part, 'wb') as out:
            out.write(container)
        with open(part, 'rb') as source:
            about = diskfile.read(source.fileno())
            self.assertEqual(vars(about), vars(diskfile.read(
                source.fileno(), len(container))))
        self.assertEqual(
            ('ext4', {'containervm_env_A': 'b'}, ['/bin/run']),
            (about.filesystem, about.properties,
             about.config['config']['Cmd']))
        subprocess.run(['e2fsck', '-fn', part], check=True,
                       capture_output=True)

    def test_qcow2(self):
        self.make('out.qcow2', output_format='qcow2', compress=True)
        subprocess.run(['qemu-img', 'check', '-q', self.path], check=True)

    def test_runs_nothing(self):
        with self.assertRaisesRegex(errors.ConvertError, '--property'):
            self.make(config={})
        self.make(config={}, properties={'containervm_command': '/bin/run'})

    def test_other_architecture(self):
        with self.assertRaisesRegex(errors.ConvertError, 'are for amd64'):
            bootable.check(test_convert.mock.Mock(architecture='arm64'), {})

    @ddt.data((['x=y'], 'containervm_NAME=VALUE'),
              (['containervm_tty'], 'containervm_NAME=VALUE'),
              (['containervm_tty=maybe'], 'maybe'),
              (['containervm_ttty=1'], 'containervm_tty'))
    @ddt.unpack
    def test_properties(self, given, message):
        with self.assertRaisesRegex(errors.ConvertError, message):
            bootable.properties(given)

    def test_base(self):
        bootable.check_base(self.base)
        for name, make, message in (
                ('none', lambda path: None, 'there is no'),
                ('empty', os.mkdir, 'manifest'),
                ('minimal', lambda path: _base(path, 'minimal'),
                 'of type minimal')):
            path = os.path.join(self.dir, name)
            make(path)
            with self.subTest(name), self.assertRaisesRegex(
                    errors.ConvertError, message + '.*--type bootable'):
                bootable.check_base(path)
        with open(os.path.join(self.base, 'base.qcow2'), 'r+b') as disk:
            disk.write(b'x')
        with self.assertRaisesRegex(errors.ConvertError, 'differs'):
            bootable.check_base(self.base)

    def test_base_with_other_partitions(self):
        base = _base(os.path.join(self.dir, 'two'), parts=PARTS[:2])
        with self.assertRaisesRegex(errors.ConvertError, 'has 2 partitions'):
            self.make(base=base)

    def test_no_partition_table(self):
        with open(os.path.join(self.dir, 'x'), 'w+b') as disk:
            for content in (b'', bytes(512)):
                disk.write(content)
                with self.assertRaises(base_errors.BuildError):
                    disk_lib.partitions_of(disk)


@ddt.ddt
class CommandTestCase(test_convert.CommandBase):

    def setUp(self):
        super().setUp()
        self.base = _base(os.path.join(self.dir, 'base'))

    def test_bootable(self):
        goal = os.path.join(self.dir, 'out.qcow2')
        words = (self.input, goal, '--bootable', '--base', self.base,
                 '--format', 'ext4', '--property', 'containervm_tty=1')
        status, out, err = self.run_command(*words)
        self.assertEqual((0, ''), (status, err))
        self.assertIn('qcow2, bootable', out)
        self.assertIs(True, json.loads(self.run_command(*words, '--json')[
            1])['bootable'])

    @ddt.data(
        (('--property', 'containervm_tty=1'), 'is for bootable disks'),
        (('--bootable', '--base', '{dir}/none'), '--type bootable'),
        (('--bootable', '--property', 'tty=1'), 'containervm_NAME'))
    @ddt.unpack
    def test_fails(self, words, message):
        status, out, err = self.run_command(
            self.input, os.path.join(self.dir, 'o.raw'),
            *(w.replace('{dir}', self.dir) for w in words))
        self.assertEqual((1, ''), (status, out))
        self.assertIn(message, err)
        self.assertEqual(['base', 'in.tar'], sorted(os.listdir(self.dir)))
