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

"""Packs the Python with which a bootable disk's guest reads its metadata.

A squashfs, mounted for a moment while the guest boots: the interpreter, its
library without what no program at boot needs, PyYAML, and the part of this
package that makes contracts (guest/stock).
"""

import io
import os
import pathlib
import re
import shutil
import tarfile

from nova_containervm.baseimage import elf
from nova_containervm.baseimage import errors
from nova_containervm.baseimage import tools

#: The package whose dependencies bring an interpreter, and which of them are
#: used; the others are for what is left out here.
PACKAGE = 'python3-yaml'
_USED = re.compile(r'libc6|libexpat1|zlib1g|python3-yaml|'
                   r'python3\.\d+-minimal|libpython3\.\d+-(minimal|stdlib)')

INTERPRETER = 'usr/bin/python3'
#: Where init/bootable.c mounts things.
MOUNT_POINTS = ('dev', 'drive', 'output')

_EXCLUDED = frozenset((
    '__phello__', '__pycache__', 'asyncio', 'concurrent', 'ctypes', 'curses',
    'dbm', 'distutils', 'ensurepip', 'idlelib', 'lib2to3', 'multiprocessing',
    'pydoc_data', 'sqlite3', 'test', 'tkinter', 'tomllib', 'turtledemo',
    'unittest', 'venv', 'wsgiref', 'xml', 'xmlrpc', 'zoneinfo'))
OWN = ('__init__.py', 'guest/*.py', 'guest/stock/*.py', 'images/__init__.py',
        'images/diskfile.py', 'images/errors.py', 'images/limits.py')
_SOURCE = pathlib.Path(__file__).resolve().parent.parent
_LIBRARY_DIRS = ('lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu')
_BLOCK = 131072


def versions(apt):
    """Versions of the packages that are used.

    :param apt: an apt.Apt.
    :returns: ``{package: version}``.
    """
    return {name: version for name, version in
            apt.closure([PACKAGE]).items() if _USED.fullmatch(name)}


def build(root, work, target):
    """Write the squashfs.

    :param root: directory where the packages are unpacked.
    :param work: directory for temporary files.
    :param target: path of the file to make.
    :raises BuildError: a package is missing, or a tool fails.
    """
    root, work = pathlib.Path(root), pathlib.Path(work)
    names = sorted(p.name for p in (root / 'usr/bin').glob('python3.*')
                   if re.fullmatch(r'python3\.\d+', p.name))
    if len(names) != 1:
        raise errors.BuildError(f'interpreters {names}: exactly one expected')
    library = f'usr/lib/{names[0]}'
    tree = work / 'python'
    _copy_library(root, tree / library)
    files = {INTERPRETER: (root / 'usr/bin' / names[0]).read_bytes()}
    _add_libraries(files, root, INTERPRETER)
    for name in _extensions(tree):
        files[name] = (tree / name).read_bytes()
        _add_libraries(files, root, name)
    _compile(root, names[0], tree)
    for path in tree.rglob('*.pyc'):
        files[str(path.relative_to(tree))] = path.read_bytes()
    archive = work / 'python.tar'
    _write_tar(archive, files)
    with open(archive, 'rb') as source:
        tools.run(['tar2sqfs', '--quiet', '--no-skip', '--force',
                   '--compressor', 'zstd', '--comp-extra', 'level=15',
                   '--block-size', str(_BLOCK), target], data=source.read())
    archive.unlink()
    shutil.rmtree(tree)


def _copy_library(root, target):
    """The interpreter's library, PyYAML and our modules, in one place."""
    def excluded(directory, names):
        return {n for n in names if n in _EXCLUDED or n.startswith('config-')}

    shutil.copytree(root / 'usr/lib' / target.name, target, ignore=excluded,
                    symlinks=True)
    yaml = root / 'usr/lib/python3/dist-packages/yaml'
    if not yaml.is_dir():
        raise errors.BuildError(f'{yaml}: in none of the packages')
    # Its extension would bring a library along.
    shutil.copytree(yaml, target / 'yaml',
                    ignore=shutil.ignore_patterns('*.so', '__pycache__'))
    for pattern in OWN:
        for source in sorted(_SOURCE.glob(pattern)):
            copy = target / 'nova_containervm' / source.relative_to(_SOURCE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())


def _extensions(tree):
    """Names of the C extensions whose libraries are few and there."""
    return [str(p.relative_to(tree)) for p in sorted(tree.rglob('*.so'))
            if set(elf.Elf(p.read_bytes(), p.name).needed()) <= {
                'libc.so.6', 'libm.so.6'}]


def _add_libraries(files, root, name):
    """Add what a program or an extension links against."""
    info = elf.Elf(files[name], name)
    loader = info.interpreter()
    if loader:
        loader = loader.lstrip('/')
        files.setdefault(loader, (root / loader).read_bytes())
    for wanted in info.needed():
        path = f'lib/x86_64-linux-gnu/{wanted}'
        if path in files or wanted.startswith('ld-linux'):
            continue
        for directory in _LIBRARY_DIRS:
            if (root / directory / wanted).exists():
                files[path] = (root / directory / wanted).read_bytes()
                _add_libraries(files, root, path)
                break
        else:
            raise errors.BuildError(f'{name} needs {wanted}: not unpacked')


def _compile(root, interpreter, tree):
    """Compile all, by the interpreter that is to run it; sources go."""
    program = root / 'usr/bin' / interpreter
    loader = elf.Elf(program.read_bytes(), interpreter).interpreter()
    tools.run([root / loader.lstrip('/'), '--library-path',
               ':'.join(str(root / d) for d in _LIBRARY_DIRS), program, '-SB',
               '-m', 'compileall', '-q', '-b', '-j', '1',
               '--invalidation-mode', 'unchecked-hash', '-s', tree, tree],
              env=tools.environment(PYTHONHOME=str(root / 'usr'),
                                    PYTHONHASHSEED='0'))
    for path in tree.rglob('*.py'):
        path.unlink()


def _write_tar(path, files):
    """All of it root's, and as old as everything."""
    directories = {str(parent) for name in files
                   for parent in pathlib.PurePath(name).parents
                   if parent.name} | set(MOUNT_POINTS)
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as archive:
        for name in ('.', *sorted(directories)):
            entry = _entry(name, 0o755)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for name, content in sorted(files.items()):
            program = name == INTERPRETER or '/ld-' in name
            entry = _entry(name, 0o755 if program else 0o644)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _entry(name, mode):
    entry = tarfile.TarInfo(os.path.join('.', name) if name != '.' else './')
    entry.mode, entry.mtime = mode, tools.epoch()
    return entry
