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

"""What is refused before it changes anything."""

from unittest import mock

from cinderclient import exceptions as cinder_exceptions
import ddt
from keystoneauth1 import exceptions as ksa_exceptions
from nova import exception
from nova import objects
from nova.objects import block_device as block_device_objects
from nova.virt import block_device
from oslotest import base

from nova_containervm import refusals


def _disks(boot_index=0):
    """block_device_info of a server with one volume."""
    bdm = block_device_objects.BlockDeviceMapping(
        id=1, source_type='volume', destination_type='volume',
        volume_id='v1', boot_index=boot_index, volume_type=None,
        guest_format=None, disk_bus=None, device_type=None, volume_size=1,
        device_name='/dev/vda', connection_info=None, encrypted=False,
        delete_on_termination=False, attachment_id=None, no_device=False)
    return {'block_device_mapping': [block_device.DriverVolumeBlockDevice(
        bdm)]}


@ddt.ddt
class BootFromVolumeTestCase(base.BaseTestCase):

    def _check(self, image_ref, disks, volumes):
        refusals.Refusals.check_plain(
            mock.sentinel.context,
            mock.Mock(spec=objects.Instance, image_ref=image_ref), disks,
            volumes)

    def test_a_docker_image_in_a_volume(self):
        volumes = mock.Mock()
        volumes.get.return_value = {
            'volume_image_metadata': {'container_format': 'docker'}}
        e = self.assertRaises(exception.ImageUnacceptable, self._check, '',
                              _disks(), volumes)
        self.assertIn('of volume v1', e.format_message())
        self.assertIn('from the image itself', e.format_message())
        volumes.get.assert_called_once_with(mock.sentinel.context, 'v1')

    @ddt.data({}, {'volume_image_metadata': None},
              {'volume_image_metadata': {'container_format': 'bare'}})
    def test_other_volumes(self, volume):
        volumes = mock.Mock()
        volumes.get.return_value = volume
        self._check('', _disks(), volumes)
        volumes.get.assert_called_once()

    @ddt.data(('image', 0), ('', 1), ('', None))
    @ddt.unpack
    def test_nobody_is_asked_about_other_servers(self, image_ref, boot_index):
        volumes = mock.Mock()
        self._check(image_ref, None if boot_index is None else
                    _disks(boot_index), volumes)
        volumes.get.assert_not_called()

    def test_a_root_that_is_no_volume_of_cinders(self):
        volumes = mock.Mock()
        self._check('', {'block_device_mapping': [{'boot_index': 0}]},
                    volumes)
        volumes.get.assert_not_called()

    @ddt.data(exception.CinderConnectionFailed(reason='gone'),
              cinder_exceptions.Unauthorized(401),
              ksa_exceptions.ConnectFailure())
    def test_cinder_does_not_answer(self, error):
        volumes = mock.Mock()
        volumes.get.side_effect = error
        with mock.patch.object(refusals.LOG, 'warning') as warning:
            self._check('', _disks(), volumes)
        warning.assert_called_once()


class ShareTestCase(base.BaseTestCase):

    def test_share_of_manilas(self):
        e = self.assertRaises(
            exception.ShareMountError, refusals.Refusals.mount_share,
            mock.Mock(uuid='server1'), mock.Mock(share_id='share1'))
        for word in ('server1', 'share1', 'server remove share'):
            self.assertIn(word, e.format_message())
