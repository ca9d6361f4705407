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

    The fields are the options of ``[containervm]`` with the same names.
    """

    rootfs_transport: str
    writable_layer: str
    share_provisioning: str
    share_access_mode: str
    boot_method: str
    guest_runtime: str

    @classmethod
    def from_conf(cls, group) -> 'Choices':
        """The choices that nova.conf makes for a new server."""
        return cls(**{f.name: getattr(group, f.name)
                      for f in dataclasses.fields(cls)})


class Rootfs(abc.ABC):
    """The root filesystem of one server.

    :param instance_dir: the server's directory on this host
    :param choices: how the server was made
    """

    def __init__(self, instance_dir: str, choices: Choices):
        self.instance_dir = instance_dir
        self.choices = choices
        self.path = os.path.join(instance_dir, DIRECTORY)
        self.private = os.path.join(instance_dir, 'rootfs.rw')

    @abc.abstractmethod
    def prepare(self, image: 'store.StoredImage') -> None:
        """Make the root filesystem available to QEMU. May be called again."""

    @abc.abstractmethod
    def release(self) -> None:
        """Undo :meth:`prepare`. What the server wrote stays."""

    @abc.abstractmethod
    def remove(self) -> None:
        """Remove everything, what the server wrote included."""

    @abc.abstractmethod
    def devices(self) -> list['vconfig.LibvirtConfigGuestDevice']:
        """What the domain needs to reach the root filesystem."""

    @abc.abstractmethod
    def contract(self) -> dict[str, ty.Any]:
        """What the guest needs to know, as arguments of the contract."""
