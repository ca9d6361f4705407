# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""Cinder volumes as loop devices, for a cloud on a single machine.

None of Cinder's own drivers does for one whose kernel has neither iSCSI, nor
NVMe over TCP, nor NFS. A volume is a sparse file; while it is attached it is
exposed by a loop device, to which a link with a lasting name leads: Cinder and
Nova keep the path for as long as the volume is attached, and the number of the
loop device changes with a restart.

`tools/aio` copies this file to where cinder-volume finds it.
"""

import os
import pathlib

from cinder.image import image_utils
from cinder import utils
from cinder.volume import driver
from oslo_utils import units


class LoopDriver(driver.VolumeDriver):
    """Sparse files and loop devices below [DEFAULT] state_path."""

    VERSION = '1.0'

    def do_setup(self, context):
        self.directory = pathlib.Path(self.configuration.volumes_dir)

    def check_for_setup_error(self):
        self.directory.mkdir(exist_ok=True)

    def get_volume_stats(self, refresh=False):
        return {
            'volume_backend_name': self.configuration.volume_backend_name,
            'vendor_name': 'nova-containervm',
            'driver_version': self.VERSION,
            'storage_protocol': 'local',
            'total_capacity_gb': 'infinite',
            'free_capacity_gb': 'infinite',
            'reserved_percentage': 0,
            'multiattach': False,
            # Nova cannot tell the guest, with volumes of this type.
            'online_extend_support': False,
        }

    def local_path(self, volume):
        return str(self.directory / f'volume-{volume.id}')

    def _link(self, volume):
        return self.directory / f'device-{volume.id}'

    def _devices(self, volume):
        """Return the loop devices of a volume: one or none."""
        path = self.local_path(volume)
        found = []
        for entry in pathlib.Path('/sys/block').glob('loop*/loop'):
            try:
                if (entry / 'backing_file').read_text().strip() == path:
                    found.append(f'/dev/{entry.parent.name}')
            except OSError:
                pass  # it has just been detached
        return found

    # The volume itself

    def create_volume(self, volume):
        fd = os.open(self.local_path(volume),
                     os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, 'w') as f:
            f.truncate(volume.size * units.Gi)

    def delete_volume(self, volume):
        self.remove_export(None, volume)
        pathlib.Path(self.local_path(volume)).unlink(missing_ok=True)

    def extend_volume(self, volume, new_size):
        os.truncate(self.local_path(volume), new_size * units.Gi)

    def copy_image_to_volume(self, context, volume, image_service, image_id,
                             disable_sparse=False):
        path = self.local_path(volume)
        image_utils.fetch_to_raw(
            context, image_service, image_id, path,
            self.configuration.volume_dd_blocksize, size=volume.size,
            run_as_root=False, disable_sparse=disable_sparse)
        os.truncate(path, volume.size * units.Gi)

    # Its attachments

    @utils.synchronized('aio-loop')
    def ensure_export(self, context, volume):
        found = self._devices(volume)
        if not found:
            out, _ = self._execute('losetup', '--find', '--show',
                                   self.local_path(volume), run_as_root=True)
            found = [out.strip()]
        link = self._link(volume)
        link.unlink(missing_ok=True)
        link.symlink_to(found[0])

    def create_export(self, context, volume, connector):
        self.ensure_export(context, volume)

    @utils.synchronized('aio-loop')
    def remove_export(self, context, volume):
        self._link(volume).unlink(missing_ok=True)
        for device in self._devices(volume):
            # One that is still open is detached as soon as it is closed.
            self._execute('losetup', '--detach', device, run_as_root=True)

    def initialize_connection(self, volume, connector):
        return {'driver_volume_type': 'local',
                'data': {'device_path': str(self._link(volume))}}

    def terminate_connection(self, volume, connector, **kwargs):
        # During a live migration a volume has two: it stays exported.
        return len([a for a in volume.volume_attachment if a.connector]) > 1
