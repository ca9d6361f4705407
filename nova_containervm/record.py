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

"""What the driver keeps about each server, in its instance directory."""

import dataclasses
import glob
import json
import os

from nova import objects
from nova.virt.libvirt import utils as libvirt_utils

from nova_containervm import conf
from nova_containervm.rootfs import base as rootfs_base

CONF = conf.CONF

DIRECTORY = 'containervm'
FILE = os.path.join(DIRECTORY, 'server.json')


@dataclasses.dataclass(frozen=True)
class Record:
    """How one server was made.

    :param image_id: Glance id of the docker image
    :param base_digest: SHA-256 of the base VM image's disk
    :param base_type: ``minimal`` or ``cloud``
    :param choices: the settings of the host at that time
    :param stop_timeout: seconds between stop signal and kill
    :param injected_files: files that the user gave with the create request
    :param image_volumes: a ``VOLUME`` of the image has been one from the
        first start on
    """

    image_id: str
    base_digest: str
    base_type: str
    choices: rootfs_base.Choices
    stop_timeout: int = 10
    injected_files: tuple[tuple[str, str], ...] = ()
    # No server has it that is older than this field.
    image_volumes: bool = False

    def save(self, instance_dir: str) -> None:
        """Write the record, whole or not at all."""
        directory = os.path.join(instance_dir, DIRECTORY)
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(instance_dir, FILE)
        data = dataclasses.asdict(self)
        # An earlier release, on a host that the server may move to, takes no
        # field that it does not know.
        if not self.image_volumes:
            del data['image_volumes']
        # 0600, for a user's files may hold secrets
        with open(os.open(path + '.new', os.O_WRONLY | os.O_CREAT |
                          os.O_TRUNC, 0o600), 'w') as f:
            json.dump(data, f)
            f.flush()
            os.fsync(f.fileno())
        os.rename(path + '.new', path)

    @classmethod
    def load(cls, instance_dir: str) -> 'Record':
        """Read the record of a server.

        :raises FileNotFoundError: there is none
        """
        with open(os.path.join(instance_dir, FILE)) as f:
            data = json.load(f)
        data['choices'] = rootfs_base.Choices(**data['choices'])
        data['injected_files'] = tuple(
            (path, content) for path, content in data['injected_files'])
        return cls(**data)

    @classmethod
    def find(cls, directory: str) -> 'Record | None':
        """Read the record that a directory has; None if it has none.

        Not all directories are those of container servers, and some go
        meanwhile.
        """
        if not os.path.isfile(os.path.join(directory, FILE)):
            return None
        try:
            return cls.load(directory)
        except FileNotFoundError:
            return None


# In the system metadata of an instance, which has values of 255 characters:
# what another host has to know of a server that comes to it while it runs.
# Names that begin with containervm_ are the image's properties.
_REMEMBERED = 'nova_containervm_record'
_WITH_VOLUMES = 'volumes'


def remember(instance, rec: Record) -> None:
    """Note a server's record in the database, without the user's files.

    The instance is not saved.
    """
    number = str(rec.stop_timeout)
    if rec.image_volumes:
        number += ',' + _WITH_VOLUMES
    instance.system_metadata[_REMEMBERED] = '/'.join((
        rec.image_id, rec.base_digest, rec.base_type, number,
        *dataclasses.astuple(rec.choices)))


def remembered(instance) -> Record | None:
    """What :func:`remember` has noted, or None."""
    noted = instance.system_metadata.get(_REMEMBERED)
    if noted is None:
        return None
    image_id, digest, base_type, number, *choices = noted.split('/')
    stop_timeout, _comma, volumes = number.partition(',')
    return Record(image_id, digest, base_type, rootfs_base.Choices(*choices),
                  int(stop_timeout), image_volumes=volumes == _WITH_VOLUMES)


# Which disk it runs on (StoredImage.disk_sum), for the time of a migration;
# and which one the other host has, for the request that asks.
_DISK = 'nova_containervm_disk'
_OFFERED = 'nova_containervm_offered'


def offer_disk(instance, disk_sum: str | None) -> None:
    """Tell the host that a server would come from which disk is here.

    The instance goes along with the question whether it can; it is not saved.
    """
    instance.system_metadata.pop(_OFFERED, None)
    if disk_sum is not None:
        instance.system_metadata[_OFFERED] = disk_sum


def note_disk(instance, disk_sum: str | None) -> str | None:
    """Note in the database which disk a server runs on.

    :returns: what :func:`offer_disk` says
    """
    offered = instance.system_metadata.pop(_OFFERED, None)
    instance.system_metadata.pop(_DISK, None)
    if disk_sum is not None:
        instance.system_metadata[_DISK] = disk_sum
    instance.save()
    return offered


def noted_disk(context, instance) -> str | None:
    """What :func:`note_disk` has noted, on another host and just now."""
    # What comes along with the request was read before that.
    now = objects.Instance.get_by_uuid(context, instance.uuid,
                                       expected_attrs=['system_metadata'])
    return now.system_metadata.get(_DISK)


def all_here() -> list[tuple[str, Record]]:
    """Directories and records of all servers that have one on this host.

    Those that are about to leave it, or may come back, are among them.
    """
    found = []
    for path in glob.glob(os.path.join(
            glob.escape(CONF.instances_path), '*', FILE)):
        directory = path.removesuffix('/' + FILE)
        try:
            found.append((directory, Record.load(directory)))
        except FileNotFoundError:
            # The server has just been deleted.
            continue
    return found


def of(instance) -> Record:
    """The record of a server on this host.

    :raises FileNotFoundError: there is none
    """
    return Record.load(libvirt_utils.get_instance_path(instance))
