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

"""Layers that do not say which directories they mean: fitter.py's work.

What is expected is what ``umoci unpack`` makes of the same layers.
"""

import os

import ddt

from tests.unit.images import base
from tests.unit.images import builders
from tests.unit.images.builders import Tar
from tests.unit.images import trees


def _lower():
    return (Tar().dir('./').dir('real', mode=0o700)
            .dir('real/x', mode=0o711).file('real/x/old', b'o')
            .file('real/f', b'f').symlink('link', 'real')
            .symlink('chain', 'link').symlink('deep', '/real/x')
            .symlink('up/link', '../real').symlink('nowhere', 'gone/dir')
            .symlink('tofile', 'real/f').end())


#: What the layers above hold, and what is then below real/. A name with a
#: slash at its end is a directory, with its mode; 'h' a hard link.
CASES = {
    'a file below a link': (
        [('link/new',), ('chain/x/new',)],
        {'x': 0o711, 'x/old': b'o', 'x/new': b'1', 'f': b'f', 'new': b'0'}),
    'a whiteout, then files through the link': (
        [('real/.wh.x', 'link/x/new')], {'f': b'f', 'x': 0o755,
                                         'x/new': b'0'}),
    'a file through the link, then a whiteout': (
        [('link/x/new', 'real/.wh.f')],
        {'x': 0o711, 'x/old': b'o', 'x/new': b'0'}),
    'a whiteout through the link, then files': (
        [('link/.wh.x', 'real/x/new')], {'f': b'f', 'x': 0o755,
                                         'x/new': b'0'}),
    'both through the link': (
        [('link/.wh.x', 'link/x/new')], {'f': b'f', 'x': 0o755,
                                         'x/new': b'0'}),
    'through different links': (
        [('up/link/.wh.x', 'deep/new', 'chain/n')],
        {'f': b'f', 'x': 0o755, 'x/new': b'0', 'n': b'0'}),
    'only a whiteout through the link': ([('chain/.wh.x',)], {'f': b'f'}),
    'whiteouts of nothing': (
        [('link/.wh.no', 'link/x/.wh.no', 'nowhere/.wh.no')],
        {'x': 0o711, 'x/old': b'o', 'f': b'f'}),
    'opaque through the link': (
        [('link/.wh..wh..opq', 'link/new')], {'new': b'0'}),
    'opaque through the link, a file beside': (
        [('link/.wh..wh..opq', 'real/new')], {'new': b'0'}),
    'opaque, a file through the link': (
        [('real/.wh..wh..opq', 'link/new')], {'new': b'0'}),
    'opaque below': (
        [('deep/.wh..wh..opq', 'link/x/new')],
        {'f': b'f', 'x': 0o711, 'x/new': b'0'}),
    'the link goes': ([('.wh.link', 'link/new')],
                      {'x': 0o711, 'x/old': b'o', 'f': b'f'}),
    'where the link leads to goes': ([('.wh.real', 'link/new')],
                                     {'new': b'0'}),
    'where a link leads to goes, further down': (
        [('real/.wh.x', 'deep/new')], {'f': b'f', 'x': 0o755,
                                       'x/new': b'0'}),
    'a link to a file that goes': (
        [('real/.wh.f', 'tofile/new')],
        {'x': 0o711, 'x/old': b'o', 'f': 0o755, 'f/new': b'0'}),
    'a whiteout through the link, the file again': (
        [('link/.wh.f', 'real/f')],
        {'x': 0o711, 'x/old': b'o', 'f': b'0'}),
    'a whiteout, the file again through the link': (
        [('real/.wh.f', 'link/f')],
        {'x': 0o711, 'x/old': b'o', 'f': b'0'}),
    'a file in place of a directory': (
        [('real/.wh.x', 'link/x')], {'f': b'f', 'x': b'0'}),
    'a member for the directory': (
        [('real/.wh.x', 'link/x/', 'link/x/new')],
        {'f': b'f', 'x': 0o750, 'x/new': b'0'}),
    'a member for a directory that stays': (
        [('link/x/', 'real/x/new')],
        {'f': b'f', 'x': 0o750, 'x/old': b'o', 'x/new': b'0'}),
    'a member elsewhere': (
        [('real/x/', 'link/x/new')],
        {'f': b'f', 'x': 0o750, 'x/old': b'o', 'x/new': b'0'}),
    'again one layer up': (
        [('link/x/one',), ('chain/.wh.x', 'link/x/two')],
        {'f': b'f', 'x': 0o755, 'x/two': b'1'}),
}


def _layer(number, members):
    tar = Tar()
    for name in members:
        if name.endswith('/'):
            tar.dir(name, mode=0o750)
        else:
            tar.file(name, b'' if '.wh.' in name else b'%d' % number)
    return tar.end()


def layers(name):
    """The layers of one of CASES, lowest first."""
    return [_lower(), *(_layer(number, members) for number, members
                        in enumerate(CASES[name][0]))]


@ddt.ddt
class FittingTestCase(base.StoreTestCase):

    @ddt.data(*((form, name) for form in base.FORMS for name in CASES))
    @ddt.unpack
    def test_links_below(self, form, name):
        where = self.store(form)
        image = self.ensure(builders.docker(layers(name)), where=where)
        found = trees.of(image, form)
        self.assertEqual(CASES[name][1], {
            path[len('real/'):]: self._seen(entry)
            for path, entry in found.items() if path.startswith('real/')})
        if name != 'the link goes':
            self.assertEqual('real', found['link']['target'])
        self.assertEqual({}, where.verify())

    @staticmethod
    def _seen(entry):
        if 'data' not in entry:
            return int(entry['mode'], 8)
        known = {trees.digest(data): data for data in (b'o', b'f', b'0',
                                                       b'1')}
        return known[entry['data']]

    def test_hard_link_through_links(self):
        data = builders.docker([_lower(), Tar().link('link/h', 'deep/old')
                                .link('chain/x/g', 'link/h').end()])
        for form in base.FORMS:
            image = self.ensure(data, where=self.store(form, name=form))
            self.assertEqual(['real/h', 'real/x/g', 'real/x/old'],
                             trees.of(image, form)['real/h']['same'])

    def test_a_lost_mark_is_damage(self):
        for name in ('opaque below', 'both through the link'):
            where = self.store(name=name.replace(' ', '-'))
            image = self.ensure(builders.docker(layers(name)), where=where)
            top = os.path.join(image.layer_dirs[-1], 'real/x')
            os.removexattr(top, 'user.overlay.opaque')
            self.assertIn('/real/x hides no more what it should',
                          str(where.verify()))
            os.setxattr(top, 'user.overlay.opaque', b'y')
            self.assertEqual({}, where.verify())
