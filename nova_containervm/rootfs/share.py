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

"""What the transports have in common that share a directory of this host."""

import os

from oslo_utils import fileutils

from nova_containervm.guest import contract
from nova_containervm.privsep import limits
from nova_containervm.privsep import mounts
from nova_containervm.rootfs import base

#: What the guest mounts. Not "rootfs": with that as a mount's source busybox
#: takes it for the kernel's first mount, and its df knows of no "/".
TAG = contract.ROOTFS_TAG
# Of domains that were defined by an older release
_TAGS = (TAG, 'rootfs')


def is_rootfs(device):
    """Whether a filesystem device of a domain is a container's root."""
    return (device.target_dir in _TAGS and
            os.path.basename(device.source_dir or '') == base.DIRECTORY)


class ShareRootfs(base.Rootfs):
    """A share of ``<instance_dir>/rootfs``.

    Writable layer ``disk``: the layers of the image, read-only. Writable
    layer ``share``: the same with a writable directory above them, or a copy,
    and a limit for what is written there.
    """

    def __init__(self, instance_dir, choices):
        super().__init__(instance_dir, choices)
        self.file = self.private + '.img'

    @property
    def readonly(self):
        """Whether the guest may only read what is shared."""
        return self.choices.writable_layer == 'disk'

    def prepare(self, image, room):
        if mounts.is_mounted(self.path):
            return
        fileutils.ensure_tree(self.path)
        layers_dir, names = _layers(image)
        if not self.readonly:
            self.open_private(room)
        if self.readonly:
            mounts.mount_image(self.path, layers_dir, names)
        elif self.choices.share_provisioning == 'overlay':
            mounts.mount_writable_image(self.path, layers_dir, names,
                                        self.private)
        else:
            mounts.mount_copied_image(
                self.path, layers_dir, names, self.private,
                self.choices.share_provisioning == 'reflink')

    def open_private(self, room):
        if self.choices.share_limit == 'file':
            limits.mount_file(self.file, self.private, room)
        elif self.choices.share_limit == 'project':
            limits.limit_directory(self.private, room)

    def release(self):
        if os.path.isdir(self.path):
            mounts.unmount(self.path)
        if self.choices.share_limit == 'file' and os.path.isdir(self.private):
            limits.unmount_file(self.private)

    def remove(self):
        self.release()
        if os.path.isdir(self.private):
            if self.choices.share_limit == 'project':
                limits.release_directory(self.private)
            mounts.remove_private(self.private)
        if self.choices.share_limit == 'file':
            limits.remove_file(self.file)

    def needs(self, image):
        if (self.readonly or self.choices.share_limit == 'none' or
                self.choices.share_provisioning == 'overlay'):
            return 0
        # Files take whole blocks, and an inode each.
        return image.size + 4096 * image.entries

    def room(self):
        try:
            if self.readonly or self.choices.share_limit == 'none':
                return 0
            if self.choices.share_limit == 'project':
                return limits.room_in_directory(self.private)
            info = os.stat(self.file)
            return max(0, info.st_size - info.st_blocks * 512)
        except FileNotFoundError:
            return 0  # not yet prepared, or just being removed

    def contract(self):
        return {'transport': self.choices.rootfs_transport,
                'rootfs_tag': TAG, 'writable': self.choices.writable_layer}


def _layers(image):
    """Split the layer directories of an image into their parent and names."""
    parents = {os.path.dirname(os.path.dirname(d)) for d in image.layer_dirs}
    if len(parents) != 1:
        raise ValueError('layers of %s are not in one directory' %
                         image.image_id)
    return parents.pop(), [os.path.basename(os.path.dirname(d))
                           for d in image.layer_dirs]
