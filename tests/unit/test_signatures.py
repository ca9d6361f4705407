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

"""Signed images, checked by Nova's own code while they are unpacked."""

import base64
import datetime
import os
from unittest import mock

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives import hashes
from cryptography import x509
from cursive import exception as cursive_exception
from nova import exception
from nova.image import glance

from nova_containervm import conf
from nova_containervm.images import store
from nova_containervm import imageservice
from tests.unit.images import base
from tests.unit.images import builders
from tests.unit.images.builders import Tar

CONF = conf.CONF
IMAGE = '2b5a2e2c-1f5b-4a39-8a2b-5b1a8f5f3c11'


class Chunks:
    """What glanceclient returns: an iterable with the response inside."""

    wrapped = True

    def __init__(self, data):
        self._data = data

    def __iter__(self):
        for start in range(0, len(self._data), 65536):
            yield self._data[start:start + 65536]


def certificate(key):
    """A certificate of the key, signed by itself."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'test')])
    now = datetime.datetime.now(datetime.UTC)
    return (x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(key.public_key()).serial_number(1)
            .not_valid_before(now - datetime.timedelta(1))
            .not_valid_after(now + datetime.timedelta(1))
            .sign(key, hashes.SHA256()))


class SignatureTestCase(base.StoreTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = rsa.generate_private_key(65537, 2048)
        cls.data = builders.docker([Tar().dir('etc').file(
            'etc/big', os.urandom(300000)).end()])
        signature = cls.key.sign(cls.data, padding.PSS(
            mgf=padding.MGF1(hashes.SHA256()),
            salt_length=padding.PSS.MAX_LENGTH), hashes.SHA256())
        cls.properties = {
            'img_signature': base64.b64encode(signature).decode(),
            'img_signature_hash_method': 'SHA-256',
            'img_signature_key_type': 'RSA-PSS',
            'img_signature_certificate_uuid': 'certificate'}

    def setUp(self):
        super().setUp()
        self.where = self.store()
        CONF.set_override('verify_glance_signatures', True, 'glance')
        self.addCleanup(CONF.clear_override, 'verify_glance_signatures',
                        'glance')
        self._patch('cursive.signature_utils.get_certificate',
                    return_value=certificate(self.key))
        self._patch('nova.image.glance.get_default_image_service',
                    side_effect=self._glance)
        self._patch('nova_containervm.imageservice.ImageService._store',
                    return_value=self.where)

    def _patch(self, *args, **kwargs):
        patch = mock.patch(*args, **kwargs)
        patch.start()
        self.addCleanup(patch.stop)

    def _glance(self):
        service = glance.GlanceImageServiceV2(client=mock.Mock(
            call=lambda *_args, **_kwargs: Chunks(self.sent)))
        service.show = lambda *_args, **_kwargs: {
            'id': IMAGE, 'properties': self.properties}
        return service

    def _get(self, data):
        self.sent = data
        return imageservice.ImageService(glance.API()).get(
            mock.Mock(), IMAGE, 'mapped')

    def test_right(self):
        image = self._get(self.data)
        self.assertIsInstance(image, store.StoredImage)
        self.assertEqual(300000, image.size)

    def test_altered(self):
        for data in (self.data + bytes(512),
                     builders.docker([Tar().dir('etc').end()])):
            with self.assertRaises(exception.ImageUnacceptable) as caught:
                self._get(data)
            self.assertIn('its signature', str(caught.exception))
            self.assertNothingLeft(self.where)

    def test_unsigned(self):
        self.properties = {}
        with self.assertRaises(cursive_exception.SignatureVerificationError):
            self._get(self.data)
        self.assertEqual([], os.listdir(self.where.path('images')))

    def test_not_asked_for(self):
        CONF.set_override('verify_glance_signatures', False, 'glance')
        self.properties = {}
        self.assertEqual(300000, self._get(self.data).size)
