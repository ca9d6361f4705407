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

"""Transport ``9p``: a host directory, shared by QEMU's 9p server."""

import os

from lxml import etree
from nova.virt.libvirt import config as vconfig
from oslo_utils import fileutils

from nova_containervm.privsep import mounts
from nova_containervm.rootfs import base

TAG = 'rootfs'


class LibvirtConfigGuest9p(vconfig.LibvirtConfigGuestFilesys):
    """A 9p share with what Nova's class does not write.

    ``multidevs='remap'`` keeps inode numbers unique although the export is a
    union of several layers, which may lie on several filesystems.
    """

    def __init__(self, source_dir, tag, accessmode, readonly):
        super().__init__()
        self.source_dir = source_dir
        self.target_dir = tag
        self.accessmode = accessmode
        self.readonly = readonly

    def format_dom(self):
        dev = super().format_dom()
        dev.set('multidevs', 'remap')
        if self.readonly:
            dev.append(etree.Element('readonly'))
        return dev


def is_rootfs(device):
    """Whether a filesystem device of a domain is a container's root."""
    return (device.target_dir == TAG and
            os.path.basename(device.source_dir or '') == base.DIRECTORY)


class NinePRootfs(base.Rootfs):
    """A share of ``<instance_dir>/rootfs``.

    Writable layer ``disk``: the layers of the image, read-only. Writable
    layer ``share``: the same with a writable directory above them, or a copy.
    """

    def prepare(self, image):
        if mounts.is_mounted(self.path):
            return
        fileutils.ensure_tree(self.path)
        layers_dir, names = _layers(image)
        if self.choices.writable_layer == 'disk':
            mounts.mount_image(self.path, layers_dir, names)
        elif self.choices.share_provisioning == 'overlay':
            mounts.mount_writable_image(self.path, layers_dir, names,
                                        self.private)
        else:
            mounts.mount_copied_image(
                self.path, layers_dir, names, self.private,
                self.choices.share_provisioning == 'reflink')

    def release(self):
        if os.path.isdir(self.path):
            mounts.unmount(self.path)

    def remove(self):
        self.release()
        if os.path.isdir(self.private):
            mounts.remove_private(self.private)

    def devices(self):
        return [LibvirtConfigGuest9p(
            self.path, TAG, self.choices.share_access_mode,
            readonly=self.choices.writable_layer == 'disk')]

    def contract(self):
        return {'transport': '9p', 'rootfs_tag': TAG,
                'writable': self.choices.writable_layer}


def _layers(image):
    """Split the layer directories of an image into their parent and names."""
    parents = {os.path.dirname(os.path.dirname(d)) for d in image.layer_dirs}
    if len(parents) != 1:
        raise ValueError('layers of %s are not in one directory' %
                         image.image_id)
    return parents.pop(), [os.path.basename(os.path.dirname(d))
                           for d in image.layer_dirs]
