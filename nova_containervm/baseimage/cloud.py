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


"""Builds the cloud base VM image: Debian with systemd and cloud-init.

It boots as a disk only, like any cloud image, and knows nothing of
containers: what starts one comes on the config drive, as vendor-data. It is
here for those who cannot find a cloud image whose kernel has 9p (Debian's
cloud kernel has none), and for tests.
"""

import pathlib
import re
import shlex

from nova_containervm.baseimage import apt
from nova_containervm.baseimage import disk
from nova_containervm.baseimage import errors
from nova_containervm.baseimage import ext4dir
from nova_containervm.baseimage import files
from nova_containervm.baseimage import manifest
from nova_containervm.baseimage import tools

TOOLS = ('apt-get', 'debugfs', 'dumpe2fs', 'mcopy', 'mformat', 'mke2fs',
         'mmdebstrap', 'qemu-img', 'syslinux', 'tar')
BUILD_PACKAGES = ('apt', 'e2fsprogs', 'mmdebstrap', 'mtools', 'qemu-utils',
                  'syslinux', 'syslinux-common', 'tar', 'uidmap',
                  'util-linux')

PACKAGES = (
    'cloud-guest-utils',  # growpart
    'cloud-init',
    'dbus',               # logind, which handles the power button, needs it
    'e2fsprogs',
    'initramfs-tools',
    'iproute2',
    'kmod',
    'linux-image-amd64',  # the generic kernel: the cloud one has no 9p
    'systemd-resolved',
    'systemd-sysv',
    'udev',
)

ROOT_LABEL = 'containervm-root'
# no_timer_check, cryptomgr.notests: see minimal.py.
CMDLINE = (f'root=LABEL={ROOT_LABEL} ro console=ttyS0 quiet loglevel=3 '
           'systemd.show_status=false panic=1 oops=panic no_timer_check '
           'cryptomgr.notests')

_SUITE = 'bookworm'

# Not needed by a VM that runs one container, and more than half of the image.
_EXCLUDED = (
    '/usr/share/doc/*', '/usr/share/info/*', '/usr/share/locale/*',
    '/usr/share/man/*',
    *(f'/lib/modules/*/kernel/{name}/*' for name in (
        'drivers/bluetooth', 'drivers/gpu', 'drivers/hwmon', 'drivers/iio',
        'drivers/infiniband', 'drivers/media', 'drivers/mtd',
        'drivers/net/ethernet', 'drivers/net/wireless', 'drivers/staging',
        'drivers/usb', 'net/bluetooth', 'net/mac80211', 'net/wireless',
        'sound')),
)

# The initramfs needs no more to find and mount the root file system.
_INITRAMFS_MODULES = 'virtio_pci\nvirtio_blk\next4\n'
_INITRAMFS_CONF = 'MODULES=list\nCOMPRESS=gzip\nRESUME=none\n'

_MASKED_UNITS = ('apt-daily.timer', 'apt-daily-upgrade.timer',
                 'dpkg-db-backup.timer', 'e2scrub_all.timer',
                 'e2scrub_reap.service', 'fstrim.timer', 'getty@tty1.service',
                 # The serial port is the container's console.
                 'serial-getty@ttyS0.service')

_SYSLINUX_CFG = """\
DEFAULT linux
PROMPT 0
TIMEOUT 0
LABEL linux
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND {cmdline}
"""

_KERNEL = re.compile(r'^boot/vmlinuz-(\S+)$')


def build(output, cache, progress, *, sources=None, packages_dir=None):
    """Build the image.

    :param output: directory to fill; made if missing.
    :param cache: directory for packages, kept.
    :param progress: called with one line of text a step.
    :param sources: text for sources.list in place of the host's.
    :param packages_dir: not possible for this type.
    :raises BuildError: anything that goes wrong.
    """
    if packages_dir:
        raise errors.BuildError('--packages is not for the type cloud')
    tools.require(TOOLS)
    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)
    with tools.scratch() as name:
        work = pathlib.Path(name)
        progress('installing packages (mmdebstrap)')
        _bootstrap(work, pathlib.Path(cache).absolute(),
                   sources or apt.host_sources(_SUITE))
        progress('making the root file system')
        parts = ext4dir.from_tar(work / 'root.tar', work / 'root.img',
                                 ROOT_LABEL, _wanted)
        version, vmlinuz, initrd = _boot_files(parts)
        progress('making the disk')
        disk.make_fat(work / 'boot.img', {
            'vmlinuz': vmlinuz, 'initrd.img': initrd,
            'syslinux.cfg': _SYSLINUX_CFG.format(cmdline=CMDLINE).encode()})
        size = disk.assemble(work / 'disk.raw', work / 'boot.img',
                             work / 'root.img')
        disk.to_qcow2(work / 'disk.raw', work / 'base.qcow2', compress=True)
        files.install(work / 'base.qcow2', output / 'base.qcow2')
    manifest.write(output, {
        'type': 'cloud',
        'contract': [1],
        'architecture': 'x86_64',
        'disk': manifest.describe_file(output / 'base.qcow2', format='qcow2',
                                       virtual_size=size),
        'kernel_version': version,
        'cmdline': CMDLINE,
        'boot_methods': ['disk'],
        'runtimes': ['chroot'],
        'transports': ['9p', 'virtiofs', 'block'],
        'packages': _versions(parts),
    })
    progress('done')


def _bootstrap(work, cache, sources):
    """Run mmdebstrap: root.tar in *work*, packages kept in *cache*."""
    archives = shlex.quote(str(cache / 'archives'))
    (cache / 'archives').mkdir(parents=True, exist_ok=True)
    overlay = shlex.quote(
        str(pathlib.Path(__file__).resolve().parent / 'cloudfiles' / 'etc'))
    write = '--essential-hook=printf %s {} > "$1/etc/initramfs-tools/{}"'
    options = [f'--dpkgopt=path-exclude={path}' for path in _EXCLUDED]
    options += [
        '--variant=minbase', '--architectures=amd64', '--format=tar',
        '--aptopt=Apt::Install-Recommends "false"',
        '--include=' + ','.join(PACKAGES),
        # Downloads are kept between builds.
        '--skip=download/empty', '--skip=essential/unlink',
        '--setup-hook=mkdir -p "$1/var/cache/apt/archives"',
        f'--setup-hook=sync-in {archives} /var/cache/apt/archives',
        f'--customize-hook=sync-out /var/cache/apt/archives {archives}',
        # Before the kernel's package makes its initramfs.
        '--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d"',
        write.format(shlex.quote(_INITRAMFS_CONF), 'conf.d/containervm'),
        write.format(shlex.quote(_INITRAMFS_MODULES), 'modules'),
        f'--customize-hook=copy-in {overlay} /',
        '--customize-hook=chroot "$1" systemctl enable systemd-networkd',
        '--customize-hook=chroot "$1" systemctl mask '
        + ' '.join(_MASKED_UNITS),
        '--customize-hook=rm -f "$1/etc/hostname"',
    ]
    tools.run(['mmdebstrap', '--quiet', *options, _SUITE, work / 'root.tar',
               '-'], data=sources.encode())


def _wanted(name):
    """Whether the builder wants the content of a file of the tree."""
    return name == 'var/lib/dpkg/status' or name.startswith('boot/')


def _boot_files(parts):
    versions = [m.group(1) for m in map(_KERNEL.match, parts) if m]
    if len(versions) != 1:
        raise errors.BuildError(f'kernels {versions}: exactly one expected')
    version = versions[0]
    return (version, parts[f'boot/vmlinuz-{version}'],
            parts[f'boot/initrd.img-{version}'])


def _versions(parts):
    found = {}
    for block in parts['var/lib/dpkg/status'].decode().split('\n\n'):
        fields = dict(line.split(': ', 1) for line in block.splitlines()
                      if ': ' in line and not line.startswith(' '))
        if fields.get('Status', '').endswith(' installed'):
            found[fields['Package']] = fields['Version']
    return found
