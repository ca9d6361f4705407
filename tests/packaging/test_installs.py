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
"""Installs as users have them: wheels, editable trees, throw-away venvs.

Nova and nova-containervm, each as a regular and as an editable install: in
all four combinations Nova must find the driver and be intact. The network is
needed for one thing, Nova's source archive.
"""

import glob
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Run in the venv under test.
PROBE = '''
import sys

early = [m for m in sys.modules if m == 'nova' or m.startswith('nova.')]
assert not early, early
assert 'nova_containervm.driver' not in sys.modules
finders = [f for f in sys.meta_path if 'DriverFinder' in repr(f)]
assert len(finders) == 1, sys.meta_path

from oslo_utils import importutils

# What nova.virt.driver.load_compute_driver() does.
found = importutils.import_class(
    'nova.virt.%s' % 'containervm.ContainerVMDriver')

import importlib
import nova
import nova.virt
from nova.virt import containervm
from nova.virt.libvirt import driver as libvirt_driver
import nova_containervm.driver as real

assert found is real.ContainerVMDriver
assert issubclass(found, libvirt_driver.LibvirtDriver)
assert containervm is real
assert nova.virt.containervm is real
assert sys.modules['nova.virt.containervm'] is real
assert importlib.import_module('nova.virt.containervm') is real
assert real.__name__ == real.__spec__.name == 'nova_containervm.driver'
assert found.__module__ == 'nova_containervm.driver'
for package in (nova, nova.virt):
    assert package.__file__, 'a namespace package: %r' % package
    assert len(package.__path__) == 1, package.__path__
try:
    import nova.virt.nosuchdriver
except ModuleNotFoundError:
    pass
else:
    raise AssertionError('an unknown name was found')
print('nova', nova.__file__)
print('ours', real.__file__)
'''


def run(*argv, cwd=None):
    """Run a program; its output is the message if it fails."""
    done = subprocess.run(
        [str(a) for a in argv], cwd=cwd, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, env=_environment())
    if done.returncode:
        raise AssertionError('%s\n%s' % (' '.join(map(str, argv)),
                                         done.stdout))
    return done.stdout


def _environment():
    # Ours must not leak into the venvs under test.
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(('PYTHON', 'VIRTUAL_ENV'))}
    env['PIP_DISABLE_PIP_VERSION_CHECK'] = '1'
    return env


class Workshop:
    """Source trees and the libraries of this environment, made once."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix='containervm-pkg-'))
        self.ours = self._clone()
        self.nova = self._nova_tree()
        self.libraries = self._libraries()

    def close(self):
        shutil.rmtree(self.path)

    def _clone(self):
        """A clone of this repository, with what is not committed yet."""
        clone = self.path / 'nova-containervm'
        run('git', 'clone', '-q', ROOT, clone)
        run('git', '-C', clone, 'config', 'user.name', 'Test')
        run('git', '-C', clone, 'config', 'user.email', 'test@example.org')
        changed = run('git', '-C', ROOT, 'ls-files', '-m', '-d', '-z',
                      '--deduplicate')
        for name in filter(None, changed.split('\0')):
            if (ROOT / name).exists():
                shutil.copy2(ROOT / name, clone / name)
            else:
                (clone / name).unlink()
        return clone

    def _nova_tree(self):
        version = run(sys.executable, '-c', 'from importlib import metadata; '
                      'print(metadata.version("nova"))').strip()
        run(sys.executable, '-m', 'pip', 'download', '-q', '--no-deps',
            '--no-binary', ':all:', '--no-build-isolation',
            '-d', self.path, 'nova==' + version)
        archive, = self.path.glob('nova-*.tar.gz')
        run('tar', '-xzf', archive, '-C', self.path)
        return self.path / ('nova-' + version)

    def _libraries(self):
        """This environment's site-packages without Nova and without us."""
        libraries = self.path / 'libraries'
        libraries.mkdir()
        for entry in pathlib.Path(sysconfig.get_path('purelib')).iterdir():
            if (not entry.name.startswith(('nova', '__editable__', '_virt'))
                    and not entry.name.endswith('.pth')):
                (libraries / entry.name).symlink_to(entry)
        return libraries


class Venv:
    """A virtual environment without pip, filled by this one's pip."""

    def __init__(self, path, libraries):
        self.path = path
        run(sys.executable, '-m', 'venv', '--without-pip', path)
        self.python = path / 'bin' / 'python'
        self.site, = map(pathlib.Path,
                         glob.glob(str(path / 'lib/python*/site-packages')))
        (self.site / 'zz-libraries.pth').write_text('%s\n' % libraries)

    def install(self, tree, editable):
        run(sys.executable, '-m', 'pip', '--python', self.python, 'install',
            '-q', '--no-deps', '--no-build-isolation',
            *(['-e'] if editable else []), tree)

    def uninstall(self, name):
        run(sys.executable, '-m', 'pip', '--python', self.python, 'uninstall',
            '-q', '-y', name)

    def run(self, code, flags='-I'):
        return run(self.python, flags, '-W', 'ignore', '-c', code)


class InstallsTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.workshop = Workshop()
        cls.addClassCleanup(cls.workshop.close)

    def _check(self, venv, nova_editable, ours_editable):
        venv.install(self.workshop.ours, ours_editable)
        said = dict(line.split(' ', 1)
                    for line in venv.run(PROBE).splitlines())
        for name, tree, editable in (
                ('nova', self.workshop.nova, nova_editable),
                ('ours', self.workshop.ours, ours_editable)):
            where = tree if editable else venv.site
            self.assertTrue(said[name].startswith(str(where)), said)
        self.assertFalse((venv.site / 'nova' / '__init__.py').exists()
                         and nova_editable)

    def _check_uninstalled(self, venv):
        venv.uninstall('nova-containervm')
        left = [p.name for p in venv.site.iterdir()
                if 'containervm' in p.name]
        self.assertEqual([], left)
        # Nova is as before, and nothing complains at start-up.
        self.assertEqual('ok\n', venv.run(
            'import nova.virt.libvirt.driver\n'
            'from importlib.util import find_spec\n'
            'assert find_spec("nova.virt.containervm") is None\n'
            'print("ok")'))

    def _test_with_nova(self, editable):
        venv = Venv(self.workshop.path / ('venv-e' if editable else 'venv-r'),
                    self.workshop.libraries)
        venv.install(self.workshop.nova, editable)
        for ours_editable in (False, True):
            with self.subTest(ours_editable=ours_editable):
                self._check(venv, editable, ours_editable)
                self._check_uninstalled(venv)

    def test_regular_nova(self):
        self._test_with_nova(editable=False)

    def test_editable_nova(self):
        self._test_with_nova(editable=True)

    def test_package_is_gone(self):
        """A .pth file left alone disturbs nobody."""
        venv = Venv(self.workshop.path / 'venv-gone',
                    self.workshop.libraries)
        venv.install(self.workshop.ours, editable=False)
        shutil.rmtree(venv.site / 'nova_containervm')
        self.assertTrue((venv.site / 'nova-containervm.pth').exists())
        self.assertEqual('ok\n', venv.run('print("ok")'))
        (venv.site / 'nova_containervm').mkdir()
        self.assertEqual('ok\n', venv.run('print("ok")'))

    def test_start_is_cheap(self):
        """At interpreter start nothing is imported but the finder."""
        venv = Venv(self.workshop.path / 'venv-cheap',
                    self.workshop.libraries)
        code = 'import sys; print(" ".join(sorted(sys.modules)))'
        before = set(venv.run(code).split())
        venv.install(self.workshop.ours, editable=False)
        self.assertEqual({'nova_containervm', 'nova_containervm.loader'},
                         set(venv.run(code).split()) - before)


class ArchivesTest(unittest.TestCase):
    """Wheel and source archive hold what is in the repository."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.path = pathlib.Path(tempfile.mkdtemp(prefix='containervm-pkg-'))
        cls.addClassCleanup(shutil.rmtree, cls.path)
        cls.clone = cls.path / 'clone'
        # Shallow and without tags, as CI systems have it.
        run('git', 'clone', '-q', '--depth', '1', ROOT.as_uri(), cls.clone)
        cls.tracked = set(run('git', '-C', cls.clone, 'ls-files').split())

    def _wheel(self, source):
        out = pathlib.Path(tempfile.mkdtemp(dir=self.path))
        run(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps',
            '--no-build-isolation', '-w', out, source)
        wheel, = out.glob('*.whl')
        with zipfile.ZipFile(wheel) as archive:
            self.assertIsNone(archive.testzip())
            return archive.namelist()

    def _sdist(self):
        code = ('import sys; sys.path.insert(0, "tools/packaging")\n'
                'import containervm_build as b; b.build_sdist(%r)')
        run(sys.executable, '-c', code % str(self.path), cwd=self.clone)
        archive, = self.path.glob('*.tar.gz')
        return archive

    def _check_wheel(self, names):
        package = {n for n in self.tracked
                   if n.startswith('nova_containervm/')}
        self.assertEqual(set(), package - set(names))
        self.assertEqual([], [n for n in names if n.startswith('nova/')])
        top = {n.split('/')[0] for n in names}
        self.assertEqual(
            {'nova_containervm', 'nova-containervm.pth'},
            {n for n in top if not n.endswith(('.dist-info', '.data'))})
        self.assertEqual(len(names), len(set(names)))

    def test_wheel(self):
        self._check_wheel(self._wheel(self.clone))

    def test_sdist_and_wheel_from_it(self):
        archive = self._sdist()
        with tarfile.open(archive) as tar:
            names = {m.name.split('/', 1)[1] for m in tar if '/' in m.name}
        # pbr leaves these out.
        self.assertEqual(set(), self.tracked - names - {
            '.gitignore', '.gitreview'})
        self._check_wheel(self._wheel(archive))
