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

"""Images of container servers, as a user of the compute API makes them."""

import contextlib
import copy
import hashlib
import io
import json
import os
import tarfile

import fixtures
from nova import exception

from nova_containervm import conf
from nova_containervm import domain
from nova_containervm.snapshot import archive
from nova_containervm.snapshot import errors
from nova_containervm.snapshot import tarwrite
from tests.functional import base

CONF = conf.CONF
LAYER = tarwrite.header(tarwrite.Entry(b'new')) + tarwrite.END
READER = 'nova_containervm.snapshot.layers.ChangesReader.'


class FakeGlanceData(fixtures.Fixture):
    """An image service that keeps what is uploaded.

    :param glance: Nova's GlanceFixture
    """

    def __init__(self, glance):
        self._glance = glance
        self.data = {}
        self.cut = 0

    def _setUp(self):
        update = self._glance.update

        def with_data(context, image_id, metadata, data=None,
                      purge_props=False):
            # As Glance has it: what the image has but not the update stays.
            image = copy.deepcopy(self._glance.images[image_id])
            if purge_props:
                image['properties'] = {}
            image['properties'].update(metadata.pop('properties', {}))
            image.update(metadata)
            if data is not None:
                content = b''.join(iter(lambda: data.read(65536), b''))
                self.data[image_id] = content[self.cut:]
                image['size'] = len(content) - self.cut
                image['status'] = 'active'
            return update(context, image_id, image, purge_props=True)

        self._glance.update = with_data


class SnapshotCase(base.TestBase):

    # As in production: whoever asks for an image does not wait for it.
    CAST_AS_CALL = False

    def setUp(self):
        super().setUp()
        self.enable()
        self.remote = self.useFixture(base.FakeRemote())
        self.uploads = self.useFixture(FakeGlanceData(self.glance))
        self.useFixture(fixtures.MockPatch(READER + 'of_disk',
                                           self._of_disk))
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.snapshot.originals.from_glance',
            self._from_glance))
        self.fail_with = None
        self.start_compute()

    @contextlib.contextmanager
    def _of_disk(self, base_vm, whole):
        self._task_is('image_pending_upload')
        if self.fail_with is not None:
            raise self.fail_with
        self.assertTrue(base_vm.can_export)
        self.whole = whole
        yield len(LAYER), [LAYER[:100], LAYER[100:]]
        self._task_is('image_uploading')

    def _task_is(self, task):
        """What a user sees meanwhile."""
        server, = self.api.get_servers()
        actual = server['OS-EXT-STS:task_state']
        if actual not in (task, 'shelving_' + task):
            raise AssertionError('%s, not %s' % (actual, task))

    def _from_glance(self, chunks, size, known):
        for index, diff_id in enumerate(known.diff_ids):
            yield archive.Layer(known.blobs[index], 5, [b'layer'], (index,),
                                diff_id)

    def image_of(self, server, name='snapshot', wait='ACTIVE'):
        """Make an image of a server; return its id."""
        response = self.api.post_server_action(
            server['id'], {'createImage': {'name': name}})
        server = self._wait_for_server_parameter(
            server, {'status': wait, 'OS-EXT-STS:task_state': None})
        return response['image_id']

    def nothing_is_left(self):
        self.assertEqual([], os.listdir(CONF.libvirt.snapshots_directory))

    def contents(self, image_id):
        """Members of the archive, and its manifest and config."""
        with tarfile.open(fileobj=io.BytesIO(
                self.uploads.data[image_id])) as tar:
            files = {m.name: tar.extractfile(m).read() for m in tar}
        manifest, = json.loads(files['manifest.json'])
        return files, manifest, json.loads(files[manifest['Config']])


class SnapshotTest(SnapshotCase):

    def test_image(self):
        server = self.create(self.docker_image(
            containervm_env='A=1', containervm_ref='one-of-many',
            mine='kept'))
        image_id = self.image_of(server)
        image = self.glance.images[image_id]
        self.assertEqual(('docker', 'raw', 'active', 'snapshot'), (
            image['container_format'], image['disk_format'],
            image['status'], image['name']))
        properties = image['properties']
        self.assertEqual(('A=1', 'kept', 'snapshot'), (
            properties['containervm_env'], properties['mine'],
            properties['image_type']))
        # There is one image in it, and the machine is not its business.
        self.assertNotIn('containervm_ref', properties)
        self.assertEqual(set(), set(domain.HARDWARE) & set(properties))
        self.nothing_is_left()

    def test_archive(self):
        server = self.create(self.docker_image())
        files, manifest, config = self.contents(self.image_of(server))
        digest = 'sha256:' + hashlib.sha256(LAYER).hexdigest()
        self.assertEqual(['sha256:' + 'a' * 64, 'sha256:' + 'b' * 64, digest],
                         config['rootfs']['diff_ids'])
        self.assertEqual([b'layer', b'layer', LAYER],
                         [files[name] for name in manifest['Layers']])
        self.assertEqual(base.CONFIG['config'], config['config'])
        self.assertEqual(3, len(config['history']))
        self.assertIn(server['id'], config['history'][-1]['comment'])
        self.assertEqual(config['created'], config['history'][-1]['created'])
        self.assertEqual(manifest['Config'], hashlib.sha256(
            files[manifest['Config']]).hexdigest() + '.json')

    def test_image_that_the_image_service_has_lost(self):
        """Its layers are made again; how many they are stays."""
        image_id = self.docker_image()
        server = self.create(image_id)
        self.glance.delete(None, image_id)
        _files, manifest, config = self.contents(self.image_of(server))
        self.assertEqual(3, len(manifest['Layers']))
        self.assertEqual(3, len(config['rootfs']['diff_ids']))
        self.assertNotIn('sha256:' + 'a' * 64, config['rootfs']['diff_ids'])

    def test_stopped_server(self):
        server = self.create(self.docker_image())
        self._stop_server(server)
        image_id = self.image_of(server, wait='SHUTOFF')
        self.assertEqual('active', self.glance.images[image_id]['status'])

    def test_failure_leaves_nothing(self):
        server = self.create(self.docker_image())
        self.fail_with = errors.LayerFailed(reason='the disk is bad')
        image_id = self.image_of(server)
        self.assertNotIn(image_id, self.glance.images)
        self.nothing_is_left()

    def test_upload_that_is_cut_off(self):
        server = self.create(self.docker_image())
        self.uploads.cut = 512
        image_id = self.image_of(server)
        self.assertNotIn(image_id, self.glance.images)

    def test_base_vm_image_that_cannot_read_disks(self):
        server = self.create(self.docker_image())
        service = self.computes['compute1'].driver._containers.snapshots
        service._base = None
        image_id = self.image_of(server)
        self.assertNotIn(image_id, self.glance.images)

    def test_deleted_meanwhile(self):
        server = self.create(self.docker_image())
        self.fail_with = exception.InstanceNotFound(instance_id=server['id'])
        self.api.post_server_action(server['id'],
                                    {'createImage': {'name': 'snapshot'}})
        # Nova leaves the server to who deletes it.
        self._wait_for_server_parameter(
            server, {'OS-EXT-STS:task_state': 'image_pending_upload'})
        self._delete_server(server)
        self.nothing_is_left()

    def test_plain_server(self):
        """LibvirtDriver's: ours is not asked."""
        server = self.create(self.glance.image1['id'])
        self.fail_with = AssertionError('asked')

        def snapshot(context, instance, image_id, update_task_state):
            update_task_state(task_state='image_uploading')

        with fixtures.MockPatch('nova.virt.libvirt.driver.LibvirtDriver.'
                                'snapshot', side_effect=snapshot) as original:
            self.image_of(server)
        self.assertEqual(1, original.mock.call_count)


class ShelveTest(SnapshotCase):

    def test_shelve_offload_and_unshelve(self):
        self.flags(shelved_offload_time=0)
        image_id = self.docker_image()
        server = self.create(image_id)
        directory = self.instance_dir(server)
        self.api.post_server_action(server['id'], {'shelve': {}})
        server = self._wait_for_state_change(server, 'SHELVED_OFFLOADED')
        self.assertFalse(os.path.exists(directory))
        self.assertEqual({}, self.mounts.mounted)
        shelved, = (i for i in self.glance.images
                    if i in self.uploads.data)
        self._set_data(shelved, json.dumps(base.CONFIG).encode())
        self.disks.clear()

        self.api.post_server_action(server['id'], {'unshelve': None})
        server = self._wait_for_state_change(server, 'ACTIVE')
        # It runs the image that was made of it, which is now gone.
        self.assertNotIn(shelved, self.glance.images)
        self.assertEqual(image_id, server['image']['id'])
        with open(os.path.join(directory, 'containervm',
                               'server.json')) as f:
            self.assertEqual(shelved, json.load(f)['image_id'])
        self.assertTrue(all(name.startswith(('containervm_', 'ephemeral'))
                            for name, _size in self.disks), self.disks)
        self._reboot_server(server, hard=True)
        # And it is made of that again what of.
        _files, manifest, _config = self.contents(self.image_of(server))
        self.assertEqual(3, len(manifest['Layers']))
