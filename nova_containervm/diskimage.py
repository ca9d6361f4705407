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

"""qcow2 files of strangers, by way of what Nova does about them."""

import errno
import os

from nova import exception
from nova.virt import images
from oslo_concurrency import processutils
from oslo_utils.imageutils import format_inspector

from nova_containervm.images import errors


def to_raw(source, target, most):
    """Make a raw disk of a qcow2 that anybody may have made.

    As in ``nova.virt.images.fetch_to_raw``: QEMU's tools see the file only
    after it is known to refer to no other, and run with limits.

    :param source: path of the qcow2
    :param target: path of the raw disk, which is made
    :param most: bytes that it may have
    :raises ImageError: what is wrong with the image
    """
    size = _inspect(source)
    try:
        info = images.qemu_img_info(source, format='qcow2')
    except (exception.NovaException, processutils.ProcessExecutionError):
        raise errors.Damaged('it is a qcow2 that qemu-img cannot read')
    if info.backing_file or info.encrypted == 'yes':
        raise errors.Unsupported('it is a qcow2 that has a backing file, or '
                                 'is encrypted')
    if max(size, info.virtual_size) > most:
        raise errors.LimitExceeded.of('max_unpacked_mb', most >> 20,
                                      'the disk is larger than allowed')
    try:
        images.convert_image(source, target, 'qcow2', 'raw')
    except exception.ImageUnacceptable as exc:
        if os.strerror(errno.ENOSPC) in str(exc):
            raise errors.NoSpace('no space left in the image store')
        raise errors.Damaged('it is a qcow2 that qemu-img cannot convert')


def _inspect(path):
    """The virtual size of a qcow2, if it is one and refers to nothing."""
    inspector = format_inspector.QcowInspector()
    try:
        with open(path, 'rb') as source:
            while not inspector.complete:
                piece = source.read(65536)
                if not piece:
                    break
                inspector.eat_chunk(piece)
        inspector.finish()
        if not inspector.format_match:
            raise errors.Damaged('the file is no qcow2')
        inspector.safety_check()
        return inspector.virtual_size
    except format_inspector.SafetyCheckFailed as exc:
        raise errors.Unsupported(
            'it is a qcow2 that could refer to other files (%s); "qemu-img '
            'convert" makes one that does not' % ', '.join(exc.failures))
    except format_inspector.ImageFormatError:
        raise errors.Damaged('its qcow2 header makes no sense')
