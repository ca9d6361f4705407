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


"""The facade: a plain server is LibvirtDriver's, with the same arguments."""

import inspect
import os
import sys
from unittest import mock

import ddt
from nova.compute import task_states
from nova.compute import vm_states
from nova import exception
from nova import objects
from nova.objects import flavor
from nova.virt.libvirt import driver as libvirt_driver
from oslo_concurrency import processutils
from oslotest import base

from nova_containervm import conf
from nova_containervm import driver
from nova_containervm import errors
from nova_containervm import ops
from nova_containervm import record
from tests.unit import test_domain

CONF = conf.CONF


def instance(container_format='bare'):
    return objects.Instance(
        uuid='4ef9ad0c-7a91-4a3c-b3b2-3ac5e9d4a51c',
        vm_state=vm_states.ACTIVE, task_state=None, image_ref='image',
        system_metadata={'image_container_format': container_format})


def overrides():
    """Our methods that LibvirtDriver has too, and that take a server."""
    for name, function in vars(driver.ContainerVMDriver).items():
        if not inspect.isfunction(function):
            continue
        if (hasattr(libvirt_driver.LibvirtDriver, name) and
                'instance' in inspect.signature(function).parameters):
            yield name


# Methods whose first arguments are not enough to call them: the rest.
VARIADIC = {
    '_create_image': ['disk_mapping'],
    '_get_guest_config': ['network_info', 'image_meta', 'disk_info'],
    '_get_guest_xml': ['network_info', 'disk_info', 'image_meta'],
    '_create_guest_with_network': ['block_device_info'],
    '_hard_reboot': ['network_info', 'share_info'],
    '_cleanup': ['block_device_info'],
}


@ddt.ddt
class DriverTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        with mock.patch.object(libvirt_driver.LibvirtDriver, '__init__',
                               return_value=None):
            self.driver = driver.ContainerVMDriver.__new__(
                driver.ContainerVMDriver)
        self.driver._image_api = mock.sentinel.image_api
        self.driver._volume_api = mock.sentinel.volume_api
        self.driver._host = mock.sentinel.host
        self.driver._containers = ops.ContainerOps(self.driver)
        for option in ('sub_virt_type', 'virt_type', 'base_vm_image'):
            self.addCleanup(CONF.clear_override, option, 'libvirt')

    @ddt.data(('docker', None, True), ('docker', 'old', False),
              ('bare', None, False))
    @ddt.unpack
    def test_crash_in_resize(self, container_format, old, given):
        """LibvirtDriver gets the flavors that Nova has not noted yet."""
        CONF.set_override('sub_virt_type', 'container', 'libvirt')
        server = instance(container_format)
        server.flavor = flavor.Flavor(name='now')
        server.old_flavor = old and flavor.Flavor(name=old)
        server.new_flavor = None
        with mock.patch.object(
                libvirt_driver.LibvirtDriver, '_finish_revert_migration_vtpm',
                autospec=True) as original:
            self.driver._finish_revert_migration_vtpm(None, server)
        passed = original.call_args.args[2]
        if given:
            self.assertEqual(['now'] * 2, [passed.old_flavor.name,
                                           passed.new_flavor.name])
            # What Nova saves is as it was.
            self.assertIsNone(server.old_flavor)
        else:
            self.assertIs(server, passed)

    def _call(self, name, server):
        function = getattr(self.driver, name)
        arguments = []
        signature = inspect.signature(
            getattr(libvirt_driver.LibvirtDriver, name))
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL,
                                  parameter.VAR_KEYWORD):
                continue
            arguments.append(server if parameter.name == 'instance'
                             else getattr(mock.sentinel, parameter.name))
        arguments += [getattr(mock.sentinel, extra)
                      for extra in VARIADIC.get(name, ())]
        with mock.patch.object(libvirt_driver.LibvirtDriver, name,
                               autospec=True) as original:
            result = function(*arguments)
        self.assertEqual(1, original.call_count, name)
        expected = signature.bind(self.driver, *arguments)
        expected.apply_defaults()
        seen = signature.bind(*original.call_args.args,
                              **original.call_args.kwargs)
        seen.apply_defaults()
        self.assertEqual(expected.arguments, seen.arguments)
        return result, original.return_value

    @ddt.data(*overrides())
    def test_plain_server(self, name):
        CONF.set_override('sub_virt_type', 'container', 'libvirt')
        self._call(name, instance())

    @ddt.data(*overrides())
    def test_docker_image_on_a_host_that_is_not_enabled(self, name):
        self._call(name, instance('docker'))

    def test_every_override_of_an_operation_is_covered(self):
        self.assertIn('spawn', set(overrides()))
        self.assertGreater(len(list(overrides())), 12)

    def test_signatures(self):
        for name, function in inspect.getmembers(
                driver.ContainerVMDriver, inspect.isfunction):
            original = getattr(libvirt_driver.LibvirtDriver, name, None)
            if name.startswith('_') or original is None:
                continue
            expected, actual = (
                [(p.name, p.kind, p.default)
                 for p in inspect.signature(f).parameters.values()]
                for f in (original, function))
            self.assertEqual(expected, actual, name)

    @ddt.data(
        ('set_admin_password', exception.SetAdminPasswdNotSupported),
        ('suspend', exception.InstanceFaultRollback),
        ('check_can_live_migrate_source', exception.InvalidSharedStorage),
        ('check_can_live_migrate_destination',
         exception.InvalidSharedStorage),
    )
    @ddt.unpack
    def test_refused(self, name, error):
        CONF.set_override('sub_virt_type', 'container', 'libvirt')
        server = instance('docker')
        rec = record.Record('image', 'd' * 64, 'minimal',
                            test_domain.choices())
        record.remember(server, rec)
        with mock.patch.object(record, 'of', return_value=rec):
            raised = self.assertRaises(error, self._call, name, server)
        message = str(getattr(raised, 'inner_exception', raised))
        self.assertIn(instance().uuid, message)

    def test_files_of_a_deleted_server(self):
        """What needs root goes first, in both of its directories."""
        CONF.set_override('sub_virt_type', 'container', 'libvirt')
        server = instance('docker')
        done = []
        with mock.patch.object(
                self.driver._containers.moves, 'discard',
                side_effect=lambda d: done.append(os.path.basename(d))), \
                mock.patch.object(
                    libvirt_driver.LibvirtDriver, 'delete_instance_files',
                    side_effect=lambda i: done.append('files') or True):
            self.assertTrue(self.driver.delete_instance_files(server))
        self.assertEqual([server.uuid, server.uuid + '_resize', 'files'],
                         done)

    def test_files_that_cannot_be_deleted(self):
        """Nova asks again; until then nothing is half removed."""
        CONF.set_override('sub_virt_type', 'container', 'libvirt')
        with mock.patch.object(
                self.driver._containers.moves, 'discard',
                side_effect=processutils.ProcessExecutionError('busy')), \
                mock.patch.object(libvirt_driver.LibvirtDriver,
                                  'delete_instance_files') as original:
            self.assertIs(False, self.driver.delete_instance_files(
                instance('docker')))
        original.assert_not_called()

    @ddt.data('power_off', 'rescue')
    def test_rescue_is_refused_and_the_state_kept(self, name):
        CONF.set_override('sub_virt_type', 'container', 'libvirt')
        server = instance('docker')
        server.task_state = task_states.RESCUING
        server.vm_state = vm_states.ACTIVE
        self.assertRaises(errors.OperationNotSupported, self._call, name,
                          server)
        self.assertIn(server.uuid, self.driver._containers._watcher._restoring)

    @ddt.data(mock.sentinel.callback, None)
    def test_starts_with_its_listener_only(self, callback):
        CONF.set_override('sub_virt_type', 'container', 'libvirt')
        with mock.patch.object(self.driver._containers, 'start') as start:
            self.driver.register_event_listener(callback)
        self.assertEqual(0 if callback is None else 1, start.call_count)

    def test_refusal_to_start_does_not_leave_threads_behind(self):
        CONF.set_override('sub_virt_type', 'container', 'libvirt')
        CONF.set_override('base_vm_image', '/no/such', 'libvirt')
        host = self.driver._host = mock.Mock()
        self.assertRaises(exception.InvalidConfiguration,
                          self.driver._containers.start)
        host.cleanup.assert_called_once_with()
        host._conn_event_handler_queue.put.assert_called_once_with(sys.exit)

    @ddt.data(('container', 'lxc', exception.InvalidConfiguration),
              ('container', 'kvm', exception.HypervisorUnavailable),
              (None, 'lxc', exception.HypervisorUnavailable))
    @ddt.unpack
    def test_unreachable_libvirt(self, sub_virt_type, virt_type, error):
        CONF.set_override('sub_virt_type', sub_virt_type, 'libvirt')
        CONF.set_override('virt_type', virt_type, 'libvirt')
        self.driver._host = mock.Mock()
        with mock.patch.object(libvirt_driver.LibvirtDriver, 'init_host',
                               side_effect=exception.HypervisorUnavailable):
            self.assertRaises(error, self.driver.init_host, 'here')

    def test_does_not_start_when_not_enabled(self):
        with mock.patch.object(self.driver._containers, 'start') as start:
            self.driver.register_event_listener(mock.sentinel.callback)
        start.assert_not_called()
