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

"""What a server needs beside an image: flavor, networks, volumes."""

import dataclasses

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from nova_containervm.guest import values

# MB that a container server needs at least.
_LEAST_RAM = 128


@dataclasses.dataclass(frozen=True)
class Volume:
    """A volume of Cinder's and where the container is to see it.

    Or an ephemeral disk of the flavor, whose ``id`` is its name.
    """

    id: str
    target: str

    @property
    def is_ephemeral(self):
        """Whether it comes with the flavor."""
        return values.EPHEMERAL.fullmatch(self.id) is not None

    @property
    def override(self):
        """As the override ``volumes`` has it."""
        return '%s:%s' % (self.id, self.target)


def _find(find, name):
    try:
        return find(name, ignore_missing=False)
    except (sdk_exceptions.NotFoundException,
            sdk_exceptions.DuplicateResource) as exc:
        raise exceptions.CommandError(str(exc))


def flavor(sdk, name, image):
    """The flavor of a name, or the smallest on which an image can run.

    :raises CommandError: there is none
    """
    if name:
        return _find(sdk.compute.find_flavor, name)
    fitting = [f for f in sdk.compute.flavors()
               if f.ram >= max(image.min_ram or 0, _LEAST_RAM)
               and f.disk >= max(image.min_disk or 0, 1)]
    if not fitting:
        raise exceptions.CommandError(
            'There is no flavor with %d MB of memory and %d GB of root disk.'
            % (max(image.min_ram or 0, _LEAST_RAM),
               max(image.min_disk or 0, 1)))
    return min(fitting, key=lambda f: (f.ram, f.vcpus, f.disk, f.name))


def networks(sdk, names):
    """Networks of names, or the only one that servers can be on.

    :returns: as create_server() wants them
    :raises CommandError: one does not exist, or none is named and the choice
        is not clear
    """
    if names:
        return [{'uuid': _find(sdk.network.find_network, name).id}
                for name in names]
    found = list(sdk.network.networks())
    # Servers are seldom meant to be on the provider's.
    inner = [n for n in found if not n.is_router_external] or found
    if len(inner) != 1:
        raise exceptions.CommandError(
            'Name a network with --network%s' % (
                ': %s.' % ', '.join(sorted(n.name for n in found))
                if found else '; there is none yet.'))
    return [{'uuid': inner[0].id}]


def volumes(sdk, texts):
    """Volumes from ``NAME:/path[:ro]``.

    :raises CommandError: one does not exist, or is not of that form
    """
    result = []
    for text in texts or ():
        name, colon, target = text.partition(':')
        if not name or name[0] in '/.~' or not target.startswith('/'):
            raise exceptions.CommandError(
                '%r is not of the form VOLUME:/PATH[:ro]. A volume is one of '
                "Cinder's; directories of this machine cannot be mounted."
                % text)
        volume = Volume(name, target)
        if not volume.is_ephemeral:
            found = _find(sdk.block_storage.find_volume, name)
            volume = Volume(found.id, target)
        result.append(volume)
    return result


def block_devices(image, attached):
    """The block devices of a server with volumes, its root disk first."""
    root = {'uuid': image.id, 'source_type': 'image', 'boot_index': 0,
            'destination_type': 'local', 'delete_on_termination': True}
    return [root, *({'uuid': volume.id, 'source_type': 'volume',
                     'destination_type': 'volume', 'boot_index': -1,
                     'delete_on_termination': False}
                    for volume in attached if not volume.is_ephemeral)]
