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

"""Nothing that an image says gets out of the image, or stays behind."""

import dataclasses
import os
import stat

import ddt

from nova_containervm.images import errors
from nova_containervm.images import limits
from nova_containervm.images import survey
from tests.unit.images import attacks
from tests.unit.images import base
from tests.unit.images import builders
from tests.unit.images import trees

_TYPES = {stat.S_IFREG: 'file', stat.S_IFDIR: 'dir', stat.S_IFLNK: 'link',
          stat.S_IFIFO: 'fifo', stat.S_IFBLK: 'blk', stat.S_IFCHR: 'chr'}

#: What comes of an attack in a disk, where it is something else.
_IN_DISKS = {
    'attribute of 60 kB': {'error': None, 'there': {'f': 'file'}},
    'device 0:0': {'gone': ('n',)},
    'holes are free': {'error': 'LimitExceeded', 'words': 'holes'},
}


def _cases():
    for mode in base.FORMS:
        for attack in attacks.ALL:
            yield '%s, %s' % (attack.name, mode), attack, mode


@ddt.ddt
class AttackTestCase(base.StoreTestCase):

    def setUp(self):
        super().setUp()
        self.canary = os.path.join(self.dir, 'canary')
        os.mkdir(self.canary)
        with open(os.path.join(self.canary, 'keep'), 'wb') as out:
            out.write(b'precious')
        os.chmod(self.canary, 0o777)

    @ddt.data(*list(_cases()))
    @ddt.unpack
    def test(self, _name, attack, mode):
        listed = attack
        if mode == 'block' and attack.name in _IN_DISKS:
            attack = dataclasses.replace(attack, **_IN_DISKS[attack.name])
        made = attack.make(self.canary)
        if isinstance(made, list):
            made = builders.docker(made)
        before = trees.native(self.canary)
        where = self.store(mode, **attack.limits)
        image = None
        try:
            image = where.ensure('image', builders.chunks(made))
        except errors.ImageError as exc:
            self.assertEqual(attack.error, type(exc).__name__, str(exc))
            self.assertIn(attack.words, str(exc))
            self.assertLessEqual(len(str(exc).encode()),
                                 errors.MESSAGE_BYTES, str(exc))
            self.assertNothingLeft(where)
        else:
            self.assertIsNone(attack.error, 'was accepted')
        self._survey(listed, made)
        self.assertEqual(before, trees.native(self.canary))
        self.assertEqual({'store', 'canary'}, set(os.listdir(self.dir)))
        if image is not None:
            self.assertEqual({}, where.verify())
            self._check(attack, trees.of(image, mode))

    def _survey(self, attack, made):
        """nova-containervm-image inspect says what the host has said."""
        error = None
        try:
            survey.survey(builders.chunks(made)(), architecture='amd64',
                          limits=limits.Limits(**attack.limits))
        except errors.ImageError as exc:
            error = type(exc).__name__
            self.assertIn(attack.words, str(exc))
        self.assertEqual(attack.error, error)

    def _check(self, attack, found):
        for path, wanted in attack.there.items():
            path = path.replace('{canary}', self.canary[1:])
            self.assertIn(path, found)
            entry = found[path]
            if isinstance(wanted, bytes):
                import hashlib
                self.assertEqual('%d:%s' % (len(wanted), hashlib.sha256(
                    wanted).hexdigest()[:24]), entry['data'])
                continue
            kind, *rest = wanted.split()
            self.assertEqual(kind, _TYPES[entry['type']])
            if rest:
                self.assertEqual('0o' + rest[0], entry['mode'])
                self.assertTrue(entry['owner'].startswith(rest[1] + ':'))
        for path in attack.gone:
            self.assertNotIn(path, found)
        for entry in found.values():
            for name in entry.get('xattrs', ()):
                self.assertFalse(name.startswith(('trusted.', 'security.s',
                                                  'security.i')), name)
