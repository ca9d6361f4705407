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

"""Signed images: Nova's verify_glance_signatures, with a key manager."""

import base64
import datetime
import http.server
import json
import threading

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography import x509
import pytest

from tests.e2e import aio

pytestmark = pytest.mark.slow

CERTIFICATE = '3fb0b1a8-52c2-4d8e-a1b1-8a2c1d3e4f50'


@pytest.fixture(scope='module')
def key():
    return rsa.generate_private_key(65537, 2048)


def certificate(key):
    """A certificate of the key, signed by itself, in DER."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'e2e')])
    now = datetime.datetime.now(datetime.UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(key.public_key()).serial_number(1)
            .not_valid_before(now - datetime.timedelta(1))
            .not_valid_after(now + datetime.timedelta(1))
            .sign(key, hashes.SHA256()))
    return made.public_bytes(serialization.Encoding.DER)


@pytest.fixture
def vault(key, configured, own_settings):
    """A key manager with the certificate, as Nova asks Vault's for it."""
    record = {'type': 'certificate', 'value': certificate(key).hex(),
              'name': 'e2e', 'created': 0}
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            found = self.path == '/v1/secret/data/' + CERTIFICATE
            body = json.dumps({'data': {'data': record}} if found else {})
            self.send_response(200 if found else 404)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_args):
            """Not on the terminal."""

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        aio.reconfigure({
            **configured.settings,
            'glance.verify_glance_signatures': 'true',
            'key_manager.backend': 'vault',
            'vault.root_token_id': 'e2e',
            'vault.vault_url': 'http://127.0.0.1:%d' % server.server_port,
        }, configured.qemu_user)
        yield asked
        server.shutdown()


def sign(cloud, image, key, data):
    """Give an image the signature of some data.

    After the upload: with one, Glance would ask for the certificate, too.
    """
    signature = key.sign(data, padding.PSS(
        mgf=padding.MGF1(hashes.SHA256()),
        salt_length=padding.PSS.MAX_LENGTH), hashes.SHA256())
    cloud.sdk.image.update_image(
        image.id, img_signature=base64.b64encode(signature).decode(),
        img_signature_hash_method='SHA-256', img_signature_key_type='RSA-PSS',
        img_signature_certificate_uuid=CERTIFICATE)
    return cloud.sdk.image.get_image(image.id)


def test_signed(vault, key, server, upload, builder, cloud, host):
    archive = builder.probe()
    data = archive.read_bytes()
    signed = sign(cloud, upload('signed', archive), key, data)
    made = server(signed, flavor='c1.tiny')
    cloud.wait_console(made, 'probe: up')
    assert vault == ['/v1/secret/data/' + CERTIFICATE]

    # Another image's signature, and none. Neither gets into the store.
    before = {str(p) for p in host.store.glob('*/images/*')}
    other = sign(cloud, upload('forged', archive), key, data + b'\0')
    made = cloud.wait(server(other, wait=None, flavor='c1.tiny'), 'ERROR')
    assert 'its signature' in made.fault['message'], made.fault
    made = cloud.wait(server(upload('unsigned', archive), wait=None,
                             flavor='c1.tiny'), 'ERROR')
    assert 'signature' in made.fault['message'], made.fault
    assert {str(p) for p in host.store.glob('*/images/*')} == before
