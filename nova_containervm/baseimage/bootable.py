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

"""Builds what all bootable disks have in common: kernel, init, and Python.

"nova-containervm-image convert --bootable" puts a container in between. The
disk then boots on a host that knows nothing of containers, so its guest does
what the driver does elsewhere: it makes its contract (guest/stock).
"""

import pathlib

from nova_containervm.baseimage import apt
from nova_containervm.baseimage import disk
from nova_containervm.baseimage import files
from nova_containervm.baseimage import guestinit
from nova_containervm.baseimage import initrd
from nova_containervm.baseimage import manifest
from nova_containervm.baseimage import minimal
from nova_containervm.baseimage import pythontree
from nova_containervm.baseimage import tools

TYPE = 'bootable'
FILE_NAME = 'base.qcow2'
TOOLS = (*minimal.TOOLS, 'tar2sqfs')
BUILD_PACKAGES = tuple(sorted((*minimal.BUILD_PACKAGES,
                               'squashfs-tools-ng')))

# Of init/bootable.c, which finds its disk by it.
DISK_ID = 0xC0A7B007
# What other hosts give a guest for disks and the config drive: virtio's SCSI,
# IDE and SATA.
MODULE_GROUPS = {
    **{name: initrd.MODULE_GROUPS[name]
       for name in ('early', 'disk', 'net', 'block', 'late', 'kvm')},
    'stock': ('virtio_scsi', 'ata_piix', 'ahci', 'sd_mod', 'sr_mod'),
}
CMDLINE = minimal.CMDLINE + ' containervm.bootable'


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
        debs = minimal.packages(cache, progress, sources, packages_dir,
                                pythontree.versions)
        root = minimal.unpack(debs, work, progress)
        version = minimal.kernel_version(root)
        progress('compiling the guest init')
        guestinit.build(work / 'init')
        progress('making the initramfs')
        archive = initrd.build(
            root, work, version, (work / 'init').read_bytes(),
            minimal.extra_files(root), tools.epoch(), groups=MODULE_GROUPS)
        progress('packing Python')
        pythontree.build(root, work, work / 'setup.img')
        progress('making the disk')
        vmlinuz = (root / 'boot' / f'vmlinuz-{version}').read_bytes()
        minimal.make_partitions(work, vmlinuz, archive, CMDLINE)
        size = disk.assemble(
            work / 'disk.raw', work / 'boot.img', work / 'setup.img',
            work / 'data.img', disk_id=DISK_ID)
        disk.to_qcow2(work / 'disk.raw', work / FILE_NAME)
        files.install(work / FILE_NAME, output / FILE_NAME)
    manifest.write(output, {
        'type': TYPE,
        'contract': [1],
        'architecture': 'x86_64',
        'disk': manifest.describe_file(output / FILE_NAME, format='qcow2',
                                       virtual_size=size),
        'kernel_version': version,
        'cmdline': CMDLINE,
        'boot_methods': [],
        'runtimes': ['crun'],
        'transports': [],
        'packages': {name: apt.describe(deb)[1]
                     for name, deb in debs.items()},
        'compiler': guestinit.compiler_version(),
    })
    progress('done')
