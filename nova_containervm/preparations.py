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

"""What is made ready on the host each time a server starts."""

import functools
import os

from lxml import etree
from nova.compute import task_states
from nova.virt.libvirt import utils as libvirt_utils
from oslo_utils import fileutils

from nova_containervm.guest import configdrive
from nova_containervm import metadataroute
from nova_containervm import record
from nova_containervm import serverspec
from nova_containervm import transports
from nova_containervm import watcher


class Preparations:
    """Root filesystem, contract and status file of servers that start.

    :param driver: the ContainerVMDriver
    :param images: the :class:`imageservice.ImageService`
    :param moves: the :class:`moves.Moves`
    :param status: the :class:`watcher.StatusWatcher` of this host
    :param room: function: instance, Record -> bytes that it may write to a
        share
    """

    def __init__(self, driver, images, moves, status, room):
        self._driver = driver
        self._images = images
        self._moves = moves
        self._watcher = status
        self._room = room

    def before_start(self, context, instance, network_info, power_on=True):
        """Prepare what a domain needs before it is defined and started.

        :param power_on: whether it is started
        :returns: a function to be called once it is defined, which writes
            the config drive
        """
        instance_dir = libvirt_utils.get_instance_path(instance)
        rec = record.of(instance)
        self._moves.take_in(instance, rec)
        image = self._image(context, instance, rec)
        rootfs = transports.rootfs(instance_dir, rec.choices)
        rootfs.prepare(image, self._room(instance, rec))
        write = self._agree(context, instance, network_info, rec, image,
                            rootfs)
        if power_on and instance.task_state != task_states.RESUMING:
            self._reset_status(instance_dir, instance.uuid)
        return write

    def before_soft_reboot(self, context, instance, network_info):
        """Have a server that runs find what has changed when it starts again.

        libvirt starts the domain again as it is, with what has been attached
        to it and without what has been detached since its last start.

        :raises exception.InvalidInput: what the user has changed cannot be
        """
        instance_dir = libvirt_utils.get_instance_path(instance)
        rec = record.of(instance)
        guest = self._driver._host.get_guest(instance)
        # Nova may not have noted yet that an interface has been detached.
        domain = etree.fromstring(guest.get_xml_desc(dump_inactive=True))
        there = {mac.get('address').lower()
                 for mac in domain.findall('devices/interface/mac')}
        network_info = [vif for vif in network_info
                        if vif['address'].lower() in there]
        image = self._image(context, instance, rec)
        rootfs = transports.rootfs(instance_dir, rec.choices)
        self._agree(context, instance, network_info, rec, image, rootfs)()

    def _image(self, context, instance, rec):
        return self._images.get(context, rec.image_id, rec.choices.image_form,
                                serverspec.image_ref(instance),
                                instance.trusted_certs)

    def _agree(self, context, instance, network_info, rec, image, rootfs):
        """Make the contract of a server's next start.

        :returns: a function that writes it
        """
        instance_dir = libvirt_utils.get_instance_path(instance)
        network_info = metadataroute.added(context, network_info, instance)
        contract = serverspec.contract(instance, network_info, image, rec,
                                       rootfs)
        serverspec.with_contract(rec, contract).save(instance_dir)
        return functools.partial(self._write_config_drive, context, instance,
                                 network_info, rec, contract, instance_dir)

    def _write_config_drive(self, context, instance, network_info, rec,
                            contract, instance_dir):
        # Only now, for the devices are read from the defined domain.
        instance.device_metadata = self._driver._build_device_metadata(
            context, instance)
        metadata = configdrive.ContainerMetadata(
            instance, contract.files(), serverspec.vendor_data(rec),
            content=list(rec.injected_files), network_info=network_info)
        configdrive.write(os.path.join(instance_dir, configdrive.NAME),
                          metadata)

    def _reset_status(self, instance_dir, uuid):
        path = watcher.status_path(instance_dir)
        self._watcher.forget(uuid)
        for name in watcher.files(path):
            fileutils.delete_if_exists(name)
        # Made here, so that it is nova's and not root's when libvirt's log
        # daemon opens it.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o640))
