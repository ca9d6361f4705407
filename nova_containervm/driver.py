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

"""ContainerVMDriver: Nova's libvirt driver, and docker images beside it.

Every override reads: is it no container server, then LibvirtDriver with the
same arguments; else delegate to :class:`nova_containervm.ops.ContainerOps`.
"""

import functools
import inspect

from nova.compute import task_states
from nova import exception
from nova.virt.libvirt import driver as libvirt_driver

from nova_containervm import conf
from nova_containervm import domain
from nova_containervm import ops
from nova_containervm import scheduler
from nova_containervm import transports

CONF = conf.CONF

__all__ = ['ContainerVMDriver']


def _as_nova_has_it(override):
    """Give an override the signature that this release of Nova has.

    It has more arguments from one release to the next.
    """
    override.__signature__ = inspect.signature(
        getattr(libvirt_driver.LibvirtDriver, override.__name__))
    return override


class ContainerVMDriver(libvirt_driver.LibvirtDriver):
    """Runs docker images as virtual machines, and everything else as ever."""

    def __init__(self, virtapi, read_only=False):
        super().__init__(virtapi, read_only=read_only)
        self._containers = ops.ContainerOps(self)

    # The host

    def init_host(self, host):
        try:
            super().init_host(host)
        except exception.HypervisorUnavailable:
            self._containers.explain_unavailable()
            raise
        # Otherwise at register_event_listener(), which is called next: what
        # guests report is of no use before somebody listens.
        if (self._containers.enabled and
                not CONF.workarounds.handle_virt_lifecycle_events):
            self._containers.start()

    def register_event_listener(self, callback):
        super().register_event_listener(callback)
        # Nova takes its listener away again, with None, when it stops.
        if callback is not None and self._containers.enabled:
            self._containers.start()

    def cleanup_host(self, host):
        if self._containers.enabled:
            self._containers.stop()
        super().cleanup_host(host)

    def update_provider_tree(self, provider_tree, nodename, allocations=None):
        super().update_provider_tree(provider_tree, nodename,
                                     allocations=allocations)
        self._containers.update_traits(provider_tree, nodename)

    def get_available_resource(self, nodename):
        resources = super().get_available_resource(nodename)
        if self._containers.enabled:
            # For ContainerVMFilter
            resources['supported_instances'] = scheduler.with_containers(
                resources['supported_instances'])
        return resources

    def cache_image(self, context, image_id):
        cached = self._containers.cache_image(context, image_id)
        if cached is None:
            return super().cache_image(context, image_id)
        return cached

    def manage_image_cache(self, context, all_instances):
        super().manage_image_cache(context, all_instances)
        self._containers.manage_image_cache(all_instances)

    # Create, start, stop, delete

    def spawn(self, context, instance, image_meta, injected_files,
              admin_password, allocations, network_info=None,
              block_device_info=None, power_on=True, accel_info=None):
        if not self._containers.owns(instance):
            if self._containers.enabled:
                self._containers.refusals.check_plain(
                    context, instance, block_device_info, self._volume_api)
            return super().spawn(
                context, instance, image_meta, injected_files,
                admin_password, allocations, network_info=network_info,
                block_device_info=block_device_info, power_on=power_on,
                accel_info=accel_info)
        with self._containers.creating(
                context, instance, injected_files,
                block_device_info) as meta:
            super().spawn(
                context, instance, meta, injected_files,
                admin_password, allocations, network_info=network_info,
                block_device_info=block_device_info, power_on=power_on,
                accel_info=accel_info)

    def _try_fetch_image_cache(self, image, fetch_func, context, filename,
                               image_id, instance, size,
                               fallback_from_host=None):
        if not self._containers.owns(instance):
            return super()._try_fetch_image_cache(
                image, fetch_func, context, filename, image_id, instance,
                size, fallback_from_host)
        self._containers.create_root_disk(image, instance, size,
                                          fallback_from_host)

    def _needs_rebase_original_qcow2_image(self, instance, backend):
        if not self._containers.owns(instance):
            return super()._needs_rebase_original_qcow2_image(instance,
                                                              backend)
        # After an unshelve. The disk is based on the base VM image.
        return False

    def _get_guest_config(self, instance, *args, **kwargs):
        guest = super()._get_guest_config(instance, *args, **kwargs)
        if self._containers.owns(instance):
            self._containers.configure_guest(guest, instance)
        return guest

    def _get_guest_xml(self, context, instance, *args, **kwargs):
        xml = super()._get_guest_xml(context, instance, *args, **kwargs)
        if self._containers.owns(instance):
            return domain.finish_xml(xml)
        return xml

    def _create_guest_with_network(self, context, xml, instance, network_info,
                                   *args, **kwargs):
        if not self._containers.owns(instance):
            return super()._create_guest_with_network(
                context, xml, instance, network_info, *args, **kwargs)
        preparations = self._containers.preparations
        kwargs['post_xml_callback'] = preparations.before_start(
            context, instance, network_info,
            power_on=kwargs.get('power_on', True))
        guest = super()._create_guest_with_network(
            context, xml, instance, network_info, *args, **kwargs)
        self._containers.startups.launched(instance)
        return guest

    def _build_share_metadata(self, dev, shares):
        if self._containers.enabled and transports.is_rootfs(dev):
            # No share of Manila's. LibvirtDriver would warn of it.
            return None
        return super()._build_share_metadata(dev, shares)

    def _get_instance_disk_info_from_config(self, guest_config,
                                            block_device_info):
        if self._containers.enabled:
            # The disk that all servers of an image share is no server's own.
            guest_config = transports.without_rootfs(guest_config)
        return super()._get_instance_disk_info_from_config(
            guest_config, block_device_info)

    def _get_disk_over_committed_size_total(self):
        total = super()._get_disk_over_committed_size_total()
        if self._containers.enabled:
            total += self._containers.room_of_shares()
        return total

    def reboot(self, context, instance, network_info, reboot_type,
               block_device_info=None, bad_volumes_callback=None,
               accel_info=None, share_info=None):
        if reboot_type == 'SOFT' and self._containers.owns(instance):
            self._containers.preparations.before_soft_reboot(
                context, instance, network_info)
        return super().reboot(
            context, instance, network_info, reboot_type,
            block_device_info=block_device_info,
            bad_volumes_callback=bad_volumes_callback, accel_info=accel_info,
            share_info=share_info)

    def _hard_reboot(self, context, instance, *args, **kwargs):
        if not self._containers.owns(instance):
            return super()._hard_reboot(context, instance, *args, **kwargs)
        with self._containers.startups.starting(instance):
            return super()._hard_reboot(context, instance, *args, **kwargs)

    def get_info(self, instance, use_cache=True):
        info = super().get_info(instance, use_cache=use_cache)
        # Asked often, so not by what would have to be read from the database
        if not self._containers.startups.is_starting(instance):
            return info
        return self._containers.startups.info(instance, info)

    def power_off(self, instance, timeout=0, retry_interval=0):
        if self._containers.owns(instance):
            # Nova stops a server before it calls rescue(), which is too late.
            if instance.task_state == task_states.RESCUING:
                self._containers.refusals.rescue(instance)
            timeout = self._containers.shutdown_timeout(instance, timeout)
        super().power_off(instance, timeout=timeout,
                          retry_interval=retry_interval)
        if self._containers.owns(instance):
            self._containers.release(instance)

    def get_console_output(self, context, instance):
        if not self._containers.owns(instance):
            return super().get_console_output(context, instance)
        # LibvirtDriver asks the terminal of the running domain. A container
        # that has ended still has a log.
        return self._get_console_output_file(
            instance, self._get_console_log_path(instance))

    def _cleanup(self, context, instance, network_info, *args, **kwargs):
        self._containers.release(instance)
        return super()._cleanup(context, instance, network_info,
                                *args, **kwargs)

    def delete_instance_files(self, instance):
        # Nova also calls it alone, for what an earlier delete or a move that
        # failed has left.
        if (self._containers.enabled and
                not self._containers.moves.remove(instance)):
            return False
        return super().delete_instance_files(instance)

    def snapshot(self, context, instance, image_id, update_task_state):
        if not self._containers.owns(instance):
            return super().snapshot(context, instance, image_id,
                                    update_task_state)
        self._containers.snapshots.snapshot(context, instance, image_id,
                                            update_task_state,
                                            self._containers.room)

    def attach_interface(self, context, instance, image_meta, vif):
        super().attach_interface(context, instance, image_meta, vif)
        if self._containers.owns(instance):
            self._containers.interfaces.attached(context, instance, vif)

    # Resize and migration

    def migrate_disk_and_power_off(self, context, instance, dest,
                                   flavor, network_info,
                                   block_device_info=None,
                                   timeout=0, retry_interval=0):
        move_disks = functools.partial(
            super().migrate_disk_and_power_off, context, instance, dest,
            flavor, network_info, block_device_info=block_device_info,
            timeout=timeout, retry_interval=retry_interval)
        if not self._containers.owns(instance):
            return move_disks()
        return self._containers.moves.leave(context, instance, dest,
                                            move_disks)

    @_as_nova_has_it
    def finish_migration(self, context, migration, instance, disk_info,
                         network_info, image_meta, *args, **kwargs):
        if self._containers.owns(instance):
            # Nova gives the image as the user has it, without what spawn()
            # has added for the machine.
            image_meta = instance.image_meta
        return super().finish_migration(
            context, migration, instance, disk_info, network_info, image_meta,
            *args, **kwargs)

    def _create_image(self, context, instance, *args, **kwargs):
        source = kwargs.get('fallback_from_host')
        if source is not None and self._containers.owns(instance):
            # The first thing that finish_migration() does.
            self._containers.moves.arrive(context, instance, source)
        return super()._create_image(context, instance, *args, **kwargs)

    def _create_images_and_backing(self, context, instance, instance_dir,
                                   disk_info, fallback_from_host=None):
        if fallback_from_host is not None and self._containers.owns(instance):
            # In pre_live_migration(), which has just made the directory
            self._containers.livemoves.prepare(
                context, instance, instance_dir, fallback_from_host)
        super()._create_images_and_backing(
            context, instance, instance_dir, disk_info, fallback_from_host)

    def _wait_for_running(self, instance):
        if not self._containers.owns(instance):
            return super()._wait_for_running(instance)
        with self._containers.startups.starting(instance):
            self._containers.startups.launched(instance)
            return super()._wait_for_running(instance)

    def _cleanup_failed_instance_base(self, inst_base):
        if self._containers.enabled:
            self._containers.moves.discard(inst_base)
        super()._cleanup_failed_instance_base(inst_base)

    def _finish_revert_migration_vtpm(self, context, instance):
        if self._containers.owns(instance) and instance.old_flavor is None:
            # nova-compute died in the middle of the resize, and takes it back
            # at its start. Nova has not noted the flavors at that point, and
            # LibvirtDriver fails without: the server would stay off, with
            # its disks where no start finds them.
            instance = instance.obj_clone()
            instance.old_flavor = instance.new_flavor = instance.flavor
        super()._finish_revert_migration_vtpm(context, instance)

    def _cleanup_resize(self, context, instance, network_info):
        if self._containers.owns(instance):
            self._containers.moves.discard_old(instance)
        super()._cleanup_resize(context, instance, network_info)

    # What a container server cannot do

    def rescue(self, context, instance, network_info, image_meta,
               rescue_password, block_device_info, share_info):
        if self._containers.owns(instance):
            self._containers.refusals.rescue(instance)
        return super().rescue(context, instance, network_info, image_meta,
                              rescue_password, block_device_info, share_info)

    def suspend(self, context, instance):
        if self._containers.owns(instance):
            self._containers.refusals.check_suspend(instance)
        super().suspend(context, instance)

    def set_admin_password(self, instance, new_pass):
        if self._containers.owns(instance):
            self._containers.refusals.set_admin_password(instance)
        super().set_admin_password(instance, new_pass)

    def mount_share(self, context, instance, share_mapping):
        if self._containers.owns(instance):
            self._containers.refusals.mount_share(instance, share_mapping)
        super().mount_share(context, instance, share_mapping)

    def check_can_live_migrate_destination(self, context, instance,
                                           src_compute_info, dst_compute_info,
                                           block_migration=False,
                                           disk_over_commit=False):
        if self._containers.owns(instance):
            self._containers.livemoves.check_destination(instance)
        return super().check_can_live_migrate_destination(
            context, instance, src_compute_info, dst_compute_info,
            block_migration, disk_over_commit)

    def check_can_live_migrate_source(self, context, instance,
                                      dest_check_data,
                                      block_device_info=None):
        if self._containers.owns(instance):
            self._containers.livemoves.check_source(instance)
        return super().check_can_live_migrate_source(
            context, instance, dest_check_data, block_device_info)
