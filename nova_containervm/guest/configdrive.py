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

"""The config drive of a container server: Nova's, and the contract."""

import os

from nova.api.metadata import base as instance_metadata
from nova import exception
from nova.virt import configdrive
from oslo_concurrency import processutils
from oslo_log import log as logging
from oslo_serialization import jsonutils

LOG = logging.getLogger(__name__)

NAME = 'disk.config'


class ContainerMetadata(instance_metadata.InstanceMetadata):
    """Instance metadata with the files of the contract beside it.

    :param files: path on the drive to content
    :param merge_vendor_data: turns the operator's vendor data into one that
        also starts the container; None leaves it alone
    """

    def __init__(self, instance, files, merge_vendor_data=None, **kwargs):
        self._files = files
        self._merge_vendor_data = merge_vendor_data
        super().__init__(instance, **kwargs)

    def metadata_for_config_drive(self):
        for path, data in super().metadata_for_config_drive():
            if (self._merge_vendor_data is not None and
                    os.path.basename(path) == instance_metadata.VD_JSON_NAME):
                data = jsonutils.dump_as_bytes(
                    self._merge_vendor_data(jsonutils.loads(data)))
            yield path, data
        yield from sorted(self._files.items())


def write(path, metadata):
    """Write a config drive, replacing an older one as a whole.

    It is written anew at each start, for the network and the overrides may
    have changed since the last.

    :param path: of the drive
    :param metadata: a :class:`ContainerMetadata`
    :raises exception.NovaException: the drive cannot be made
    """
    staging = path + '.new'
    builder = configdrive.ConfigDriveBuilder(instance_md=metadata)
    try:
        with builder:
            builder.make_drive(staging)
    except (OSError, processutils.ProcessExecutionError) as e:
        raise exception.NovaException(
            'the config drive %s cannot be made: %s' % (path, e))
    _dig_holes(staging)
    os.rename(staging, path)


def _dig_holes(path):
    """Give back the blocks that are zero: most of a drive.

    genisoimage adds 300 KiB for readers of optical disks, which every server
    would pay for.
    """
    try:
        processutils.execute('fallocate', '--dig-holes', path)
    except (OSError, processutils.ProcessExecutionError) as e:
        LOG.debug('The config drive %s keeps its blocks of zeros, since its '
                  'file system cannot take them back: %s', path, e)
