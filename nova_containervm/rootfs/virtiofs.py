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

"""Transport ``virtiofs``: a host directory, shared by virtiofsd.

libvirt starts a virtiofsd for each server, as root, which shuts itself into
the shared directory and namespaces of its own before it talks to the guest.
"""

import dataclasses
import glob
import json
import os

from lxml import etree
from nova.virt.libvirt import config as vconfig

from nova_containervm.rootfs import share

#: Where QEMU's helper programs describe themselves (QEMU's
#: docs/interop/vhost-user.json); libvirt looks there, too. The first file of a
#: name counts.
DESCRIPTIONS = ('/etc/qemu/vhost-user', '/usr/share/qemu/vhost-user')


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A virtiofsd, as it describes itself.

    :param binary: its path
    :param features: words of QEMU's docs/interop/vhost-user.json
    """

    binary: str
    features: frozenset[str] = frozenset()

    @property
    def takes_locks(self):
        """Whether it takes the guest's locks unless it is told not to.

        QEMU's does. The one in Rust cannot, and where it says that it has
        options of its own (not those of QEMU's), libvirt refuses to tell it.
        """
        return 'separate-options' not in self.features


class LibvirtConfigGuestVirtiofs(vconfig.LibvirtConfigGuestFilesys):
    """A virtiofs share with what Nova's class does not write.

    Locks stay with the guest: QEMU's virtiofsd would answer each with ENOTSUP.

    :param cache: ``always`` where nobody but the guest changes files
    :param daemon: Daemon, or None if there is none: libvirt then says so
    """

    def __init__(self, source_dir, tag, cache, daemon):
        super().__init__()
        self.driver_type = 'virtiofs'
        self.accessmode = 'passthrough'
        self.source_dir = source_dir
        self.target_dir = tag
        self.cache = cache
        self.daemon = daemon

    def format_dom(self):
        dev = super().format_dom()
        binary = etree.SubElement(dev, 'binary', xattr='on')
        etree.SubElement(binary, 'cache', mode=self.cache)
        etree.SubElement(binary, 'sandbox', mode='namespace')
        if self.daemon is None or self.daemon.takes_locks:
            etree.SubElement(binary, 'lock', posix='off', flock='off')
        return dev


class LibvirtConfigGuestSharedMemory(
        vconfig.LibvirtConfigGuestMemoryBacking):
    """Guest memory that virtiofsd can map.

    :param other: a memory backing to add this to, or None
    """

    def __init__(self, other):
        super().__init__()
        if other is not None:
            self.__dict__.update(other.__dict__)
        self.sharedaccess = True

    def format_dom(self):
        root = super().format_dom()
        if not self.hugepages and not self.filesource:
            etree.SubElement(root, 'source', type='memfd')
        return root


class VirtiofsRootfs(share.ShareRootfs):
    """A share that a virtiofsd of the server's own serves."""

    def devices(self):
        return [LibvirtConfigGuestVirtiofs(self.path, share.TAG, 'always',
                                           find_daemon())]

    def configure(self, guest):
        super().configure(guest)
        guest.membacking = LibvirtConfigGuestSharedMemory(guest.membacking)


def find_daemon():
    """The virtiofsd that libvirt starts: a Daemon, or None."""
    seen = set()
    for directory in DESCRIPTIONS:
        for path in sorted(glob.glob(os.path.join(directory, '*.json'))):
            name = os.path.basename(path)
            if name in seen:
                continue
            seen.add(name)
            try:
                with open(path) as f:
                    described = json.load(f)
                binary = described['binary']
                if described['type'] == 'fs' and os.access(binary, os.X_OK):
                    return Daemon(binary, frozenset(
                        described.get('features', ())))
            except (OSError, ValueError, KeyError, TypeError):
                continue
    return None
