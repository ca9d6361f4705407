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

"""What is said of disks, of any form, without a look at their files."""

import contextlib
import io
import json
import os
import subprocess
import tempfile
import unittest

import ddt

from nova_containervm.baseimage import bootable
from nova_containervm.baseimage import disk as disk_lib
from nova_containervm.cli import image as cli
from nova_containervm.images import diskfile
from nova_containervm.images import errors
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import survey

CONFIG = {'os': 'linux', 'config': {
    'Cmd': ['/bin/run'], 'User': 'app', 'Env': ['A=b'],
    'ExposedPorts': {'80/tcp': {}}}}


def made(architecture='amd64', properties=None, config=None):
    """A raw disk; what begins as a squashfs stands for one."""
    with tempfile.TemporaryFile() as disk:
        disk.write(b'hsqs'.ljust(5000, b'x'))
        diskfile.append(disk, 'squashfs', architecture,
                        CONFIG if config is None else config,
                        b'app:x:7:8::/:/bin/sh\n', b'', properties)
        return disk.read()


def bootable_of(container):
    """A raw disk that boots by itself."""
    with tempfile.TemporaryDirectory() as directory:
        paths = [os.path.join(directory, str(n)) for n in range(5)]
        for path, content in zip(paths, (
                b'boot', b'setup', container, b'rw'), strict=False):
            with open(path, 'wb') as out:
                out.write(content)
        disk_lib.assemble(paths[4], *paths[:4], boot_code=b'code',
                          disk_id=bootable.DISK_ID)
        with open(paths[4], 'rb') as source:
            return source.read()


def qcow2(raw, *options):
    with tempfile.TemporaryDirectory() as directory:
        paths = [os.path.join(directory, name) for name in ('raw', 'qcow2')]
        with open(paths[0], 'wb') as out:
            out.write(raw)
        subprocess.run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2',
                        *options, *paths], check=True)
        with open(paths[1], 'rb') as source:
            return source.read()


def look(data, **options):
    return survey.survey([data[:100], data[100:]], architecture='amd64',
                         **options)


@ddt.ddt
class DiskSurveyTestCase(unittest.TestCase):

    @ddt.data('raw', 'qcow2')
    def test_disk(self, form):
        data = made()
        found = look(data if form == 'raw' else qcow2(data))
        self.assertEqual(
            ('disk', form, 'squashfs', 5000, len(data), 'amd64', {}),
            tuple(found[name] for name in (
                'format', 'disk_format', 'filesystem', 'size',
                'virtual_size', 'architecture', 'properties')))
        self.assertEqual(
            (['/bin/run'], 'app', ['80/tcp'], ['A=b'], []),
            tuple(found[name] for name in (
                'command', 'user', 'exposed_ports', 'environment',
                'problems')))
        self.assertEqual(CONFIG, found['config'])

    @ddt.data('raw', 'qcow2')
    def test_bootable(self, form):
        properties = {'containervm_command': '/bin/other'}
        data = bootable_of(made(properties=properties))
        found = look(data if form == 'raw' else qcow2(data, '-c'))
        self.assertEqual(
            ('bootable', form, len(data), ['/bin/other'], properties),
            tuple(found[name] for name in (
                'format', 'disk_format', 'virtual_size', 'command',
                'properties')))

    def test_without_description(self):
        found = look(b'hsqs'.ljust(8192, b'x'))
        self.assertEqual((None, None, 'amd64'), (
            found['command'], found['size'], found['architecture']))
        self.assertIn('containervm_command', found['problems'][0])

    def test_refused(self):
        damaged = bytearray(made())
        damaged[8200] ^= 1
        lost = bytearray(bootable_of(made()))
        lost[446 + 32 + 8] = 0xff
        broken = bytearray(qcow2(made()))
        # Where its first table is
        broken[40:48] = b'\xff' * 8
        small = limits_mod.Limits(max_image_mb=1)
        for data, error, message, options in (
                (made('arm64'), errors.WrongArchitecture, 'arm64', {}),
                (bytes(damaged), errors.Damaged, 'digest', {}),
                (bytes(lost), errors.NotAnImage, 'filesystem', {}),
                (bootable_of(made())[:2 << 20], errors.Damaged,
                 'no partition', {}),
                (b'QFI\xfb' + bytes(4000), errors.Unsupported, 'unknown', {}),
                (b'QFI\xfb' + bytes(99), errors.Damaged, 'header', {}),
                (qcow2(made())[:70000], errors.NotAnImage, 'filesystem', {}),
                (bytes(broken), errors.Damaged, 'qemu-img', {}),
                (made() + bytes(2 << 20), errors.LimitExceeded,
                 'max_image_mb', {'limits': small}),
                (bootable_of(made(properties={'containervm_tty': 'x'})),
                 errors.Damaged, 'containervm_tty', {})):
            with self.subTest(message), self.assertRaisesRegex(
                    error, message):
                look(data, **options)

    def test_backing_file(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, 'x')
            subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F',
                            'raw', '-b', '/etc/passwd', path, '1M'],
                           check=True)
            with open(path, 'rb') as source, self.assertRaisesRegex(
                    errors.Unsupported, 'other files'):
                look(source.read())

    def test_hosts_refuse_what_boots_by_itself(self):
        with tempfile.TemporaryFile() as disk:
            disk.write(bootable_of(made()))
            disk.flush()
            with self.assertRaisesRegex(errors.NotAnImage,
                                        '--container-format bare'):
                diskfile.read(disk.fileno())

    def test_inspect(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, 'disk')
            for data, words in (
                    (made(), ('disk, raw', '/bin/run', 'squashfs, 4.9 KiB')),
                    (qcow2(bootable_of(made(properties={
                        'containervm_tty': '1'}))),
                     ('bootable disk, qcow2', 'containervm_tty=1')),
                    (b'hsqs'.ljust(8192, b'x'), ('without a description',))):
                with open(path, 'wb') as out:
                    out.write(data)
                for more in ((), ('--json',)):
                    said = io.StringIO()
                    with contextlib.redirect_stdout(said):
                        self.assertEqual(0, cli.main([
                            'inspect', '--arch', 'amd64', *more, path]))
                    if more:
                        json.loads(said.getvalue())
                        continue
                    for word in words:
                        self.assertIn(word, said.getvalue())
