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

"""Images that are uploaded as disks: their descriptions, and the store."""

import base64
import contextlib
import hashlib
import io
import json
import os

import ddt

from nova_containervm.cli import store as store_cli
from nova_containervm.images import diskfile
from nova_containervm.images import errors
from nova_containervm.images import mkerofs
from tests.unit.images import base
from tests.unit.images import builders
from tests.unit.images.builders import Tar

CONFIG = {'os': 'linux', 'config': {'Cmd': ['/bin/run']}}
PASSWD = b'app:x:7:8::/:/bin/sh\n'


def filesystem(kind='ext4', size=8192):
    """What begins as such a filesystem does."""
    offset, magic = diskfile.FILESYSTEMS[kind]
    data = bytearray(size)
    data[offset:offset + len(magic)] = magic
    data[5000:5008] = b'contents'
    return bytes(data)


def described(data, **changes):
    """A disk with a description."""
    values = {'kind': 'ext4', 'architecture': 'amd64', 'config': CONFIG,
              'passwd': PASSWD, 'group': b''} | changes
    disk = io.BytesIO(data)
    size = diskfile.append(disk, **values)
    made = disk.getvalue()
    assert size == len(made)
    return made


def with_text(change):
    """A disk with another description; change: function(dict) -> dict."""
    made = bytearray(described(filesystem()))
    _magic, version, length, start, _digest = diskfile.FOOTER.unpack_from(
        made, len(made) - 512)
    said = json.loads(made[start:start + length])
    text = change(said)
    if not isinstance(text, bytes):
        text = json.dumps(text).encode()
    made[start:] = text.ljust(len(made) - start - 512, b' ')
    made += diskfile.FOOTER.pack(
        diskfile.MAGIC, version, len(text), start,
        hashlib.sha256(text).digest()).ljust(512, b'\0')
    return bytes(made)


def changed(*path, value):
    """As with_text(), with one member changed."""
    def change(said):
        place = said
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        return said
    return with_text(change)


def footer(**changes):
    """A disk whose last sector is not right."""
    values = {'magic': diskfile.MAGIC, 'version': 1, 'length': 10,
              'start': 8192, 'digest': bytes(32)} | changes
    return filesystem() + diskfile.FOOTER.pack(*values.values()).ljust(
        512, b'\0')


@ddt.ddt
class DescriptionTestCase(base.StoreTestCase):

    def read(self, data):
        path = os.path.join(self.dir, 'disk')
        with open(path, 'w+b') as disk:
            disk.write(data)
            disk.flush()
            return diskfile.read(disk.fileno())

    @ddt.data(*diskfile.FILESYSTEMS)
    def test_there_and_back(self, kind):
        data = filesystem(kind, 5011)
        found = self.read(described(data, kind=kind, group=b'g'))
        self.assertEqual(
            (kind, 'amd64', CONFIG, PASSWD, b'g', 5011,
             hashlib.sha256(data).hexdigest()),
            (found.filesystem, found.architecture, found.config,
             found.passwd, found.group, found.size, found.sha256))

    def test_none(self):
        found = self.read(filesystem())
        self.assertEqual(('ext4', None, None, {}), (
            found.filesystem, found.architecture, found.size,
            found.config['config']))

    def test_whole_blocks(self):
        for size in (4096, 4097, 8191, 8192):
            made = described(filesystem(size=6000) + bytes(size))
            self.assertEqual(0, len(made) % diskfile.BLOCK)

    @ddt.data(
        (bytes(9000), 'NotAnImage', 'does not begin with'),
        (b'QFI\xfb' + bytes(9000), 'NotAnImage', 'does not begin with'),
        (b'', 'NotAnImage', 'does not begin with'),
        (footer(version=2), 'Unsupported', 'version 2'),
        (footer(length=1 << 30), 'Damaged', 'longer'),
        (footer(start=1 << 62), 'Damaged', 'longer'),
        (footer(start=4096), 'Damaged', 'digest'),
        (with_text(lambda said: b'{'), 'Damaged', 'JSON'),
        (with_text(lambda said: b'[' * 150000), 'Damaged', 'Recursion'),
        (with_text(lambda said: b'[' * 300000), 'Damaged', 'many values'),
        (with_text(lambda said: []), 'Damaged', 'TypeError'),
        (with_text(lambda said: b'\xff'), 'Damaged', 'UnicodeDecodeError'),
        (changed('config', value=[]), 'Damaged', 'wrong kind'),
        (changed('architecture', value=3), 'Damaged', 'wrong kind'),
        (changed('filesystem', 'size', value=-1), 'Damaged', 'wrong kind'),
        (changed('filesystem', 'size', value=True), 'Damaged', 'wrong kind'),
        (changed('filesystem', 'size', value=1 << 40), 'Damaged',
         'wrong kind'),
        (changed('filesystem', value=None), 'Damaged', 'TypeError'),
        (changed('filesystem', 'type', value='xfs'), 'Damaged', 'xfs'),
        (changed('passwd', value='*'), 'Damaged', 'Error'),
        (changed('group', value=None), 'Damaged', 'TypeError'))
    @ddt.unpack
    def test_hostile(self, data, kind, words):
        with self.assertRaises(errors.ImageError) as caught:
            self.read(data)
        self.assertEqual(kind, type(caught.exception).__name__)
        self.assertIn(words, str(caught.exception))
        self.assertLessEqual(len(str(caught.exception)),
                             errors.MESSAGE_BYTES)

    @ddt.data(
        (filesystem('ext4'), 'ext4'), (filesystem('erofs'), 'erofs'),
        (filesystem('squashfs'), 'squashfs'),
        (b'QFI\xfb' + bytes(100), 'qcow2'), (b'', None), (b'QFI', None),
        (bytes(5000), None),
        # A layer's contents may look like anything.
        (Tar().file('f', filesystem('ext4')[512:]).end(), None),
        (Tar().file('f', filesystem('erofs')[512:]).end(), None),
        (b'\x1f\x8b' + filesystem('ext4')[2:], None))
    @ddt.unpack
    def test_kinds(self, data, kind):
        for size in (1, 7, 100000):
            pieces = [data[i:i + size] for i in range(0, len(data), size)]
            found, chunks = diskfile.peek(pieces)
            self.assertEqual(kind, found)
            self.assertEqual(data, b''.join(chunks))


@ddt.ddt
class StoreTestCase(base.StoreTestCase):

    def setUp(self):
        super().setUp()
        self.where = self.store('block')

    def test_disk(self):
        data = described(filesystem())
        image = self.ensure(data, where=self.where)
        with open(image.disk, 'rb') as disk:
            self.assertEqual(data, disk.read())
        self.assertEqual((CONFIG['config'], PASSWD, b'', (), 'disk'), (
            image.config['config'], image.passwd, image.group,
            image.file_caps, image.format))
        info = os.stat(image.disk)
        self.assertEqual(0o400, info.st_mode & 0o777)
        if os.geteuid() == 0:
            self.assertEqual((64055, 64056), (info.st_uid, info.st_gid))
        self.assertTrue(self.where.is_disk('image'))
        self.assertFalse(self.where.is_disk('other'))
        self.assertEqual({}, self.where.verify())
        self.assertEqual([], os.listdir(self.where.path('tmp')))
        origins = self.where.origins('image')
        self.assertEqual((None, None, 'disk'), (
            origins['trees'], origins['blobs'], origins['format']))

    def test_without_description(self):
        image = self.ensure(filesystem('squashfs'), where=self.where)
        self.assertEqual({}, image.config['config'])
        self.assertEqual((b'', b''), (image.passwd, image.group))

    def test_two_images_with_the_same_disk(self):
        data = described(filesystem())
        disks = {self.where.ensure(name, builders.chunks(data)).disk
                 for name in ('one', 'two')}
        self.assertEqual(1, len(disks))
        self.where.prune({'two'}, 0)
        self.assertTrue(os.path.exists(disks.pop()))
        self.where.prune(set(), 0)
        self.assertNothingLeft(self.where)

    def test_zeros_are_holes(self):
        image = self.ensure(described(filesystem(size=16 << 20)),
                            where=self.where)
        self.assertLess(os.stat(image.disk).st_blocks * 512, 1 << 20)

    def test_config_cannot_say_where_layers_are(self):
        image = self.ensure(described(filesystem(), config={'rootfs': 5}),
                            where=self.where)
        self.assertEqual(1, len(self.where.origins('image')['diff_ids']))
        self.assertEqual(image.chain_ids, tuple(
            self.where.origins('image')['diff_ids']))

    def test_damage_is_seen(self):
        image = self.ensure(described(filesystem()), where=self.where)
        info = os.stat(image.disk)
        os.chmod(image.disk, 0o600)
        with open(image.disk, 'r+b') as disk:
            disk.seek(5000)
            disk.write(b'x')
        os.utime(image.disk, ns=(info.st_atime_ns, info.st_mtime_ns))
        self.assertTrue(self.where.verify(repair=True))
        self.assertIsNone(self.where.lookup('image'))

    @ddt.data(
        (described(filesystem(), architecture='s390x'), 'WrongArchitecture',
         's390x'),
        (described(filesystem()).replace(b'contents', b'Contents'),
         'DigestMismatch', 'was damaged'),
        (b'QFI\xfb' + bytes(4000), 'Unsupported', 'qcow2'),
        (described(filesystem(), config={'a': [1]})[:-1], 'Damaged', ''))
    @ddt.unpack
    def test_refused(self, data, kind, words):
        if kind == 'Damaged':
            # Cut off: there is no description then.
            self.assertEqual({}, self.ensure(
                data, where=self.where).config['config'])
            return
        with self.assertRaises(errors.ImageError) as caught:
            self.ensure(data, where=self.where)
        self.assertEqual(kind, type(caught.exception).__name__)
        self.assertIn(words, str(caught.exception))
        self.assertNothingLeft(self.where)

    def test_too_large(self):
        where = self.store('block', 'small', max_image_mb=1)
        with self.assertRaises(errors.LimitExceeded) as caught:
            self.ensure(filesystem(size=2 << 20), where=where)
        self.assertIn('max_image_mb', str(caught.exception))
        self.assertNothingLeft(where)

    def test_qcow2(self):
        seen = []

        def to_raw(source, target, most):
            with open(source, 'rb') as upload:
                seen.append((upload.read(), most >> 20))
            with open(target, 'wb') as raw:
                raw.write(described(filesystem('erofs'), kind='erofs'))

        self.where._to_raw = to_raw
        image = self.ensure(b'QFI\xfb' + bytes(4000), where=self.where)
        self.assertEqual([(b'QFI\xfb' + bytes(4000), 51200)], seen)
        with open(image.disk, 'rb') as disk:
            self.assertEqual(mkerofs.MAGIC, disk.read()[1024:1028])

    def test_qcow2_that_is_refused(self):
        def to_raw(source, target, most):
            raise errors.Unsupported('it has a backing file')

        self.where._to_raw = to_raw
        with self.assertRaises(errors.Unsupported):
            self.ensure(b'QFI\xfb' + bytes(4000), where=self.where)
        self.assertNothingLeft(self.where)

    def test_the_command_knows_it(self):
        self.ensure(described(filesystem()), where=self.where)
        for words in (['list'], ['verify'], ['prune', '--keep', 'image']):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                self.assertEqual(0, store_cli.main(
                    ['--root', self.where.root, *words]), out.getvalue())
            if words == ['list']:
                self.assertIn('image', out.getvalue())

    def test_helper_takes_no_file_with_another_name(self):
        self.where.prepare()
        with self.where.session() as (helper, path):
            os.mkdir(os.path.join(path, 'b0'))
            own = os.path.join(path, 'b0', 'disk.erofs')
            other = os.path.join(self.dir, 'other')
            with open(other, 'wb'):
                pass
            for make in (os.link, os.symlink):
                make(other, own)
                with self.assertRaises(errors.StoreError):
                    helper.request('take', size=0, dir='tmp/%s/b0' %
                                   os.path.basename(path)).result()
                os.unlink(own)
        self.assertEqual(os.geteuid(), os.stat(other).st_uid)

    def test_other_stores_leave_it(self):
        where = self.store('mapped', 'other')
        with self.assertRaises(errors.IsDisk):
            self.ensure(described(filesystem()), where=where)
        self.assertNothingLeft(where)

    def test_passwd_is_not_looked_into(self):
        # It is text of the image, whatever is in it.
        image = self.ensure(described(filesystem(), passwd=bytes(range(256))),
                            where=self.where)
        self.assertEqual(bytes(range(256)), image.passwd)
        self.assertEqual(base64.b64encode(image.passwd).decode(),
                         next(self.where.records())[1]['passwd'])
