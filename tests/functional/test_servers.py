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
"""What a user of the compute API sees of container servers."""

import dataclasses
import json
import os
import sys
import time
from unittest import mock

import ddt
import fixtures
from lxml import etree
from nova import exception
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.api import client

from nova_containervm import conf
from nova_containervm import driver
from tests.functional import base

TRAIT = 'CUSTOM_CONTAINERVM'


class ContainerServerTest(base.TestBase):

    def setUp(self):
        super().setUp()
        self.enable()
        self.start_compute()
        self.driver = self.computes['compute1'].driver

    def _drive(self, server):
        drive, = (files for path, files in self.config_drives.items()
                  if server['id'] in path)
        return drive

    def _domain(self):
        return etree.fromstring(self.xml[-1].encode())

    def _report(self, server, *events):
        path = os.path.join(self.instance_dir(server), 'containervm',
                            'status.log')
        with open(path, 'a') as stream:
            for event in events:
                stream.write(json.dumps({'v': 1, 'at': 1.0, **event}) + '\n')
        self.driver._containers._watcher.poll()

    def test_driver_and_trait(self):
        self.assertIs(driver.ContainerVMDriver, type(self.driver))
        traits = self._get_provider_traits(self.compute_rp_uuids['compute1'])
        self.assertIn(TRAIT, traits)
        self.assertIn(TRAIT + '_9P', traits)
        self.assertNotIn(TRAIT + '_BLOCK', traits)
        self.flags(allowed_transports=['block'], group='containervm')
        self._run_periodics()
        traits = self._get_provider_traits(self.compute_rp_uuids['compute1'])
        self.assertIn(TRAIT + '_BLOCK', traits)

    def test_create_and_delete(self):
        image_id = self.docker_image()
        server = self.create(image_id)
        directory = self.instance_dir(server)
        rootfs = os.path.join(directory, 'rootfs')

        # The disk is the base VM image of the flavor's size, not the tar.
        (name, size), = self.disks
        self.assertTrue(name.startswith('containervm_'), name)
        self.assertEqual(server['flavor']['disk'] << 30, size)

        self.assertEqual(
            {rootfs: ('image', ('a' * 16, 'b' * 16), ())},
            self.mounts.mounted)

        domain = self._domain()
        share, = domain.findall('devices/filesystem')
        self.assertEqual(('mapped', rootfs, 'containervm-rootfs'), (
            share.get('accessmode'), share.find('source').get('dir'),
            share.find('target').get('dir')))
        self.assertIsNotNone(share.find('readonly'))
        self.assertEqual('destroy', domain.findtext('on_reboot'))
        self.assertTrue(domain.findtext('os/kernel').endswith('/kernel'))
        channels = [c.find('target').get('name')
                    for c in domain.findall('devices/channel')]
        self.assertIn('org.openstack.containervm.0', channels)

        drive = self._drive(server)
        config = json.loads(drive['containervm/config.json'])
        self.assertEqual(['/usr/sbin/nginx', '-g', 'daemon off;'],
                         config['process']['args'])
        self.assertEqual('/srv', config['process']['cwd'])
        self.assertIn(b"CVM_STOP_SIGNAL='3'", drive['containervm/guest.env'])
        self.assertIn('openstack/latest/meta_data.json', drive)

        self._delete_server(server)
        self.assertEqual({}, self.mounts.mounted)
        self.assertFalse(os.path.exists(directory))

    def test_volumes_of_the_image(self):
        """From a server's first start on, or never."""
        def volumes(server):
            return json.loads(self._drive(server)['containervm/guest.json'])[
                'volumes']

        containers = self.driver._containers
        new = containers._base
        old = dataclasses.replace(new, features=('agent', 'export'))
        expected = {old: [], new: [{'id': 'image0', 'read_only': False,
                                    'path': '/var/cache/nginx'}]}
        image_id = self.docker_image()
        for first, later in ((old, new), (new, old)):
            containers._base = first
            server = self.create(image_id)
            self.assertEqual(expected[first], volumes(server))
            containers._base = later
            self._reboot_server(server, hard=True)
            self.assertEqual(expected[first], volumes(server))
            self._delete_server(server)

    def test_overrides(self):
        image_id = self.docker_image(containervm_env='A=image\nB=image')
        server = self.create(image_id, metadata={
            'containervm_command': 'echo "hello world"',
            'containervm_env_A': 'metadata'})
        process = json.loads(
            self._drive(server)['containervm/config.json'])['process']
        self.assertEqual(['/usr/sbin/nginx', 'echo', 'hello world'],
                         process['args'])
        self.assertIn('A=metadata', process['env'])
        self.assertIn('B=image', process['env'])

    def test_bad_override(self):
        server = self.create(
            self.docker_image(), expected_state='ERROR',
            metadata={'containervm_stop_timeout': 'soon'})
        server = self.api.get_server(server['id'])
        self.assertIn('stop_timeout', server['fault']['message'])
        self.assertIn('soon', server['fault']['message'])
        self._nothing_is_left(server)

    def test_not_a_docker_image(self):
        server = self.create(self.docker_image(b'\x7fELF'),
                             expected_state='ERROR')
        server = self.api.get_server(server['id'])
        self.assertIn('no docker image', server['fault']['message'])
        self._nothing_is_left(server)

    def test_no_command(self):
        config = dict(base.CONFIG, config={})
        server = self.create(self.docker_image(json.dumps(config).encode()),
                             expected_state='ERROR')
        server = self.api.get_server(server['id'])
        self.assertIn('command', server['fault']['message'])
        self._nothing_is_left(server)
        # Nothing can run it, so it does not take up the store either.
        self.assertIsNone(self.driver._containers._images._store(
            'mapped').lookup(server['image']['id']))

    def _nothing_is_left(self, server):
        self.assertEqual([], self.xml)
        self.assertEqual({}, self.mounts.mounted)
        self.assertFalse(os.path.exists(self.instance_dir(server)))

    def test_guest_reports(self):
        server = self.create(self.docker_image(), metadata={'mine': 'x'})
        self._report(server, {'event': 'booted'},
                     {'event': 'running', 'restarts': 0})
        server = self.api.get_server(server['id'])
        self.assertEqual('running', server['metadata']['containervm_state'])

        self._report(server, {'event': 'exited', 'code': 3, 'signal': 0,
                              'oom': False, 'final': True})
        server = self.api.get_server(server['id'])
        self.assertEqual('3', server['metadata']['containervm_exit_code'])
        self.assertEqual('x', server['metadata']['mine'])
        self.assertEqual('ACTIVE', server['status'])

        # The machine is off: Nova hears of it without its usual delay.
        self._power_off_inside(server)
        self.driver._containers._watcher.poll()
        self._wait_for_state_change(server, 'SHUTOFF')

    def _power_off_inside(self, server):
        connection = self.driver._host.get_connection()
        connection.lookupByUUIDString(server['id']).destroy()

    def test_stop_start_keeps_the_root_filesystem(self):
        server = self.create(self.docker_image())
        self._stop_server(server)
        self._start_server(server)
        self.assertEqual(2, len(self.xml))
        self.assertEqual([os.path.join(self.instance_dir(server), 'rootfs')],
                         list(self.mounts.mounted))
        self.assertEqual('qemu', self._domain().get('type'))
        self.assertEqual(1, len(self._domain().findall(
            'devices/filesystem')))

    def test_hard_reboot(self):
        server = self.create(self.docker_image())
        self._reboot_server(server, hard=True)
        self.assertEqual(2, len(self.xml))
        # The root disk is still the base VM image's.
        self.assertEqual({self.disks[0][0]}, {name for name, _ in self.disks})

    def _soft_reboot(self, server):
        # Nova's fake of libvirt does not end a domain's run.
        self.useFixture(fixtures.MockPatchObject(
            self.driver, '_soft_reboot', return_value=True))
        self.api.post_server_action(server['id'],
                                    {'reboot': {'type': 'SOFT'}})
        self.notifier.wait_for_versioned_notifications('instance.reboot.start')
        self._wait_for_server_parameter(server,
                                        {'OS-EXT-STS:task_state': None})

    def test_soft_reboot_takes_changes(self):
        """libvirt starts the domain as it is; the drive says what is new."""
        server = self.create(self.docker_image())
        self.api.post_server_metadata(
            server['id'], {'containervm_command': 'echo again'})
        self._soft_reboot(server)
        self.assertEqual(1, len(self.xml))
        config = json.loads(self._drive(server)['containervm/config.json'])
        self.assertEqual(['echo', 'again'], config['process']['args'][-2:])

    def test_soft_reboot_with_what_cannot_be_run(self):
        """It goes on as it is, with a fault that says why."""
        server = self.create(self.docker_image())
        self.api.post_server_metadata(
            server['id'], {'containervm_stop_timeout': 'soon'})
        self._soft_reboot(server)
        self.driver._soft_reboot.assert_not_called()
        server = self._wait_for_state_change(server, 'ACTIVE')
        action = self.api.get_instance_actions(server['id'])[0]
        self.assertEqual('reboot', action['action'])
        self.assertIn(b"CVM_STOP_TIMEOUT='10'",
                      self._drive(server)['containervm/guest.env'])

    def test_attached_interface(self):
        """The guest is told of it, and finds it in its next contract."""
        qemu = mock.Mock()
        self.enterContext(mock.patch.dict(sys.modules, libvirt_qemu=qemu))
        server = self.create(self.docker_image())
        port = self.neutron.port_1
        self._attach_interface(server, port['id'])
        (_domain, text, _timeout, _flags), _ = \
            qemu.qemuAgentCommand.call_args
        told = json.loads(text)['arguments']
        self.assertEqual(port['mac_address'].lower(), told['mac'])
        self.assertEqual(1, told['number'])
        address = port['fixed_ips'][0]['ip_address']
        self.assertTrue(told['addrs'].startswith(address + '/'), told)
        self._soft_reboot(server)
        env = self._drive(server)['containervm/guest.env'].decode()
        self.assertIn("CVM_NICC='2'", env)
        self.assertIn("CVM_NIC_1_ADDRS='%s'" % told['addrs'], env)
        self.assertIn("CVM_NIC_1_ROUTES='%s'" % told['routes'], env)

    def test_restart_of_the_service(self):
        server = self.create(self.docker_image())
        self.restart_compute_service('compute1')
        self.driver = self.computes['compute1'].driver
        self._report(server, {'event': 'running', 'restarts': 0})
        server = self.api.get_server(server['id'])
        self.assertEqual('ACTIVE', server['status'])
        self.assertEqual('running', server['metadata']['containervm_state'])
        self._delete_server(server)
        self.assertEqual({}, self.mounts.mounted)

    def test_layer_share(self):
        self.flags(writable_layer='share', group='containervm')
        server = self.create(self.docker_image())
        (target, (kind, _layers, more)), = self.mounts.mounted.items()
        self.assertEqual(os.path.join(self.instance_dir(server), 'rootfs'),
                         target)
        self.assertEqual(('writable', (target + '.rw',)), (kind, more))
        share, = self._domain().findall('devices/filesystem')
        self.assertIsNone(share.find('readonly'))
        self.assertIn(b"CVM_WRITABLE='share'",
                      self._drive(server)['containervm/guest.env'])

        # The share takes what is left of the flavor's root size, and the disk
        # is no larger than the base VM image.
        base_size = 64 << 20
        self.assertEqual([base_size], [size for _name, size in self.disks])
        limit = (server['flavor']['disk'] << 30) - base_size
        self.assertEqual({target + '.rw.img': limit}, self.mounts.limited)
        with open(target + '.rw.img', 'wb') as stream:
            stream.truncate(1 << 30)
        self.assertEqual(1 << 30, self.driver._containers.room_of_shares())

        # It stays so, whatever the settings become.
        self.flags(writable_layer='disk', group='containervm')
        self._reboot_server(server, hard=True)
        self.assertEqual('writable', self.mounts.mounted[target][0])

        self._delete_server(server)
        self.assertEqual({}, self.mounts.limited)

    def test_copy_that_does_not_fit(self):
        self.flags(writable_layer='share', share_provisioning='copy',
                   group='containervm')
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.rootfs.share.ShareRootfs.needs',
            return_value=1 << 30))
        server = self.create(self.docker_image(), expected_state='ERROR')
        fault = self.api.get_server(server['id'])['fault']['message']
        self.assertIn('disk is too small', fault)
        self._nothing_is_left(server)

    def test_block(self):
        self.flags(allowed_transports=['block'], group='containervm')
        server = self.create(self.docker_image(
            containervm_rootfs_transport='block'))
        link = os.path.join(self.instance_dir(server), 'disk.rootfs')
        self.assertTrue(os.readlink(link).endswith('/containervm/block/disk'))
        domain = self._domain()
        self.assertEqual([], domain.findall('devices/filesystem'))
        shared, = (d for d in domain.findall('devices/disk')
                   if d.find('shareable') is not None)
        self.assertEqual(link, shared.find('source').get('file'))
        environment = self._drive(server)['containervm/guest.env']
        self.assertIn(b"CVM_TRANSPORT='block'", environment)
        self.assertIn(b"CVM_ROOTFS_SERIAL='containervm-rootfs'", environment)
        self.assertEqual({}, self.mounts.mounted)

        # A disk that others have is not made for this server.
        os.unlink(link)
        self._reboot_server(server, hard=True)
        self.assertTrue(os.path.islink(link))

        self._delete_server(server)
        self.assertFalse(os.path.exists(self.instance_dir(server)))

    def test_virtiofs(self):
        self.flags(rootfs_transport='virtiofs', group='containervm')
        server = self.create(self.docker_image())
        domain = self._domain()
        share, = domain.findall('devices/filesystem')
        self.assertEqual('virtiofs', share.find('driver').get('type'))
        self.assertEqual('shared',
                         domain.find('memoryBacking/access').get('mode'))
        self.assertIn(b"CVM_TRANSPORT='virtiofs'",
                      self._drive(server)['containervm/guest.env'])
        self.assertEqual(['image'],
                         [kind for kind, *_ in self.mounts.mounted.values()])

    def test_transport_that_the_host_does_not_offer(self):
        server = self.create(
            self.docker_image(containervm_rootfs_transport='block'),
            expected_state='ERROR')
        fault = self.api.get_server(server['id'])['fault']['message']
        self.assertIn('containervm_rootfs_transport', fault)
        self.assertIn('CUSTOM_CONTAINERVM_BLOCK', fault)
        self._nothing_is_left(server)

    def test_libvirt_fails_to_start_it(self):
        self.useFixture(fixtures.MockPatch(
            'nova.virt.libvirt.guest.Guest.launch',
            side_effect=fakelibvirt.libvirtError('no such machine')))
        server = self.create(self.docker_image(), expected_state='ERROR')
        self.assertEqual({}, self.mounts.mounted)
        self.assertFalse(os.path.exists(self.instance_dir(server)))

    def test_plain_server_beside_it(self):
        """A plain image is LibvirtDriver's, on the same host."""
        self.create(self.docker_image())
        plain = self.create(self.glance.image1['id'])
        domain = self._domain()
        self.assertEqual([], domain.findall('devices/filesystem'))
        self.assertIsNone(domain.find('on_reboot'))
        self.assertEqual(1, len(self.mounts.mounted))
        self._delete_server(plain)
        self.assertEqual(1, len(self.mounts.mounted))


class RefusedTest(base.TestBase):
    """What a container server cannot do fails, and leaves it as it was."""

    # As in production, errors of a compute service do not reach its callers.
    CAST_AS_CALL = False

    def setUp(self):
        super().setUp()
        self.enable()
        self.start_compute()

    def _refused(self, server, action, words):
        """An operation fails, says why, and changes nothing."""
        before = self.api.get_server(server['id'])
        try:
            self.api.post_server_action(server['id'], action)
        except client.OpenStackApiException as e:
            self.assertIn(e.response.status_code, (400, 409, 500))
        for _attempt in range(100):
            if words in self._said(server):
                break
            time.sleep(0.1)
        self.assertIn(words, self._said(server))
        server = self._wait_for_server_parameter(
            server, {'OS-EXT-STS:task_state': None,
                     'status': before['status']})

    def _said(self, server):
        actions = self.api.get_instance_actions(server['id'])
        return json.dumps(self.api.api_get(
            '/servers/%s/os-instance-actions/%s' % (
                server['id'], actions[0]['request_id'])
        ).body['instanceAction']['events'])

    def test_refused_operations(self):
        server = self.create(self.docker_image())
        for action, words in (
                ({'suspend': None}, 'suspended'),
                ({'changePassword': {'adminPass': 'x'}}, 'password'),
        ):
            self._refused(server, action, words)
        # It runs as before.
        self.assertEqual(1, len(self.xml))
        self.assertEqual(1, len(self.mounts.mounted))
        self._reboot_server(server, hard=True)


@ddt.ddt
class TransparencyTest(base.TestBase):
    """For plain images our driver is LibvirtDriver, to the byte of the XML."""

    def _boot(self, compute_driver, name, **flags):
        """The domain XML of a server of a plain image."""
        self.COMPUTE_DRIVER = compute_driver
        self.flags(compute_driver=compute_driver)
        if flags.get('enable'):
            self.enable()
        else:
            self.flags(virt_type='qemu', group='libvirt')
        self.start_compute(name)
        self.disks.clear()
        server = self.create(
            self.glance.image1['id'], networks='none', host=name,
            name='server')
        operations = (
            lambda: self._reboot_server(server, hard=True),
            lambda: self._stop_server(server),
            lambda: self._start_server(server))
        for operation in operations:
            operation()
        xml = [x.replace(server['id'], 'UUID') for x in self.xml]
        self.xml.clear()
        self.assertEqual(3, len(xml))
        return [self._neutral(x) for x in xml], list(self.disks)

    def _neutral(self, xml):
        """Without what differs between two servers of one driver, too."""
        root = etree.fromstring(xml.encode())
        for name in ('name', 'uuid'):
            root.find(name).text = ''
        for metadata in root.findall('metadata'):
            root.remove(metadata)
        for entry in root.iterfind('.//sysinfo//entry'):
            if entry.get('name') in ('serial', 'uuid'):
                entry.text = ''
        return etree.tostring(root, encoding='unicode')

    @ddt.data(False, True)
    def test_plain_image(self, enable):
        expected = self._boot('libvirt.LibvirtDriver', 'stock')
        actual = self._boot('containervm.ContainerVMDriver', 'ours',
                            enable=enable)
        self.assertEqual(expected[0], actual[0])
        self.assertEqual(expected[1], actual[1])
        self.assertEqual({}, self.mounts.mounted)

    def test_no_trait_unless_enabled(self):
        self.start_compute()
        self.assertNotIn(TRAIT, self._get_provider_traits(
            self.compute_rp_uuids['compute1']))


@ddt.ddt
class StartTest(base.TestBase):
    """nova-compute refuses to start, and says what to change."""

    @ddt.data(
        ('libvirt', 'virt_type', 'lxc', 'virt_type = kvm or qemu'),
        ('libvirt', 'base_vm_image', None, 'nova-containervm-baseimage'),
        ('libvirt', 'base_vm_image', '/no/such/base.qcow2',
         '/no/such/base.qcow2'),
        ('containervm', 'share_access_mode', 'passthrough', None),
    )
    @ddt.unpack
    def test_settings(self, group, option, value, words):
        self.enable()
        self.flags(group=group, **{option: value})
        if words is None:
            # The fake QEMU runs as root, so this one is fine.
            self.start_compute()
            return
        error = self.assertRaises(exception.InvalidConfiguration,
                                  self.start_compute)
        self.assertIn(words, str(error))

    def test_unreachable_base_image(self):
        self.enable()
        os.unlink(conf.CONF.libvirt.base_vm_image)
        error = self.assertRaises(exception.InvalidConfiguration,
                                  self.start_compute)
        self.assertIn('nova-containervm-baseimage build', str(error))
