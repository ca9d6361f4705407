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

"""Nova's image caching and aging, with real stores."""

import os
from unittest import mock

from nova import exception
from nova.virt.libvirt import driver as libvirt_driver

from nova_containervm import conf
from nova_containervm import driver
from nova_containervm import ops
from tests.unit.images import base
from tests.unit.images import builders
from tests.unit.images.builders import Tar

CONF = conf.CONF


class Api:
    """Nova's image API over a dict of images."""

    def __init__(self):
        self.images = {}
        self.downloads = []

    def add(self, image_id, data, container_format='docker', **properties):
        self.images[image_id] = data, {
            'id': image_id, 'container_format': container_format,
            'properties': properties}

    def get(self, context, image_id):
        if image_id not in self.images:
            raise exception.ImageNotFound(image_id=image_id)
        return self.images[image_id][1]

    def download(self, context, image_id, data=None, trusted_certs=None):
        self.downloads.append(image_id)
        data.write(self.images[image_id][0])


def archive(*names):
    """A layout of images with these names, of one layer each."""
    made = builders.Layout()
    for name in names:
        made.image([Tar().dir('etc').file('etc/' + name, b'x').end()],
                   ref=name)
    return made.end()


class ImageCacheTestCase(base.StoreTestCase):

    def setUp(self):
        super().setUp()
        for name, value, group in (
                ('instances_path', self.dir, None),
                ('sub_virt_type', 'container', 'libvirt')):
            CONF.set_override(name, value, group)
            self.addCleanup(CONF.clear_override, name, group)
        os.mkdir(os.path.join(self.dir, '_base'))
        os.mkdir(os.path.join(self.dir, '_base', 'containervm'))
        patch = mock.patch('nova_containervm.privsep.unpack.launch', new=None)
        patch.start()
        self.addCleanup(patch.stop)
        self.api = Api()
        with mock.patch.object(libvirt_driver.LibvirtDriver, '__init__',
                               return_value=None):
            self.driver = driver.ContainerVMDriver.__new__(
                driver.ContainerVMDriver)
        self.driver._image_api = self.api
        self.driver._host = mock.Mock()
        self.ops = self.driver._containers = ops.ContainerOps(self.driver)
        self.ops._images.configure((os.getuid(), os.getgid()))
        self.ops._base = mock.Mock(digest='digest')
        self.ops._bases = mock.Mock()
        self.where = self.ops._images._store('mapped')
        for name in ('cache_image', 'manage_image_cache'):
            patch = mock.patch.object(libvirt_driver.LibvirtDriver, name)
            setattr(self, name, patch.start())
            self.addCleanup(patch.stop)

    def age(self, image_id, seconds):
        """Let an image not have been used for a while."""
        for path, record in self.where.records():
            if record['image_id'] == image_id:
                st = os.stat(path)
                os.utime(path, (st.st_atime, st.st_mtime - seconds))

    def manage(self, *in_use):
        self.driver.manage_image_cache(None, [
            mock.Mock(image_ref=image_id, uuid='server-of-' + image_id)
            for image_id in in_use])
        return sorted(r['image_id'] for _path, r in self.where.records())

    def test_cache_image(self):
        self.api.add('a', archive('a'))
        self.assertTrue(self.driver.cache_image(None, 'a'))
        self.age('a', 1000000)
        self.assertFalse(self.driver.cache_image(None, 'a'))
        self.assertEqual(['a'], self.api.downloads)
        self.assertEqual(['a'], self.manage(), 'it was used just now')
        self.cache_image.assert_not_called()

    def test_cache_image_of_several(self):
        self.api.add('a', archive('x', 'y'))
        with self.assertRaises(exception.ImageUnacceptable):
            self.driver.cache_image(None, 'a')
        self.api.add('a', archive('x', 'y'), containervm_ref='y')
        self.assertTrue(self.driver.cache_image(None, 'a'))
        image = self.where.lookup('a', 'y')
        self.assertEqual(['y'], os.listdir(image.layer_dirs[0] + '/etc'))

    def test_cache_image_that_is_no_docker_image(self):
        self.api.add('a', b'', 'bare')
        self.driver.cache_image(None, 'a')
        self.driver.cache_image(None, 'unknown')
        self.assertEqual(2, self.cache_image.call_count)
        self.assertEqual([], self.api.downloads)

    def test_failed_download_does_not_become_a_disk(self):
        self.api.add('a', archive('a'))
        with mock.patch.object(self.api, 'download',
                               side_effect=exception.GlanceConnectionFailed(
                                   server='x', reason='y')):
            with self.assertRaises(exception.GlanceConnectionFailed):
                self.driver.cache_image(None, 'a')
        self.cache_image.assert_not_called()

    def test_aging(self):
        for image_id in 'abc':
            self.api.add(image_id, archive(image_id))
            self.driver.cache_image(None, image_id)
        self.assertEqual(['a', 'b', 'c'], self.manage('b'))
        self.age('a', 90000)
        self.age('b', 90000)
        self.assertEqual(['b', 'c'], self.manage('b'))
        self.assertEqual(2, len(self.where.layers()))
        # Its age begins anew with its last server.
        self.assertEqual(['b', 'c'], self.manage())
        self.age('b', 90000)
        self.assertEqual(['c'], self.manage())
        self.assertEqual({}, self.where.verify())
        self.assertEqual(4, self.manage_image_cache.call_count)

    def test_settings(self):
        self.api.add('a', archive('a'))
        self.driver.cache_image(None, 'a')
        self.age('a', 90000)
        CONF.set_override('remove_unused_base_images', False, 'image_cache')
        self.addCleanup(CONF.clear_override, 'remove_unused_base_images',
                        'image_cache')
        self.assertEqual(['a'], self.manage())
        CONF.set_override('remove_unused_base_images', True, 'image_cache')
        option = 'remove_unused_images_minimum_age_seconds'
        CONF.set_override(option, 100000, 'containervm')
        self.addCleanup(CONF.clear_override, option, 'containervm')
        self.assertEqual(['a'], self.manage())
        CONF.set_override(option, 1000, 'containervm')
        self.assertEqual([], self.manage())
        self.assertNothingLeft(self.where)
