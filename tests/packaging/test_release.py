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
"""A release: what "python -m build" makes of a tag, and where it installs."""

import email.parser
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile

import pytest

from tests.packaging import test_installs

ROOT = test_installs.ROOT
VERSION = '0.1.0'
NAME = 'nova_containervm-' + VERSION

run = test_installs.run


def clone(path):
    """A clone of the repository with all that is not committed yet."""
    run('git', 'clone', '-q', '--no-tags', ROOT, path)
    run('git', '-C', path, 'config', 'user.name', 'Test')
    run('git', '-C', path, 'config', 'user.email', 'test@example.org')
    names = run('git', '-C', ROOT, 'ls-files', '--cached', '--others',
                '--exclude-standard', '-z').split('\0')
    for name in filter(None, names):
        if not (ROOT / name).exists():
            continue
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, path / name)
    run('git', '-C', path, 'add', '--all')
    run('git', '-C', path, 'commit', '-q', '--allow-empty', '-m', 'Now')
    return path


class Release:
    """Source archive and wheel of a tag, built once.

    :param isolated: build in fresh environments, as whoever releases it,
        which takes longer
    """

    def __init__(self, isolated=False):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix='containervm-rel-'))
        self.clone = clone(self.path / 'clone')
        self.untagged = run(sys.executable, '-W', 'ignore', 'setup.py', '-q',
                            '--version', cwd=self.clone).split()[-1]
        run('git', '-C', self.clone, 'tag', '-a', '-m', VERSION, VERSION)
        run(sys.executable, '-m', 'build', '--outdir', self.path / 'dist',
            *([] if isolated else ['--no-isolation']), self.clone)
        self.wheel = self.path / 'dist' / (NAME + '-py3-none-any.whl')
        self.sdist = self.path / 'dist' / (NAME + '.tar.gz')

    def close(self):
        shutil.rmtree(self.path)


class ReleaseTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.release = Release()
        cls.addClassCleanup(cls.release.close)

    def test_files(self):
        self.assertEqual({self.release.wheel, self.release.sdist},
                         set((self.release.path / 'dist').iterdir()))

    def test_before_the_tag(self):
        self.assertRegex(self.release.untagged,
                         r'\A%s\.dev[0-9]+\Z' % VERSION)

    def test_twine(self):
        said = run(sys.executable, '-m', 'twine', 'check', '--strict',
                   self.release.wheel, self.release.sdist)
        self.assertEqual(2, said.count('PASSED'), said)

    def test_metadata(self):
        with zipfile.ZipFile(self.release.wheel) as wheel:
            info = NAME + '.dist-info/'
            metadata = email.parser.Parser().parsestr(
                wheel.read(info + 'METADATA').decode())
            entries = wheel.read(info + 'entry_points.txt').decode()
            names = wheel.namelist()
        self.assertEqual(VERSION, metadata['Version'])
        self.assertEqual('nova-containervm', metadata['Name'])
        self.assertIn('client', metadata.get_all('Provides-Extra'))
        self.assertIn('containervm_run = ', entries)
        self.assertTrue(any(n.startswith(info) and n.endswith('LICENSE')
                            for n in names), names)
        data = NAME + '.data/data/etc/'
        self.assertEqual(
            {data + 'nova/rootwrap.d/containervm.filters',
             data + 'glance/metadefs/compute-containervm.json',
             data + 'glance/metadefs/compute-containervm-image.json'},
            {n for n in names if n.startswith(NAME + '.data/data/')})

    def test_source_archive(self):
        with tarfile.open(self.release.sdist) as archive:
            names = {m.name.partition('/')[2] for m in archive}
        for name in ('README.rst', 'CONTRIBUTING.rst', 'LICENSE',
                     'tools/test', 'doc/source/index.rst', 'devstack'):
            if (ROOT / name).exists():
                self.assertIn(name, names)


PATH = '/usr/sbin:/usr/bin:/sbin:/bin'

# Run in the fresh machine: Nova finds the driver, tools answer, data is there
CHECK = '''
set -e
%(venv)s/bin/python -W ignore -c '
from oslo_utils import importutils
found = importutils.import_class("nova.virt.containervm.ContainerVMDriver")
print(found.__module__)
'
cd %(venv)s
bin/nova-containervm-baseimage packages
bin/nova-containervm-image inspect --help
bin/nova-containervm-store --help
bin/nova-containervm-status upgrade check
bin/nova-containervm-doctor --json && exit 1
test -f etc/nova/rootwrap.d/containervm.filters
test -f etc/glance/metadefs/compute-containervm.json
'''


@pytest.mark.slow
class BareDebianTest(unittest.TestCase):
    """A Debian 12 with python3-venv and nothing else."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.release = Release(isolated=True)
        cls.addClassCleanup(cls.release.close)
        # What pip would download there is downloaded here, so that pip's
        # settings are those of this machine.
        cls.wheels = cls.release.path / 'wheels'
        run(sys.executable, '-m', 'pip', 'wheel', '-q', '-w', cls.wheels,
            '-c', ROOT / 'constraints.txt', cls.release.wheel)
        run(sys.executable, '-m', 'pip', 'download', '-q', '-d', cls.wheels,
            '-c', ROOT / 'constraints.txt', 'pbr', 'setuptools', 'wheel')
        for name in cls.wheels.glob('nova_containervm-*'):
            name.unlink()
        cls.root = cls.release.path / 'root'
        run('mmdebstrap', '--variant=minbase', '--quiet',
            '--include=python3-venv', 'bookworm', cls.root)
        shutil.copytree(cls.wheels, cls.root / 'wheels')

    def _run(self, script):
        done = subprocess.run(
            ['/usr/sbin/chroot', self.root, 'sh', '-c', script], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            env={'PATH': PATH, 'LC_ALL': 'C.UTF-8'})
        self.assertEqual(0, done.returncode, done.stdout)
        return done.stdout

    def _check(self, archive):
        venv = '/venv-' + archive.suffix[1:]
        shutil.copy(archive, self.root)
        self._run('python3 -m venv %s && %s/bin/pip install --no-index '
                  '--find-links /wheels /%s' % (venv, venv, archive.name))
        said = self._run(CHECK % {'venv': venv})
        self.assertIn('nova_containervm.driver', said)
        self.assertIn('Upgrade Check Results', said)

    def test_wheel(self):
        self._check(self.release.wheel)

    def test_source_archive(self):
        self._check(self.release.sdist)


if __name__ == '__main__':
    unittest.main()
