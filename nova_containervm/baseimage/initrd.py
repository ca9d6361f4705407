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

"""What goes into the minimal image's initramfs."""

import pathlib

from nova_containervm.baseimage import cpio
from nova_containervm.baseimage import elf
from nova_containervm.baseimage import errors
from nova_containervm.baseimage import modules
from nova_containervm.baseimage import standin

# Kernel modules by the moment the init wants them. "early" is loaded before
# the contract is read; of the others only what the contract asks for. The
# crc32c entries are soft dependencies of ext4 (its .modinfo names an alias).
MODULE_GROUPS = {
    'early': ('virtio_pci', 'virtio_blk', 'isofs', 'virtio_console',
              'button', 'evdev'),
    'disk': ('crc32c_generic', 'crc32c_intel', 'ext4', 'overlay'),
    'net': ('virtio_net',),
    '9p': ('9pnet_virtio', '9p'),
    'virtiofs': ('virtiofs',),
    'block': ('crc32c_generic', 'crc32c_intel', 'erofs', 'squashfs', 'ext4',
              'overlay'),
    'late': ('virtio_rng', 'virtio_balloon'),
    'kvm': ('ptp_kvm',),
}

# The file of a module is not always called after it.
_FILE_NAMES = {'virtio_rng': 'virtio-rng'}

# Programs, by the package that has them: (path in the package, path in the
# initramfs).
PROGRAMS = (
    ('bin/busybox', 'bin/busybox'),
    ('usr/bin/crun', 'bin/crun'),
    ('sbin/mke2fs', 'sbin/mke2fs'),
)
BUSYBOX_LINKS = ('sh', 'ip', 'udhcpc')

_LIBRARY_DIRS = ('lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu', 'lib64')

MODULE_LIST = 'etc/containervm/modules'
# What the init removes before it starts the container: the kernel modules,
# programs of the boot, and libraries that only those use.
BOOT_ONLY_LIST = 'etc/containervm/boot-only'
_RUN_TIME_PROGRAMS = ('bin/crun', 'bin/busybox')


def build(root, work, kernel_version, init, files, mtime, outside=(),
          groups=None):
    """Return the initramfs as bytes.

    :param root: directory where the packages are unpacked.
    :param work: directory for temporary files.
    :param kernel_version: directory name below lib/modules.
    :param init: bytes of the guest init.
    :param files: ``{path in the initramfs: (bytes, mode)}`` to add.
    :param mtime: time stamp of all entries.
    :param outside: programs below *root* that are kept elsewhere; what they
        link against is in the initramfs.
    :param groups: in place of `MODULE_GROUPS`.
    """
    root, work = pathlib.Path(root), pathlib.Path(work)
    archive = cpio.Archive(mtime)
    for path in ('dev', 'proc', 'sys', 'run', 'tmp'):
        archive.directory(path)
    # The kernel opens /dev/console for PID 1 before any init could mount
    # devtmpfs; without it, init starts with no standard files at all.
    archive.chardev('dev/console', 5, 1)
    archive.file('init', init, 0o755)
    libraries = {standin.SONAME: standin.build(root / 'usr/bin/crun', work)}
    keep, boot_only = set(), set()
    for source, target in PROGRAMS:
        paths = _add_program(archive, root, source, target, libraries)
        (keep if target in _RUN_TIME_PROGRAMS else boot_only).update(paths)
    for source in outside:
        keep |= _add_libraries(archive, root, source, libraries)
    _check_program(root, work, 'usr/bin/crun', libraries)
    for name in BUSYBOX_LINKS:
        archive.symlink(f'bin/{name}', 'busybox')
    for path, (content, mode) in files.items():
        archive.file(path, content, mode)
    boot_only |= _add_modules(archive, work,
                              root / 'lib/modules' / kernel_version,
                              groups or MODULE_GROUPS)
    archive.file(BOOT_ONLY_LIST, ''.join(
        f'/{path}\n' for path in sorted(boot_only - keep)).encode())
    return archive.build()


def _add_program(archive, root, source, target, libraries):
    """Add a program and what it links against; fill *libraries* with those.

    *libraries* is ``{name: bytes}``; what is there already is used.

    :returns: set of the paths that the program needs, its own included.
    """
    archive.file(target, _read(root, source), 0o755)
    return {target} | _add_libraries(archive, root, source, libraries)


def _add_libraries(archive, root, source, libraries):
    """Add what a program links against; see `_add_program`."""
    paths = set()
    info = elf.Elf(_read(root, source), source)
    loader = info.interpreter()
    if loader:
        loader = loader.lstrip('/')
        archive.file(loader, _read(root, loader), 0o755)
        paths.add(loader)
    queue = info.needed()
    while queue:
        name = queue.pop()
        target = f'lib/x86_64-linux-gnu/{name}'
        if name.startswith('ld-linux') or target in paths:
            continue
        paths.add(target)
        if name not in libraries:
            libraries[name] = _find_library(root, source, name)
        archive.file(target, libraries[name], 0o644)
        queue += elf.Elf(libraries[name], name).needed()
    return paths


def _find_library(root, program, name):
    for directory in _LIBRARY_DIRS:
        if (root / directory / name).exists():
            return _read(root, f'{directory}/{name}')
    raise errors.BuildError(f'{program} needs {name}: not unpacked')


def _check_program(root, work, source, libraries):
    """Check that *source* has all its symbols, by running it."""
    directory = work / 'libraries'
    directory.mkdir()
    for name, data in libraries.items():
        (directory / name).write_bytes(data)
    info = elf.Elf(_read(root, source), source)
    standin.check(root / source, root / info.interpreter().lstrip('/'),
                  directory)


def _read(root, path):
    """Read *path* below *root*, through links that are relative."""
    try:
        return (root / path).read_bytes()
    except FileNotFoundError:
        raise errors.BuildError(f'{path}: in none of the packages') from None


def _add_modules(archive, work, tree_root, wanted):
    """Add the modules and the list that tells the init their order.

    :returns: set of their paths.

    A line of the list is "<group> <file>", dependencies first. What group
    "early" has is there when another is loaded, so it is listed there only;
    a module that several of the others need is listed in each (loading it
    again costs the init a moment, and gives EEXIST).
    """
    tree = modules.ModuleTree(tree_root)
    groups = {group: tree.order([_FILE_NAMES.get(n, n) for n in names])
              for group, names in wanted.items()}
    lines, slim = [], {}
    for group, names in groups.items():
        for name in names:
            if group != 'early' and name in groups['early']:
                continue
            if name not in slim:
                slim[name] = modules.slim(tree.content(name), work)
            archive.file(f'lib/modules/{name}.ko', slim[name])
            lines.append(f'{group} {name}.ko\n')
    archive.file(MODULE_LIST, ''.join(lines).encode())
    return {f'lib/modules/{name}.ko' for name in slim}
