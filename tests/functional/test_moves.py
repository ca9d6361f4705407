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

"""Resize, migration, evacuation and shelving of container servers."""

import json
import os
from unittest import mock

import ddt
from oslo_concurrency import processutils

from nova_containervm import conf
from nova_containervm import moves
from nova_containervm import record
from tests.functional import base

CONF = conf.CONF


class MoveCase(base.TestBase):

    def setUp(self):
        super().setUp()
        self.enable()
        self.remote = self.useFixture(base.FakeRemote())
        self.start_compute('compute1')

    def layer_share(self):
        self.flags(writable_layer='share', group='containervm')

    def second(self):
        self.start_compute('compute2')

    def private(self, server, suffix=''):
        """The server's own directory on its host, made if need be."""
        path = os.path.join(self.instance_dir(server) + suffix, 'rootfs.rw')
        os.makedirs(path, exist_ok=True)
        return path

    def write(self, server, text):
        with open(os.path.join(self.private(server), 'file'), 'w') as f:
            f.write(text)

    def read(self, server):
        with open(os.path.join(self.private(server), 'file')) as f:
            return f.read()

    def old(self, server):
        return self.instance_dir(server) + '_resize'

    def resize(self, server, disk=40):
        """Resize a server, to VERIFY_RESIZE."""
        flavor = self._create_flavor(disk=disk)
        self.api.post_server_action(server['id'],
                                    {'resize': {'flavorRef': flavor}})
        return self._wait_for_state_change(server, 'VERIFY_RESIZE')

    def migrate(self, server):
        self.api.post_server_action(server['id'], {'migrate': None})
        return self._wait_for_state_change(server, 'VERIFY_RESIZE')

    def confirm(self, server):
        self.api.post_server_action(server['id'], {'confirmResize': None})
        return self._wait_for_state_change(server, 'ACTIVE')

    def revert(self, server):
        # Neutron sends them when the ports are bound again.
        self.api.post_server_action(server['id'], {'revertResize': None})
        return self._wait_for_state_change(server, 'ACTIVE')

    def mounted(self):
        return sorted(self.mounts.mounted)


@ddt.ddt
class ResizeTest(MoveCase):

    def setUp(self):
        super().setUp()
        self.remote.shared = True

    @ddt.data('disk', 'share')
    def test_on_the_same_host(self, layer):
        self.flags(writable_layer=layer, group='containervm')
        self.flags(allow_resize_to_same_host=True)
        server = self.create(self.docker_image())
        directory = self.instance_dir(server)
        if layer == 'share':
            self.write(server, 'before')
        rec = record.Record.load(directory)
        self.disks.clear()
        server = self.resize(server)
        # It has grown, unless nothing is written there, and is still the
        # base VM image's.
        size = 40 << 30 if layer == 'disk' else 64 << 20
        self.assertIn(('containervm_' + rec.base_digest[:40], size),
                      self.disks)
        self.assertEqual(rec, record.Record.load(directory))
        self.assertEqual(rec, record.Record.load(self.old(server)))
        self.assertEqual([os.path.join(directory, 'rootfs')], self.mounted())
        if layer == 'share':
            self.assertEqual('before', self.read(server))
            self.write(server, 'after')
        self.confirm(server)
        self.assertFalse(os.path.exists(self.old(server)))
        if layer == 'share':
            self.assertEqual('after', self.read(server))
        self._delete_server(server)
        self.assertFalse(os.path.exists(directory))
        self.assertEqual([], self.mounted())

    @ddt.data('disk', 'share')
    def test_revert_on_the_same_host(self, layer):
        self.flags(writable_layer=layer, group='containervm')
        self.flags(allow_resize_to_same_host=True)
        server = self.create(self.docker_image())
        if layer == 'share':
            self.write(server, 'before')
        server = self.resize(server)
        if layer == 'share':
            self.write(server, 'after')
        self.revert(server)
        self.assertFalse(os.path.exists(self.old(server)))
        self.assertEqual(
            [os.path.join(self.instance_dir(server), 'rootfs')],
            self.mounted())
        if layer == 'share':
            self.assertEqual('before', self.read(server))

    def test_delete_instead_of_confirm(self):
        self.layer_share()
        self.flags(allow_resize_to_same_host=True)
        server = self.create(self.docker_image())
        self.write(server, 'before')
        server = self.resize(server)
        self._delete_server(server)
        for directory in (self.instance_dir(server), self.old(server)):
            self.assertFalse(os.path.exists(directory), directory)
        self.assertEqual([], self.mounted())

    def test_stopped_server(self):
        self.flags(allow_resize_to_same_host=True)
        server = self.create(self.docker_image())
        self._stop_server(server)
        self.assertEqual([], self.mounted())
        server = self.resize(server)
        self.api.post_server_action(server['id'], {'confirmResize': None})
        server = self._wait_for_state_change(server, 'SHUTOFF')
        self._start_server(server)


@ddt.ddt
class MigrationTest(MoveCase):

    @ddt.data('disk', 'share')
    def test_to_another_host(self, layer):
        self.flags(writable_layer=layer, group='containervm')
        server = self.create(self.docker_image())
        if layer == 'share':
            self.write(server, 'before')
            # As if an earlier attempt had been cut short
            for name in ('rootfs.tar.leaving', 'image.tar.leaving'):
                with open(os.path.join(self.instance_dir(server),
                                       'containervm', name), 'w') as left:
                    left.write('half')
            # It does no harm when the server stays.
            server = self._reboot_server(server, hard=True)
            self.assertEqual('before', self.read(server))
        self.second()
        self.assertEqual('compute1', server['OS-EXT-SRV-ATTR:host'])
        server = self.migrate(server)
        self.assertEqual('compute2', server['OS-EXT-SRV-ATTR:host'])
        expected = ['server.json', 'status.log']
        if layer == 'share':
            expected.append('rootfs.tar')
            self.assertEqual('before', self.read(server))
        self.assertEqual(expected, self.remote.copied)
        # Nothing that was only for the way is left.
        for directory in (self.instance_dir(server), self.old(server)):
            self.assertEqual(
                {'server.json', 'status.log'},
                set(os.listdir(os.path.join(directory, 'containervm'))))
        self.confirm(server)
        self.assertFalse(os.path.exists(self.old(server)))
        self._delete_server(server)
        self.assertEqual([], self.mounted())

    def test_revert(self):
        self.layer_share()
        server = self.create(self.docker_image())
        self.write(server, 'before')
        self.second()
        server = self.migrate(server)
        self.write(server, 'after')
        server = self.revert(server)
        self.assertEqual('compute1', server['OS-EXT-SRV-ATTR:host'])
        self.assertEqual('before', self.read(server))

    def test_image_that_the_image_service_has_lost(self):
        image_id = self.docker_image()
        server = self.create(image_id)
        self.second()
        self.glance.delete(None, image_id)
        server = self.migrate(server)
        self.assertIn('image.tar', self.remote.copied)
        self.assertEqual('ACTIVE', self.confirm(server)['status'])

    def test_base_vm_image_that_the_other_host_has_not(self):
        server = self.create(self.docker_image())
        rec = record.Record.load(self.instance_dir(server))
        bases = os.path.join(CONF.instances_path, '_base', 'containervm',
                             'base')
        self.second()
        fetched = []
        driver = self.computes['compute2'].driver._containers._bases

        def copy(digest, source, target):
            fetched.append((digest, source))

        driver._copy = copy
        os.rename(os.path.join(bases, rec.base_digest), bases + '.away')
        self.addCleanup(os.path.exists, bases)
        original = driver.get

        def get(digest):
            if not os.path.exists(os.path.join(bases, digest)):
                os.rename(bases + '.away', os.path.join(bases, digest))
            return original(digest)

        driver.get = get
        self.migrate(server)
        self.assertEqual([(rec.base_digest, 'compute1')], fetched)

    def test_failure_on_the_way(self):
        """Everything is as before on the host that it was to leave."""
        self.layer_share()
        server = self.create(self.docker_image())
        self.write(server, 'before')
        self.second()
        self.remote.fail = 'rootfs.tar'
        self.api.post_server_action(server['id'], {'migrate': None},
                                    check_response_status=[202, 500])
        server = self._wait_for_state_change(server, 'ERROR')
        self.assertFalse(os.path.exists(self.old(server)))
        self.assertEqual('before', self.read(server))
        self.assertEqual(
            {'server.json', 'status.log'},
            set(os.listdir(os.path.join(self.instance_dir(server),
                                        'containervm'))))
        self.assertIn('no route to host', self._fault(server))
        self._reboot_server(server, hard=True)

    def test_failure_on_arrival(self):
        """What has come along is not forgotten when it is started there."""
        self.layer_share()
        server = self.create(self.docker_image())
        self.write(server, 'before')
        self.second()
        with mock.patch.object(
                moves.moving, 'restore_private',
                side_effect=processutils.ProcessExecutionError('no room')):
            self.api.post_server_action(server['id'], {'migrate': None},
                                        check_response_status=[202, 500])
            server = self._wait_for_state_change(server, 'ERROR')
        self.assertIn('no room', self._fault(server))
        self.assertEqual('compute2', server['OS-EXT-SRV-ATTR:host'])
        self.assertEqual([], os.listdir(self.private(server)))
        self.api.post_server_action(
            server['id'], {'os-resetState': {'state': 'active'}})
        server = self._reboot_server(server, hard=True)
        self.assertEqual('before', self.read(server))
        self.assertEqual(
            {'server.json', 'status.log'},
            set(os.listdir(os.path.join(self.instance_dir(server),
                                        'containervm'))))

    def _fault(self, server):
        return self.api.get_server(server['id'])['fault']['message']

    def test_images_in_use_are_kept(self):
        """Also by a server that may come back."""
        image_id = self.docker_image()
        server = self.create(image_id)
        self.second()
        rec = record.Record.load(self.instance_dir(server))
        self.migrate(server)
        self.flags(remove_unused_images_minimum_age_seconds=0,
                   group='containervm')
        os.rename(self.instance_dir(server), self.instance_dir(server) + 'x')
        containers = self.computes['compute1'].driver._containers
        containers.manage_image_cache([])
        self.assertEqual(rec.base_digest,
                         containers._bases.get(rec.base_digest).digest)
        self.assertTrue(containers._images.known(image_id, 'mapped'))
        os.rename(self.instance_dir(server) + 'x', self.instance_dir(server))


class EvacuateTest(MoveCase):

    def setUp(self):
        super().setUp()
        self.image_id = self.docker_image()
        self.server = self.create(self.image_id)
        self.second()

    def evacuate(self):
        compute1 = self.computes['compute1']
        service = self.api.get_services(host='compute1')[0]
        compute1.stop()
        self.api.put_service_force_down(service['id'], True)
        self.api.post_server_action(self.server['id'], {'evacuate': {}})
        server = self._wait_for_server_parameter(
            self.server, {'OS-EXT-SRV-ATTR:host': 'compute2',
                          'status': 'SHUTOFF'})
        self._start_server(server)
        return server

    def test_shared_directory(self):
        """The server goes on with its disk, and so with its base VM image."""
        directory = self.instance_dir(self.server)
        rec = record.Record.load(directory)
        with open(os.path.join(directory, 'disk'), 'w'):
            pass
        # New servers of the other host get another one.
        containers = self.computes['compute2'].driver._containers
        path = self._base_vm_image()
        with open(path, 'w') as f:
            f.write('newer')
        manifest = os.path.join(os.path.dirname(path), 'manifest.json')
        with open(manifest) as f:
            content = json.load(f)
        content['disk']['sha256'] = 'f' * 64
        containers._base = containers._base.__class__(**{
            **containers._base.__dict__, 'digest': 'f' * 64})
        self.evacuate()
        self.assertEqual(rec, record.Record.load(directory))

    def test_fresh(self):
        directory = self.instance_dir(self.server)
        os.rename(directory, directory + '.lost')
        self.evacuate()
        self.assertEqual(self.image_id,
                         record.Record.load(directory).image_id)


class RebuildTest(MoveCase):

    def rebuild(self, server, image_id):
        self.api.post_server_action(server['id'],
                                    {'rebuild': {'imageRef': image_id}})
        return self._wait_for_state_change(server, 'ACTIVE')

    def test_from_a_container_to_a_plain_image_and_back(self):
        docker = self.docker_image()
        server = self.create(docker)
        directory = self.instance_dir(server)
        self.rebuild(server, self.glance.image1['id'])
        self.assertEqual([], self.mounted())
        self.assertFalse(os.path.exists(os.path.join(directory,
                                                     'containervm')))
        self.assertNotIn('containervm_state',
                         self.api.get_server(server['id'])['metadata'])
        self.rebuild(server, docker)
        self.assertEqual([os.path.join(directory, 'rootfs')], self.mounted())
        self.assertEqual(docker, record.Record.load(directory).image_id)
