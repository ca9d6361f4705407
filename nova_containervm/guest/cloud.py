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

"""The guest side of cloud base images: guest.sh and how it gets started.

cloud-init takes vendor-data from the provider beside the user's own
user-data. Ours is a boothook: a script that cloud-init runs at every boot,
not only the first, and that no ``bootcmd`` of the user or of the operator can
replace (lists of cloud-config from several sources are not merged). It takes
guest.sh and guest.env from the config drive, which is written anew at each
start, and starts them as a systemd unit, so that the container gets its stop
signal when the VM shuts down.
"""

import typing

# Nova's vendor_data.json: what cloud-init handles stands under this key, as
# text or as a list of texts, each of them a part of its own kind
# (cloudinit.sources.convert_vendordata, UserDataProcessor.process).
_CLOUD_INIT_KEY = 'cloud-init'

_BOOTHOOK = '#cloud-boothook\n'


def guest_files() -> dict[str, bytes]:
    """Return the guest for base images that are not ours, by file name."""
    return {name: _file(name) for name in (
        'guest.sh', 'launch.py', 'mounts.sh')}


def vendor_data() -> str:
    """Return our part of the vendor-data: what starts guest.sh."""
    return _BOOTHOOK + _file('boothook.sh').decode('utf-8')


def merge_vendor_data(existing: typing.Any) -> dict[str, typing.Any]:
    """Add our part to what the operator's vendor_data.json holds.

    :param existing: the operator's, as Nova has loaded it; may be empty
    :returns: a new object for vendor_data.json
    """
    merged = dict(existing) if isinstance(existing, dict) else {}
    parts = merged.get(_CLOUD_INIT_KEY)
    if not isinstance(existing, dict):
        # Then the whole of it is for cloud-init.
        parts = existing
    if isinstance(parts, str) and parts:
        parts = [parts]
    elif not isinstance(parts, list):
        # cloud-init itself rejects a mapping here, and all else with it.
        parts = []
    # The same goes for anything in the list that is not text.
    parts = [part for part in parts if isinstance(part, str)]
    # Ours goes last: a broken part of the operator's does not stop it, and a
    # part handler among them is in place for the operator's own parts.
    merged[_CLOUD_INIT_KEY] = [*parts, vendor_data()]
    return merged


def _file(name: str) -> bytes:
    # A third of the time that a bootable disk's guest needs for a contract,
    # and never used there.
    import importlib.resources
    return (importlib.resources.files('nova_containervm.guest')
            .joinpath('files', name).read_bytes())
