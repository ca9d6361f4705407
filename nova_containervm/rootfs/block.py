#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Transport ``block``: the image as a disk that all its servers share."""

import os

from nova.virt.libvirt import config as vconfig

from nova_containervm.rootfs import base

# In the instance directory. Nova takes names that begin so for a server's
# own, and the domain places such disks where they need no port.
LINK = 'disk.rootfs'

# virtio-blk takes 20 characters.
SERIAL = 'containervm-rootfs'


def is_rootfs(path):
    """Whether a disk of a domain is a container's root, by its path."""
    return isinstance(path, str) and os.path.basename(path) == LINK


class BlockRootfs(base.Rootfs):
    """The disk of the image store, read-only, by a link to it.

    QEMU reads it through this host's page cache (``cache=writeback``; nothing
    is ever written), so that what one server has read is there for the next.
    """

    savable = True

    def __init__(self, instance_dir, choices):
        super().__init__(instance_dir, choices)
        self.link = os.path.join(instance_dir, LINK)

    def prepare(self, image, room):
        staging = self.link + '.new'
        if os.path.lexists(staging):
            os.unlink(staging)
        os.symlink(image.disk, staging)
        os.rename(staging, self.link)

    def open_private(self, room):
        """There is none; see :meth:`base.Rootfs.open_private`."""

    def release(self):
        """Nothing is held; see :meth:`base.Rootfs.release`."""

    def remove(self):
        if os.path.lexists(self.link):
            os.unlink(self.link)

    def devices(self):
        disk = vconfig.LibvirtConfigGuestDisk()
        disk.source_type = 'file'
        disk.source_device = 'disk'
        disk.source_path = self.link
        disk.driver_name = 'qemu'
        disk.driver_format = 'raw'
        disk.driver_cache = 'writeback'
        disk.target_dev = 'vdy'
        disk.target_bus = 'virtio'
        disk.serial = SERIAL
        disk.readonly = True
        disk.shareable = True
        return [disk]

    def contract(self):
        return {'transport': 'block', 'rootfs_serial': SERIAL,
                'writable': 'disk'}
