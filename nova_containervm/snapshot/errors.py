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


"""Why no image of a server could be made."""

from nova import exception
from nova.i18n import _


class LayerError(exception.NovaException):
    """The changes of a server could not be read."""

    msg_fmt = _('What the server has changed could not be read.')


class LayerFailed(LayerError):
    """Whoever reads them has said what is wrong."""

    msg_fmt = _('What the server has changed could not be read: %(reason)s')


class LayerDamaged(LayerError):
    """What came makes no sense."""

    msg_fmt = _('What the server has changed came damaged: %(reason)s')


class LayerLost(LayerError):
    """Whoever reads them has ended in the middle of it."""

    msg_fmt = _('Who reads what the server has changed has ended before its '
                'end; see the log of libvirt and QEMU')


class SnapshotCut(exception.NovaException):
    """Glance has another image than was sent."""

    msg_fmt = _('Image %(image_id)s has %(size)s bytes in the image service, '
                'but %(sent)d were sent: the upload was cut off')
