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


import hashlib
import json
import os

import ddt
import fixtures
from nova import exception
from oslotest import base

from nova_containervm import basevm

CONTENT = {'base.qcow2': b'disk', 'vmlinux': b'kernel', 'initrd.img': b'rd'}


@ddt.ddt
class LoadTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.dir = self.useFixture(fixtures.TempDir()).path
        self.disk = os.path.join(self.dir, 'base.qcow2')
        for name, content in CONTENT.items():
            with open(os.path.join(self.dir, name), 'wb') as f:
                f.write(content)
        self.manifest = {
            'schema': 1, 'type': 'minimal', 'contract': [1],
            'architecture': 'x86_64', 'cmdline': 'console=ttyS0',
            'boot_methods': ['kernel', 'disk'], 'runtimes': ['crun'],
            'transports': ['9p']}
        for part, name in (('disk', 'base.qcow2'), ('kernel', 'vmlinux'),
                           ('initrd', 'initrd.img')):
            self.manifest[part] = {
                'file': name,
                'sha256': hashlib.sha256(CONTENT[name]).hexdigest()}
        self.manifest['disk']['virtual_size'] = 1 << 26

    def _write(self):
        with open(os.path.join(self.dir, 'manifest.json'), 'w') as f:
            json.dump(self.manifest, f)

    def _fails(self, words):
        error = self.assertRaises(exception.InvalidConfiguration,
                                  basevm.load, self.disk)
        self.assertIn(words, str(error))

    def test_good(self):
        self._write()
        loaded = basevm.load(self.disk)
        self.assertEqual(os.path.join(self.dir, 'vmlinux'), loaded.kernel)
        self.assertEqual(('kernel', 'disk'), loaded.boot_methods)
        # Nova's cache manager would take 40 hexadecimal digits for its own
        self.assertTrue(loaded.cache_name.startswith('containervm_'))

    def test_missing(self):
        os.unlink(self.disk)
        self._fails('nova-containervm-baseimage build')

    @ddt.data('vmlinux', 'initrd.img', 'base.qcow2')
    def test_changed_file(self, name):
        self._write()
        with open(os.path.join(self.dir, name), 'ab') as f:
            f.write(b'x')
        self._fails(name)

    def test_missing_kernel(self):
        self._write()
        os.unlink(os.path.join(self.dir, 'vmlinux'))
        self._fails('vmlinux')

    @ddt.data(('contract', [2]), ('schema', 2))
    @ddt.unpack
    def test_other_version(self, key, value):
        self.manifest[key] = value
        self._write()
        self._fails('contract')

    @ddt.data('disk', 'type', 'cmdline', 'boot_methods')
    def test_incomplete_manifest(self, key):
        del self.manifest[key]
        self._write()
        self._fails('manifest')

    def test_rubbish_manifest(self):
        with open(os.path.join(self.dir, 'manifest.json'), 'w') as f:
            f.write('{')
        self._fails('damaged')

    def test_manifest_of_another_disk(self):
        self.manifest['disk']['file'] = 'vmlinux'
        self._write()
        self._fails('base_vm_image')
