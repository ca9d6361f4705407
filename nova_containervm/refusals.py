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

"""What a container server cannot do, said as Nova wants to hear it."""

from cinderclient import exceptions as cinder_exceptions
from keystoneauth1 import exceptions as ksa_exceptions
from nova import exception
from nova.virt import driver as virt_driver
from oslo_log import log as logging

from nova_containervm import errors
from nova_containervm import livemoves

LOG = logging.getLogger(__name__)


def root_volume(block_device_info):
    """The block device of the volume to boot from, or None."""
    for bdm in virt_driver.block_device_info_get_mapping(block_device_info):
        if bdm.get('boot_index') == 0:
            return bdm
    return None


def boot_from_volume(volume_id):
    """The error for a server that is to boot from a volume."""
    return exception.ImageUnacceptable(
        image_id='of volume %s' % volume_id,
        reason='a docker image cannot boot from a volume, because the host '
               'makes the root disk; create the server from the image itself')


class Refusals:
    """Refuses operations; the server stays as it is.

    :param watcher: the StatusWatcher of this host
    """

    def __init__(self, watcher):
        self._watcher = watcher

    @staticmethod
    def check_plain(context, instance, block_device_info, volume_api):
        """Refuse to take a volume made of a docker image for a plain disk.

        Nova does not keep the container format of an image that Cinder has
        copied to a volume, so nothing else tells such a server from others.

        :raises exception.ImageUnacceptable: it is one
        """
        if instance.image_ref:
            return
        volume_id = getattr(root_volume(block_device_info), 'volume_id', None)
        if volume_id is None:
            return
        try:
            volume = volume_api.get(context, volume_id)
        except (exception.NovaException, cinder_exceptions.ClientException,
                ksa_exceptions.ClientException) as e:
            # A plain server gets along without: its volume is attached.
            LOG.warning('Cannot find out of what image volume %(volume)s is '
                        'made: %(error)s', {'volume': volume_id, 'error': e},
                        instance=instance)
            return
        image = volume.get('volume_image_metadata') or {}
        if image.get('container_format') == 'docker':
            raise boot_from_volume(volume_id)

    def rescue(self, instance):
        """Refuse a rescue.

        Nova sets a server to ERROR whatever its rescue fails with. Nothing
        has happened to this one, so that is taken back.

        :raises errors.OperationNotSupported: always
        """
        self._watcher.restore(instance.uuid, instance.vm_state)
        raise errors.OperationNotSupported(
            instance_uuid=instance.uuid, operation='be rescued',
            reason='its root disk holds no operating system; use "openstack '
                   'server rebuild" instead')

    @staticmethod
    def check_suspend(instance):
        """Refuse to suspend a server whose memory cannot be saved.

        :raises exception.InstanceFaultRollback: it stays as it is
        """
        try:
            livemoves.check_suspend(instance)
        except errors.OperationNotSupported as e:
            raise exception.InstanceFaultRollback(inner_exception=e)

    @staticmethod
    def set_admin_password(instance):
        """Refuse to change a password.

        :raises exception.SetAdminPasswdNotSupported: always; Nova sets the
            server to ERROR for anything else
        """
        reason = errors.OperationNotSupported(
            instance_uuid=instance.uuid, operation='have its password '
            'changed', reason='a container has no administrator account')
        raise exception.SetAdminPasswdNotSupported(reason.format_message())

    @staticmethod
    def mount_share(instance, share):
        """Refuse to start a server with a share of Manila's.

        Nova attaches it to a server that is off, without asking the driver.

        :raises exception.ShareMountError: always; the server stays off
        """
        raise exception.ShareMountError(
            share_id=share.share_id, server_id=instance.uuid,
            reason='a container cannot mount it; take it away by "openstack '
                   'server remove share", and use a volume')
