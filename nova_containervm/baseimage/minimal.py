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

"""Builds the minimal base VM image: kernel, initramfs, and a small disk."""

import pathlib
import re

from nova_containervm.baseimage import apt
from nova_containervm.baseimage import disk
from nova_containervm.baseimage import errors
from nova_containervm.baseimage import files
from nova_containervm.baseimage import guestinit
from nova_containervm.baseimage import initrd
from nova_containervm.baseimage import kernel
from nova_containervm.baseimage import manifest
from nova_containervm.baseimage import tools

# The generic kernel: Debian's cloud kernel has no 9p.
KERNEL_PACKAGE = 'linux-image-amd64'
USERLAND_PACKAGES = ('busybox-static', 'crun', 'e2fsprogs', 'runc')
_KERNEL_IMAGE = re.compile(r'^linux-image-\d\S*-amd64$')

TOOLS = ('debugfs', 'dpkg-deb', 'dumpe2fs', 'gcc', 'mcopy', 'mformat',
         'mke2fs', 'nm', 'objcopy', 'qemu-img', 'syslinux')
BUILD_PACKAGES = ('apt', 'binutils', 'dpkg', 'e2fsprogs', 'gcc',
                  'libc6-dev', 'linux-libc-dev', 'mtools', 'qemu-utils',
                  'syslinux', 'syslinux-common',
                  # The kernel of Debian 13 is packed with it.
                  'zstd')

# runc is five times as large as crun, and used by few. So it is not in the
# initramfs, which is memory of every server, but on the disk of each.
DISK_PROGRAMS = ('usr/sbin/runc',)
PROGRAMS_DIR = 'programs'

WRITABLE_LABEL = 'containervm-rw'
_WRITABLE_SIZE = 64 * disk.MIB

# quiet, loglevel=3: the console is the container's log; what the kernel says
#   below "critical" is kept in its ring buffer only.
# panic=1, oops=panic: a kernel that is not well ends (the domain has
#   on_reboot=destroy) instead of hanging with the port open.
# no_timer_check: without it a kernel on a busy host without KVM, whose QEMU
#   comes too late with the first ticks, panics with "IO-APIC + timer doesn't
#   work". (A kernel that finds itself on KVM sets this by itself.)
# cryptomgr.notests: the self-tests of the algorithms take an eighth of the
#   time until init runs.
# noreplace-smp: no rewriting of lock prefixes in kernel and modules, one by
#   one, on a VM with one processor.
# initcall_blacklist: no tracefs, whose thousands of entries take 8 MB of the
#   guest's memory, mounted or not.
# rootfstype: what the initramfs is unpacked to. The other choice, tmpfs, is
#   one of "files that can be sealed", and crun, which looks at its own file's
#   seals, copies itself and starts again, twice: a tenth of a second.
# nosoftlockup: on a host that is too busy to run the VM, the kernel would
#   complain about that in the middle of the container's output.
CMDLINE = ('console=ttyS0 quiet loglevel=3 panic=1 oops=panic '
           'no_timer_check cryptomgr.notests noreplace-smp '
           'initcall_blacklist=tracer_init_tracefs rootfstype=ramfs '
           'nosoftlockup')

_SYSLINUX_CFG = """\
DEFAULT containervm
PROMPT 0
TIMEOUT 0
LABEL containervm
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND {cmdline}
"""


def build(output, cache, progress, *, sources=None, packages_dir=None):
    """Build the image.

    :param output: directory to fill; made if missing.
    :param cache: directory for apt's lists and packages, kept.
    :param progress: called with one line of text a step.
    :param sources: text for sources.list in place of the host's.
    :param packages_dir: take the .deb files there and use no apt.
    :raises BuildError: anything that goes wrong.
    """
    tools.require(TOOLS if packages_dir else TOOLS + ('apt-get',))
    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)
    with tools.scratch() as name:
        work = pathlib.Path(name)
        debs = packages(cache, progress, sources, packages_dir)
        root = unpack(debs, work, progress)
        version = kernel_version(root)

        progress('compiling the guest init')
        guestinit.build(work / 'init')

        progress(f'extracting kernel {version}')
        vmlinuz = (root / 'boot' / f'vmlinuz-{version}').read_bytes()
        vmlinux = kernel.extract_vmlinux(vmlinuz)

        progress('making the initramfs')
        archive = initrd.build(
            root, work, version, (work / 'init').read_bytes(),
            extra_files(root), tools.epoch(),
            outside=[path for path in DISK_PROGRAMS if (root / path).exists()])

        progress('making the disk')
        make_partitions(work, vmlinuz, archive, CMDLINE)
        programs = _disk_programs(root)
        if programs:
            disk.add_programs(work / 'data.img', PROGRAMS_DIR, programs)
        size = disk.assemble(work / 'disk.raw', work / 'boot.img',
                             work / 'data.img')
        disk.to_qcow2(work / 'disk.raw', work / 'base.qcow2')

        (work / 'vmlinux').write_bytes(vmlinux)
        (work / 'initrd.img').write_bytes(archive)
        for part in ('vmlinux', 'initrd.img', 'base.qcow2'):
            files.install(work / part, output / part)
    manifest.write(output, _manifest(output, version, size, debs))
    progress('done')


def make_partitions(work, vmlinuz, archive, cmdline):
    """Make boot.img, which the BIOS boots, and data.img, for writes.

    :param work: directory for them.
    :param vmlinuz: the kernel, bytes.
    :param archive: the initramfs, bytes.
    """
    config = _SYSLINUX_CFG.format(cmdline=cmdline)
    disk.make_fat(work / 'boot.img', {
        'vmlinuz': vmlinuz, 'initrd.img': archive,
        'syslinux.cfg': config.encode()})
    disk.make_ext4(work / 'data.img', WRITABLE_LABEL, _WRITABLE_SIZE)


def packages(cache, progress, sources, packages_dir, more=lambda apt: {}):
    """Fetch the packages of kernel and initramfs.

    :param more: function of an apt.Apt that returns ``{package: version}`` of
        others.
    :returns: ``{package: Path}``.
    """
    if packages_dir:
        return apt.describe_directory(packages_dir)
    private = apt.Apt(cache, sources)
    progress('reading the package lists')
    private.update()
    versions = private.closure(USERLAND_PACKAGES)
    everything = private.closure([KERNEL_PACKAGE])
    images = [p for p in everything if _KERNEL_IMAGE.match(p)]
    if len(images) != 1:
        raise errors.BuildError(
            f'{KERNEL_PACKAGE} stands for {images}, one kernel expected')
    versions[images[0]] = everything[images[0]]
    versions.update(more(private))
    progress('fetching %d packages' % len(versions))
    return private.download(versions)


def unpack(debs, work, progress):
    """Unpack the packages; return the directory."""
    progress('unpacking %d packages' % len(debs))
    root = work / 'root'
    root.mkdir()
    for deb in debs.values():
        apt.unpack(deb, root)
    apt.merge_usr(root)
    return root


def kernel_version(root):
    """Version of the kernel that is unpacked in *root*."""
    found = sorted(p.name for p in (root / 'lib/modules').iterdir())
    if len(found) != 1:
        raise errors.BuildError(f'kernels {found}: exactly one expected')
    return found[0]


def _disk_programs(root):
    """``{name: bytes}`` of `DISK_PROGRAMS`, where *root* has them."""
    return {pathlib.PurePath(path).name: (root / path).read_bytes()
            for path in DISK_PROGRAMS if (root / path).exists()}


def extra_files(root):
    """``{path: (bytes, mode)}`` of what the initramfs has beside programs."""
    script = guestinit.SOURCE_DIR / 'udhcpc.script'
    return {
        'etc/containervm/udhcpc': (script.read_bytes(), 0o755),
        'etc/mke2fs.conf': ((root / 'etc/mke2fs.conf').read_bytes(), 0o644),
    }


def _manifest(output, version, disk_size, debs):
    return {
        'type': 'minimal',
        'contract': [1],
        'architecture': 'x86_64',
        'disk': manifest.describe_file(output / 'base.qcow2', format='qcow2',
                                       virtual_size=disk_size),
        'kernel': manifest.describe_file(output / 'vmlinux', version=version),
        'initrd': manifest.describe_file(output / 'initrd.img'),
        'cmdline': CMDLINE,
        'boot_methods': ['kernel', 'disk'],
        'runtimes': ['crun', *(['runc'] if 'runc' in debs else []),
                     'chroot'],
        'transports': ['9p', 'virtiofs', 'block'],
        'features': ['agent', 'export', 'image-volumes'],
        'writable_label': WRITABLE_LABEL,
        'packages': {name: apt.describe(deb)[1]
                     for name, deb in debs.items()},
        'compiler': guestinit.compiler_version(),
    }
