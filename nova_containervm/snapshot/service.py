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


"""What the driver asks for when it is to make an image of a server."""

from nova_containervm import basevm
from nova_containervm import conf
from nova_containervm import errors
from nova_containervm import record
from nova_containervm import serverspec
from nova_containervm.snapshot import operation
from nova_containervm.snapshot import workspace

CONF = conf.CONF


class SnapshotService:
    """Snapshots of the container servers on this host.

    :param driver: the ContainerVMDriver
    :param images: the :class:`imageservice.ImageService`
    :param bases: the :class:`basevm.BaseCache`
    """

    def __init__(self, driver, images, bases):
        self._driver = driver
        self._images = images
        self._bases = bases
        self._base: basevm.BaseVM | None = None

    def start(self, base):
        """The service starts.

        :param base: the base VM image of new servers
        :raises exception.InvalidConfiguration: the image of ``[containervm]
            export_vm_image`` is not usable
        """
        if CONF.containervm.export_vm_image:
            base = basevm.load(CONF.containervm.export_vm_image)
        self._base = self._bases.hold(base) if base.can_export else None
        workspace.sweep(self._driver._host)

    @property
    def base_digest(self):
        """Of the base VM image that reads disks, which is in use always."""
        return self._base.digest if self._base else None

    def snapshot(self, context, instance, image_id, update_task_state, room):
        """Make an image of a server, as ComputeDriver.snapshot() is to.

        :param room: function: instance, Record -> bytes that it may write to
            a share
        """
        rec = record.of(instance)
        if rec.choices.writable_layer == 'disk' and self._base is None:
            raise errors.OperationNotSupported(
                instance_uuid=instance.uuid, operation='be made an image of',
                reason='the base VM image of its host cannot read disks; '
                '[containervm] export_vm_image there is to name one that '
                '"nova-containervm-baseimage build --type minimal" has made')
        image = self._images.get(context, rec.image_id,
                                 rec.choices.image_form,
                                 serverspec.image_ref(instance),
                                 instance.trusted_certs)
        operation.Snapshot(self._driver, self._images, context,
                           instance).run(
            image_id, update_task_state, image, self._base,
            room(instance, rec))
