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

"""Makes a disk bootable: kernel, init and room for writes around a container.

The disk has four partitions::

    1  FAT16: boot loader, kernel, initramfs      of the base
    2  squashfs: Python, makes the contract       of the base
    3  the container's root filesystem, and its description
    4  ext4: what the container writes            of the base, empty

The third is just what is otherwise a disk by itself (images/diskfile.py). The
last is grown to the end of the disk whenever the server boots.
"""

import os
import tempfile

from nova_containervm.baseimage import bootable as base_lib
from nova_containervm.baseimage import disk as disk_lib
from nova_containervm.baseimage import errors as base_errors
from nova_containervm.baseimage import manifest
from nova_containervm.baseimage import tools as base_tools
from nova_containervm.convert import errors
from nova_containervm.guest import errors as guest_errors
from nova_containervm.guest import overrides
from nova_containervm.guest.stock import main as stock
from nova_containervm.images import diskfile

#: Where the base is looked for.
BASE = '/var/lib/nova-containervm/bootable'
ARCHITECTURE = 'amd64'
_PARTS = 3


def check_base(directory):
    """Whether there is a base, and whole.

    :raises ConvertError: what is wrong with it
    """
    remedy = ('make one with: nova-containervm-baseimage build --type '
              'bootable --output %s' % directory)
    if not os.path.isdir(directory):
        raise errors.ConvertError('there is no %s; %s' % (directory, remedy))
    try:
        kind = manifest.verify(directory)['type']
    except base_errors.BuildError as exc:
        raise errors.ConvertError('%s; %s' % (exc, remedy))
    if kind != base_lib.TYPE:
        raise errors.ConvertError('%s has a base VM image of type %s; %s' % (
            directory, kind, remedy))


def properties(given):
    """Overrides that are to be in the disk.

    :param given: list of NAME=VALUE
    :returns: dict
    :raises ConvertError: one is no override, or makes no sense
    """
    found = {}
    for entry in given:
        name, equals, value = entry.partition('=')
        if not equals or not name.startswith(overrides.PREFIX):
            raise errors.ConvertError(
                '--property %s: it takes %sNAME=VALUE' % (
                    entry, overrides.PREFIX))
        found[name] = value
    try:
        overrides.parse(image=found)
    except guest_errors.InvalidOverride as exc:
        raise errors.ConvertError(str(exc))
    return found


def check(source, given):
    """Refuse an image that would not run.

    :param source: source.Source
    :param given: what :func:`properties` returns
    :raises ConvertError: why not
    """
    if source.architecture != ARCHITECTURE:
        raise errors.ConvertError(
            'the image is for %s, and bootable disks are for %s' % (
                source.architecture, ARCHITECTURE))
    about = diskfile.Description(None)
    about.config, about.properties = source.config, given
    about.passwd, about.group = source.passwd, source.group
    try:
        stock.check(about)
    except guest_errors.ContractError as exc:
        raise errors.ConvertError('%s; give what is missing with --property'
                                  % exc)


def assemble(directory, container, target):
    """Write a bootable raw disk.

    :param directory: of the base
    :param container: path of a raw disk with a description
    :param target: path of the file to make
    :returns: its size in bytes
    :raises ConvertError: the base is not what it should be
    """
    base = os.path.join(directory, manifest.read(directory)['disk']['file'])
    with tempfile.TemporaryDirectory(prefix='base-', dir=os.path.dirname(
            target)) as work:
        raw = os.path.join(work, 'raw')
        base_tools.run(['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw',
                        base, raw])
        parts = []
        with open(raw, 'rb') as disk:
            code, disk_id, found = disk_lib.partitions_of(disk)
            if len(found) != _PARTS:
                raise errors.ConvertError('%s has %d partitions, not %d' % (
                    base, len(found), _PARTS))
            for number, (offset, size) in enumerate(found):
                parts.append(os.path.join(work, str(number)))
                with open(parts[-1], 'wb') as part:
                    disk.seek(offset)
                    disk_lib.copy_sparse(disk, part, 0, size)
                    part.truncate(size)
        os.unlink(raw)
        boot, setup, writable = parts
        return disk_lib.assemble(target, boot, setup, container, writable,
                                 disk_id=disk_id, boot_code=code)
