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

"""Images that users have made disks of: with the image store as it is."""

import glob
import os
import shutil
import subprocess

from eventlet import patcher
import fixtures
from nova.virt import images

from nova_containervm.baseimage import tools
from nova_containervm import conf
from nova_containervm.convert import disk as convert
from nova_containervm.images import diskstore
from nova_containervm.images import layout
from tests.functional import base
from tests.unit.images import builders
from tests.unit.images.builders import Tar

CONF = conf.CONF

# What the base class puts fakes in place of
CONVERT = images.convert_image
STORE = diskstore.DiskStore
WHICH = shutil.which


class ConvertTestCase(base.TestBase):

    def setUp(self):
        super().setUp()
        self.flags(allowed_transports=['block'], group='containervm')
        self.enable()
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.imageservice.diskstore.DiskStore',
            lambda *args, **kwargs: STORE(*args, **{
                **kwargs, 'launch': None, 'owner': None})))
        # Nova's tests run on eventlet, whose sockets never block; the helper
        # process at the other end is none of its.
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.images.session.socket',
            patcher.original('socket')))
        base_image = images.convert_image

        def convert_image(source, target, *args, **kwargs):
            call = base_image if source.endswith('base.qcow2') else CONVERT
            call(source, target, *args, **kwargs)

        self.useFixture(fixtures.MockPatch(
            'nova.virt.images.convert_image', convert_image))
        self.start_compute()

    def _disk(self, suffix='qcow2', **options):
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.baseimage.tools.find',
            lambda name: WHICH(name, path=tools.search_path())))
        layer = (Tar().dir('bin').file('bin/run', b'x', mode=0o755)
                 .file('etc/passwd', b'app:x:7:8::/:/bin/sh\n').end())
        path = os.path.join(self.useFixture(fixtures.TempDir()).path,
                            'disk.' + suffix)
        architecture = layout.host_architecture()
        convert.convert(
            [builders.docker([layer], architecture=architecture, config={
                'Cmd': ['/bin/run', 'it'], 'User': 'app'})],
            path, convert.Options(format='ext4', output_format=suffix,
                                  **options),
            lambda step: lambda share: None)
        return path

    def _read(self, path):
        with open(path, 'rb') as source:
            return source.read()

    def _environment(self, server):
        path = os.path.join(self.instance_dir(server), 'disk.config')
        drive = self.config_drives[path]
        return drive['containervm/guest.env']

    def test_qcow2(self):
        path = self._disk()
        image = self.docker_image(self._read(path), disk_format='qcow2')
        server = self.create(image)
        link = os.path.join(self.instance_dir(server), 'disk.rootfs')
        raw = path + '.raw'
        subprocess.run(['qemu-img', 'convert', '-O', 'raw', path, raw],
                       check=True)
        self.assertEqual(self._read(raw), self._read(link))
        environment = self._environment(server)
        for line in (b"CVM_TRANSPORT='block'", b"CVM_ARG_1='it'",
                     b"CVM_UID='7'"):
            self.assertIn(line, environment)
        # The next one finds it here, whatever becomes of it in Glance.
        self.glance._imagedata[image] = b'something else'
        self._reboot_server(server, hard=True)
        self.create(image)
        # And it goes like any other.
        self._delete_server(server)

    def test_raw(self):
        path = self._disk('raw')
        server = self.create(self.docker_image(self._read(path)))
        link = os.path.join(self.instance_dir(server), 'disk.rootfs')
        self.assertEqual(self._read(path), self._read(link))

    def _fault(self, image):
        server = self.create(image, expected_state='ERROR')
        self.assertEqual([], glob.glob(os.path.join(
            CONF.instances_path, '_base', 'containervm', 'block', 'layers',
            '*')))
        return server['fault']['message']

    def test_backing_file(self):
        path = self._disk()
        other = path + '.qcow2'
        subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F',
                        'qcow2', '-b', path, other], check=True)
        self.assertIn('could refer to other files', self._fault(
            self.docker_image(self._read(other), disk_format='qcow2')))

    def test_declared_as_something_else(self):
        self.assertIn('--disk-format qcow2', self._fault(
            self.docker_image(self._read(self._disk()))))

    def test_host_without_the_transport(self):
        self.flags(allowed_transports=[], group='containervm')
        fault = self.create(
            self.docker_image(self._read(self._disk('raw'))),
            expected_state='ERROR')['fault']['message']
        self.assertIn('offers only 9p', fault)
