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

from nova import exception

from nova_containervm import errors
from nova_containervm import livemoves


class Refusals:
    """Refuses operations; the server stays as it is.

    :param watcher: the StatusWatcher of this host
    """

    def __init__(self, watcher):
        self._watcher = watcher

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
