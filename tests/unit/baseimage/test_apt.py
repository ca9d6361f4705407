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

"""The private apt, with a fake apt-get; packages, with the real dpkg-deb."""

import fcntl
import hashlib
import pathlib
import tempfile
import unittest
from unittest import mock

from nova_containervm.baseimage import apt
from nova_containervm.baseimage import errors
from nova_containervm.baseimage import tools

SIMULATED = b"""\
Reading package lists...
Inst libc6 (2.36-9 Debian:12.15/oldstable [amd64])
Inst crun (1:1.8.1-1 Debian:12.15/oldstable, Debian-Security:12 [amd64])
Conf libc6 (2.36-9 Debian:12.15/oldstable [amd64])
"""


class AptTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)
        self.calls = []
        self.enterContext(mock.patch.object(tools, 'run', self.run_tool))
        self.output = b''
        self.content = b'package'

    def run_tool(self, argv, cwd=None, **_kwargs):
        self.calls.append([str(a) for a in argv])
        # Another build with the same cache has to wait for this.
        with open(self.root / 'lock', 'rb') as other:
            self.assertRaises(BlockingIOError, fcntl.flock, other,
                              fcntl.LOCK_EX | fcntl.LOCK_NB)
        if argv[-2:-1] == ['download'] and cwd:
            (cwd / 'crun_1.deb').write_bytes(self.content)
            return b''
        return self.output

    def test_host_is_not_touched(self):
        apt.Apt(self.root).update()
        call = self.calls[0]
        for option in ('Dir::State', 'Dir::State::status', 'Dir::Cache'):
            value = next(c for c in call if c.startswith(f'{option}='))
            self.assertTrue(value.partition('=')[2].startswith(
                str(self.root)))

    def test_own_sources(self):
        apt.Apt(self.root, 'deb http://mirror/ bookworm main\n').update()
        self.assertIn('Dir::Etc::sourceparts=/dev/null', self.calls[0])
        self.assertIn('bookworm', (self.root / 'sources.list').read_text())

    def test_closure(self):
        self.output = SIMULATED
        self.assertEqual({'libc6': '2.36-9', 'crun': '1:1.8.1-1'},
                         apt.Apt(self.root).closure(['crun']))

    def test_closure_of_nothing(self):
        with self.assertRaises(errors.BuildError):
            apt.Apt(self.root).closure(['crun'])

    def uris(self):
        digest = hashlib.sha256(b'package').hexdigest()
        return (f"'http://mirror/crun_1.deb' crun_1.deb 7 SHA256:{digest}\n"
                ).encode()

    def test_download_once(self):
        self.output = self.uris()
        private = apt.Apt(self.root)
        for _ in range(2):
            files = private.download({'crun': '1'})
        self.assertEqual(b'package', files['crun'].read_bytes())
        fetches = [c for c in self.calls if '--print-uris' not in c]
        self.assertEqual([['crun=1']], [c[-1:] for c in fetches])

    def test_damaged_download(self):
        self.output = self.uris()
        self.content = b'something else'
        with self.assertRaisesRegex(errors.BuildError, 'damaged'):
            apt.Apt(self.root).download({'crun': '1'})

    def test_unknown_package(self):
        with self.assertRaisesRegex(errors.BuildError, 'no file for: nosuch'):
            apt.Apt(self.root).download({'nosuch': '1'})

    def test_sources_of_another_release(self):
        listed = ('http://m/debian {0} main Debian\n'
                  'http://m/debian {0} main Debian\n'
                  'http://m/debian {0}-updates main Debian\n'
                  'http://m/security {0}-security main Debian\n'
                  'http://m/debian {0}-backports main Debian Backports\n'
                  'http://other/ stable main Other\n')
        for own in apt.RELEASES:
            for wanted in apt.RELEASES:
                with self.subTest(own=own, wanted=wanted), mock.patch.object(
                        tools, 'run', return_value=listed.format(
                            own).encode()):
                    self.assertEqual(
                        f'deb http://m/debian {wanted} main\n'
                        f'deb http://m/debian {wanted}-updates main\n'
                        f'deb http://m/security {wanted}-security main\n',
                        apt.host_sources(wanted))

    def test_no_sources(self):
        with mock.patch.object(tools, 'run',
                               return_value=b'http://u/ noble main Ubuntu\n'):
            with self.assertRaisesRegex(errors.BuildError, 'name a mirror'):
                apt.host_sources('bookworm')


class UnpackTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = pathlib.Path(directory.name)

    def package(self, name, path):
        """A package with one program; return its file."""
        tree = self.work / name
        (tree / 'DEBIAN').mkdir(parents=True)
        (tree / 'DEBIAN/control').write_text(
            f'Package: {name}\nVersion: 1\nArchitecture: all\n'
            'Maintainer: Nobody <nobody@example.org>\nDescription: none\n')
        program = tree / path
        program.parent.mkdir(parents=True)
        program.write_text(name)
        program.chmod(0o755)
        deb = self.work / f'{name}.deb'
        tools.run(['dpkg-deb', '--root-owner-group', '--build', tree, deb])
        return deb

    def test_either_side_of_the_usr_merge(self):
        root = self.work / 'root'
        for name, path in (('before', 'sbin/before'),
                           ('after', 'usr/sbin/after'),
                           ('libs', 'lib/modules/6.1/libs')):
            apt.unpack(self.package(name, path), root)
        apt.merge_usr(root)
        for path in ('sbin/before', 'usr/sbin/before', 'sbin/after',
                     'usr/sbin/after', 'usr/lib/modules/6.1/libs'):
            with self.subTest(path):
                self.assertEqual(pathlib.PurePath(path).name,
                                 (root / path).read_text())
        self.assertTrue((root / 'sbin').is_symlink())
        self.assertEqual(0o755,
                         (root / 'sbin/before').stat().st_mode & 0o7777)
