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


import threading
from unittest import mock

import ddt
from nova import exception
from oslotest import base

from nova_containervm.images import errors
from nova_containervm import imageservice


class Api:
    """Nova's image API, as far as it is used."""

    def __init__(self, chunks, error=None):
        self.chunks = chunks
        self.error = error
        self.written = 0
        self.ended = threading.Event()

    def download(self, context, image_id, data=None, trusted_certs=None):
        try:
            for chunk in self.chunks:
                data.write(chunk)
                self.written += 1
            if self.error:
                data.truncate(0)
                raise self.error
        finally:
            self.ended.set()


class DownloadTestCase(base.BaseTestCase):

    def _download(self, api):
        return imageservice.download(api, mock.sentinel.context, 'image',
                                     None)

    def test_all_of_it(self):
        chunks = [b'%d' % i for i in range(100)]
        self.assertEqual(chunks, list(self._download(Api(chunks))))

    def test_wrong_signature_comes_before_the_end(self):
        stream = self._download(Api([b'a'], ValueError('signature')))
        self.assertEqual(b'a', next(stream))
        self.assertRaises(ValueError, next, stream)

    def test_bounded(self):
        api = Api([b'x'] * 1000)
        stream = self._download(api)
        next(stream)
        self.assertFalse(api.ended.wait(0.2))
        self.assertLessEqual(api.written, imageservice._Pipe.CHUNKS + 2)
        stream.close()

    def test_reader_gives_up(self):
        api = Api([b'x'] * 1000)
        stream = self._download(api)
        next(stream)
        stream.close()
        self.assertTrue(api.ended.wait(5))
        self.assertLess(api.written, 1000)


@ddt.ddt
class ImageServiceTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.service = imageservice.ImageService(mock.Mock())
        self.store = mock.Mock()
        self.store.is_disk.return_value = False
        patch = mock.patch.object(self.service, '_store',
                                  return_value=self.store)
        patch.start()
        self.addCleanup(patch.stop)

    def test_fault_of_the_image(self):
        self.store.ensure.side_effect = errors.NotAnImage('no image at all')
        error = self.assertRaises(exception.ImageUnacceptable,
                                  self.service.get, None, 'id', 'mapped')
        self.assertEqual('Image id is unacceptable: no image at all',
                         str(error))

    def test_fault_of_the_host_is_not_the_images(self):
        self.store.ensure.side_effect = errors.NoSpace('disk full')
        self.assertRaises(errors.NoSpace, self.service.get, None, 'id',
                          'mapped')

    def test_cache(self):
        self.store.lookup.return_value = None
        self.assertTrue(self.service.cache(None, 'id', {}))
        self.store.lookup.return_value = mock.sentinel.image
        self.assertFalse(self.service.cache(None, 'id', {}))
        self.assertEqual(2, self.store.ensure.call_count, 'used now')

    def test_cache_of_an_image_that_chooses_its_transport(self):
        imageservice.CONF.set_override('allowed_transports', ['block'],
                                       'containervm')
        self.addCleanup(imageservice.CONF.clear_override,
                        'allowed_transports', 'containervm')
        self.store.lookup.return_value = mock.sentinel.image
        self.service.cache(None, 'id',
                           {'containervm_rootfs_transport': 'block'})
        self.assertEqual({('block',)},
                         {c.args for c in self.service._store.mock_calls})

    def _offer_block(self):
        imageservice.CONF.set_override('allowed_transports', ['block'],
                                       'containervm')
        self.addCleanup(imageservice.CONF.clear_override,
                        'allowed_transports', 'containervm')

    def test_disk(self):
        self._offer_block()
        self.store.ensure.side_effect = [errors.IsDisk('a disk'),
                                         mock.sentinel.image]
        self.store.has.side_effect = [True, False]
        choices, image, known = self.service.choose(None, 'id', {})
        self.assertEqual(('block', 'disk', mock.sentinel.image, False), (
            choices.rootfs_transport, choices.writable_layer, image, known))
        self.assertEqual('block', self.service._store.mock_calls[-1].args[0])

    def test_disk_that_is_here(self):
        self._offer_block()
        self.store.is_disk.return_value = True
        choices, _image, _known = self.service.choose(None, 'id', {}, 'ref')
        self.assertEqual('block', choices.rootfs_transport)
        self.store.is_disk.assert_called_once_with('id', 'ref')
        self.assertEqual(1, self.store.ensure.call_count)
        self.store.lookup.return_value = mock.sentinel.image
        self.assertFalse(self.service.cache(None, 'id', {}))

    @ddt.data(({}, 'offers only 9p'),
              ({'containervm_rootfs_transport': '9p'}, 'can only have block'))
    @ddt.unpack
    def test_disk_that_cannot_be_had(self, properties, words):
        self.store.ensure.side_effect = errors.IsDisk('a disk')
        error = self.assertRaises(
            exception.ImageUnacceptable, self.service.choose, None, 'id',
            properties)
        self.assertIn(words, str(error))

    @ddt.data((b'QFI\xfb', 'qcow2', None), (b'hsqs', 'raw', None),
              (b'QFI\xfb', 'raw', '--disk-format qcow2'),
              (b'hsqs', 'qcow2', '--disk-format raw'),
              (b'hsqs', 'vmdk', '--disk-format raw'),
              # What has been taken ever since
              (b'a tar archive', 'qcow2', None))
    @ddt.unpack
    def test_declared_format(self, data, declared, words):
        self.service._api = Api([data])
        self.service._api.get = mock.Mock(
            return_value={'disk_format': declared})
        if words is None:
            self.assertEqual([data], list(self.service._fetch(
                None, 'id', None)))
            return
        error = self.assertRaises(errors.NotAnImage, self.service._fetch,
                                  None, 'id', None)
        self.assertIn(words, str(error))

    def test_forgets_only_the_one(self):
        self.store.records.return_value = [
            ('a.json', {'image_id': 'a'}), ('b.json', {'image_id': 'b'}),
            ('damaged.json', None)]
        self.service.forget('a', 'mapped')
        self.store.prune.assert_called_once_with({'b'}, 0)

    def test_failure_to_forget_hides_nothing(self):
        self.store.records.return_value = []
        self.store.prune.side_effect = errors.StoreError('helper died')
        self.service.forget('a', 'mapped')
