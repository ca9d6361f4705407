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

"""The interface of a transport."""

import abc
import dataclasses
import os
import typing as ty

if ty.TYPE_CHECKING:
    from nova.virt.libvirt import config as vconfig

    from nova_containervm.images import store


DIRECTORY = 'rootfs'


@dataclasses.dataclass(frozen=True)
class Choices:
    """How one server was made. Later changes of nova.conf do not touch it.

    The fields are the options of ``[containervm]`` with the same names, with
    what ``auto`` has come to.
    """

    rootfs_transport: str
    writable_layer: str
    share_provisioning: str
    share_access_mode: str
    boot_method: str
    guest_runtime: str
    # What servers have that are older than the option
    share_limit: str = 'none'

    @classmethod
    def from_conf(cls, group, transport: str | None = None) -> 'Choices':
        """The choices that nova.conf makes for a new server.

        :param transport: the one that its image has chosen
        """
        values = {f.name: getattr(group, f.name)
                  for f in dataclasses.fields(cls)}
        values['rootfs_transport'] = transport or group.rootfs_transport
        if values['rootfs_transport'] == 'block':
            # Nobody can write to a disk that several servers have.
            values['writable_layer'] = 'disk'
        return cls(**values)

    @property
    def image_form(self) -> str:
        """In which form the image store is to have the image."""
        # virtiofsd runs as root and serves files as they are.
        return {'block': 'block', 'virtiofs': 'passthrough'}.get(
            self.rootfs_transport, self.share_access_mode)


class Rootfs(abc.ABC):
    """The root filesystem of one server.

    :param instance_dir: the server's directory on this host
    :param choices: how the server was made
    """

    #: Whether QEMU can save a machine that has it, to suspend or migrate it.
    savable = False

    def __init__(self, instance_dir: str, choices: Choices):
        self.instance_dir = instance_dir
        self.choices = choices
        self.path = os.path.join(instance_dir, DIRECTORY)
        self.private = os.path.join(instance_dir, 'rootfs.rw')

    @abc.abstractmethod
    def prepare(self, image: 'store.StoredImage', room: int) -> None:
        """Make the root filesystem available to QEMU. May be called again.

        :param room: bytes that the container may write, where that is not
            limited by the size of the server's own disk
        """

    @abc.abstractmethod
    def open_private(self, room: int) -> None:
        """Have :attr:`private` as :meth:`prepare` makes it, and no more.

        :param room: as there
        """

    @abc.abstractmethod
    def release(self) -> None:
        """Undo :meth:`prepare`. What the server wrote stays."""

    @abc.abstractmethod
    def remove(self) -> None:
        """Remove everything, what the server wrote included."""

    def needs(self, image: 'store.StoredImage') -> int:
        """Bytes of the server's own storage that the image takes."""
        return 0

    def room(self) -> int:
        """Bytes that this server may still take on this host.

        Without what its own disk may, which Nova knows of.
        """
        return 0

    @abc.abstractmethod
    def devices(self) -> list['vconfig.LibvirtConfigGuestDevice']:
        """What the domain needs to reach the root filesystem."""

    def configure(self, guest: 'vconfig.LibvirtConfigGuest') -> None:
        """Give a domain what it needs to reach the root filesystem."""
        for device in self.devices():
            guest.add_device(device)

    @abc.abstractmethod
    def contract(self) -> dict[str, ty.Any]:
        """What the guest needs to know, as arguments of the contract."""
