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

"""From a Nova instance to the contract with its guest."""

import base64
import binascii
import dataclasses

from nova import exception

from nova_containervm.guest import cloud
from nova_containervm.guest import contract as guest_contract
from nova_containervm.guest import errors as guest_errors
from nova_containervm.guest import values


def contract(instance, network_info, image, rec, rootfs):
    """The contract of a server, as it is to start now.

    :param image: the :class:`StoredImage` that it runs
    :param rec: its :class:`record.Record`
    :param rootfs: its root filesystem
    :raises exception.ImageUnacceptable: the image's config, or a property of
        it, cannot be run
    :raises exception.InvalidInput: an override of the user cannot be
    """
    sources = {'image': instance.system_metadata,
               'metadata': instance.metadata,
               'user_data': _user_data(instance)}
    try:
        made = guest_contract.build(
            instance_uuid=instance.uuid,
            hostname=instance.hostname or instance.uuid,
            image_config=image.config, passwd=image.passwd,
            group=image.group, file_caps=image.file_caps,
            network_info=network_info, overrides_sources=sources,
            access_mode=rec.choices.share_access_mode,
            runtime=rec.choices.guest_runtime, base_type=rec.base_type,
            swap=bool(instance.flavor.swap), image_volumes=rec.image_volumes,
            **rootfs.contract())
    except guest_errors.InvalidOverride as e:
        raise exception.InvalidInput(reason=str(e))
    except guest_errors.ContractError as e:
        raise exception.ImageUnacceptable(image_id=rec.image_id,
                                          reason=str(e))
    for volume in made.container.volumes:
        if (values.EPHEMERAL.fullmatch(volume.volume_id) and
                not instance.flavor.ephemeral_gb):
            raise exception.InvalidInput(
                reason='containervm_volumes: flavor %s has no ephemeral disk '
                'for %s; take one that has' % (instance.flavor.name,
                                               volume.path))
    return made


def image_properties(instance):
    """The properties of a server's image, as Nova keeps them."""
    return {key.removeprefix('image_'): value
            for key, value in instance.system_metadata.items()
            if key.startswith('image_')}


def image_ref(instance):
    """Which image of several in one archive the server is to run, or None."""
    return instance.system_metadata.get('image_containervm_ref')


def _user_data(instance):
    if not instance.user_data:
        return None
    try:
        return base64.b64decode(instance.user_data)
    except (binascii.Error, ValueError):
        # Nova's API has let it pass as base64, so this is not ours to refuse
        return None


def with_contract(rec, agreed):
    """The record, with what the driver needs to know of the contract."""
    return dataclasses.replace(rec, stop_timeout=agreed.container.stop_timeout)


def vendor_data(rec):
    """What turns the operator's vendor data into one that starts the guest.

    :returns: a function, or None for a base VM image that needs none
    """
    return cloud.merge_vendor_data if rec.base_type == 'cloud' else None
