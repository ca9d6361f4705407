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

from lxml import etree
from nova.virt.libvirt import config as vconfig

from nova_containervm.rootfs import share


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


class NinePRootfs(share.ShareRootfs):
    """A share that QEMU itself serves."""

    def devices(self):
        return [LibvirtConfigGuest9p(
            self.path, share.TAG, self.choices.share_access_mode,
            readonly=self.readonly)]
