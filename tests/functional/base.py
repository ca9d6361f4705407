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
"""The driver in a Nova of its own: real API, conductor, scheduler, placement.

Below it Nova's fake libvirt takes the place of the real one. Faked of ours is
what leaves the process: the image store's files, privileged calls, and the
programs that write disks and drives.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import types

import fixtures
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.libvirt import base
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import guest as libvirt_guest
from oslo_concurrency import processutils

from nova_containervm import conf
from nova_containervm.images import diskfile
from nova_containervm.images import errors as image_errors
from nova_containervm import loader
from nova_containervm.snapshot import hosttree

# nova.tests replaces it in ServersTestBase.setUp().
CREATE_IMAGE = libvirt_driver.LibvirtDriver._create_image

CONFIG = {
    'architecture': 'amd64',
    'os': 'linux',
    'config': {
        'Entrypoint': ['/usr/sbin/nginx'],
        'Cmd': ['-g', 'daemon off;'],
        'Env': ['PATH=/usr/sbin:/bin', 'LANG=C'],
        'WorkingDir': '/srv',
        'StopSignal': 'SIGQUIT',
        'Volumes': {'/var/cache/nginx': {}},
    },
}

# libvirt tells the user of QEMU in its capabilities; Nova's fake does not.
SECMODEL = """<secmodel><model>dac</model>
  <baselabel type='kvm'>+0:+0</baselabel>
  <baselabel type='qemu'>+0:+0</baselabel>
</secmodel></host>"""


class FakeImageStore:
    """An image store that takes JSON configs for docker archives."""

    def __init__(self, root, **kwargs):
        self.root = root

    def _marker(self, image_id):
        return os.path.join(self.root, image_id)

    def ensure(self, image_id, fetch, **kwargs):
        if not os.path.exists(self._marker(image_id)):
            data = self._config(b''.join(
                diskfile.no_disk(fetch())))
            os.makedirs(self.root, exist_ok=True)
            for digit in 'ab':
                os.makedirs(self._tree(digit), exist_ok=True)
            with open(self._marker(image_id), 'wb') as stream:
                stream.write(data)
        return self.lookup(image_id)

    def _config(self, data):
        """The config of an archive, also of what the driver makes."""
        try:
            json.loads(data)
            return data
        except ValueError:
            pass
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                manifest, = json.load(archive.extractfile('manifest.json'))
                return archive.extractfile(manifest['Config']).read()
        except tarfile.TarError:
            raise image_errors.NotAnImage(
                'the file is no docker image: it is not a tar archive')

    def _tree(self, digit):
        return os.path.join(self.root, 'layers', digit * 16, 'tree')

    def lookup(self, image_id):
        try:
            with open(self._marker(image_id)) as stream:
                config = json.load(stream)
        except FileNotFoundError:
            return None
        layers = [self._tree(digit) for digit in 'ab']
        return types.SimpleNamespace(
            image_id=image_id, architecture='x86_64', layer_dirs=layers,
            chain_ids=['sha256:' + digit * 64 for digit in 'ab'],
            config=config, passwd=b'root:x:0:0:root:/root:/bin/sh\n',
            group=b'root:x:0:\n', file_caps=[], size=1 << 20, entries=10,
            disk=os.path.join(self.root, 'disk'))

    def origins(self, image_id, ref=None):
        digits = ['a' * 64, 'b' * 64]
        return {'format': 'docker', 'compression': None,
                'diff_ids': ['sha256:' + digit for digit in digits],
                'blobs': [digit + '.tar' for digit in digits],
                'trees': [(self._tree(digit), []) for digit in 'ab']}

    def records(self):
        for image_id in os.listdir(self.root):
            if image_id != 'layers':
                yield self._marker(image_id), {'image_id': image_id}

    def is_disk(self, image_id, ref=None):
        return False

    def has(self, image_id):
        return os.path.exists(self._marker(image_id))

    def sweep(self):
        """Nothing is ever half done here."""

    def prune(self, in_use, max_age):
        for path, record in list(self.records()):
            if record['image_id'] not in in_use:
                os.unlink(path)


class FakeMounts(fixtures.Fixture):
    """The privileged helper's calls: what is mounted now, and how."""

    def _setUp(self):
        self.mounted = {}
        self.limited = {}
        module = 'nova_containervm.privsep.'

        def mount(kind):
            def call(target, layers_dir, names, *args):
                self.mounted[target] = (kind, tuple(names), args)
            return call

        for name, fake in (
                ('mounts.probe_overlay', lambda scratch: None),
                ('mounts.is_mounted', lambda path: path in self.mounted),
                ('mounts.mount_image', mount('image')),
                ('mounts.mount_writable_image', mount('writable')),
                ('mounts.mount_copied_image', mount('copied')),
                ('mounts.unmount', lambda path: self.mounted.pop(path, None)),
                ('mounts.remove_private', shutil.rmtree),
                ('limits.probe_project_quota', lambda path: None),
                ('limits.mount_file', lambda path, directory, size:
                    self.limited.update({path: size})),
                ('limits.unmount_file', lambda path:
                    self.mounted.pop(path, None)),
                ('limits.remove_file', lambda path:
                    self.limited.pop(path, None))):
            self.useFixture(fixtures.MockPatch(module + name, fake))


class FakeMoving(fixtures.Fixture):
    """The same for directories of servers that move; no privilege needed."""

    def _setUp(self):
        module = 'nova_containervm.privsep.moving.'

        def copy(source, target):
            shutil.copytree(source, target, dirs_exist_ok=True)

        def archive(source, target):
            os.makedirs(source, exist_ok=True)
            with open(target, 'xb') as out:
                subprocess.run(['tar', '-C', source, '-c', '.'], stdout=out,
                               check=True)

        def restore(source, target, owner):
            os.makedirs(target, exist_ok=True)
            subprocess.run(['tar', '-C', target, '-xf', source], check=True)

        for name, fake in (('copy_private', copy),
                           ('archive_private', archive),
                           ('restore_private', restore)):
            self.useFixture(fixtures.MockPatch(module + name, fake))


class FakeRemote(fixtures.Fixture):
    """Other hosts, which have the same files as this one.

    ``shared`` is what LibvirtDriver is to find out about that; ``fail`` the
    name of a file that cannot be copied.
    """

    def _setUp(self):
        self.shared = False
        self.fail = None
        self.copied = []
        ssh = 'nova.virt.libvirt.volume.remotefs.SshDriver.'
        for name, fake in (
                (ssh + 'create_dir', lambda _self, host, path, **kw:
                    os.makedirs(path, exist_ok=True)),
                # It is the same directory here as there.
                (ssh + 'remove_dir', lambda *args, **kw: None),
                (ssh + 'copy_file', self._copy),
                ('nova.virt.libvirt.driver.LibvirtDriver.'
                 '_is_path_shared_with', lambda *args: self.shared),
                # There is no disk to be copied.
                ('nova.virt.libvirt.driver.LibvirtDriver.'
                 '_get_instance_disk_info', lambda *args: [])):
            self.useFixture(fixtures.MockPatch(name, fake))

    def _copy(self, source, target, **kwargs):
        source, target = (path.rpartition(':')[2] for path in (source,
                                                               target))
        name = os.path.basename(target)
        if name == self.fail:
            raise processutils.ProcessExecutionError('no route to host')
        self.copied.append(name)
        shutil.copy(source, target)


class TestBase(base.ServersTestBase):
    """A Nova whose compute driver is named containervm.ContainerVMDriver."""

    COMPUTE_DRIVER = 'containervm.ContainerVMDriver'
    ADMIN_API = True
    microversion = 'latest'

    def setUp(self):
        # The installation does this for every process.
        loader.install()
        self.disks = []
        self.xml = []
        self.config_drives = {}
        # Nova looks for it in a source tree, but is installed.
        self.flags(api_paste_config=os.path.join(
            sys.prefix, 'etc', 'nova', 'api-paste.ini'), group='wsgi')
        self.useFixture(fixtures.MockPatch(
            'nova.tests.fixtures.LibvirtImageBackendFixture._fake_cache',
            self._record_disk))
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(
            libvirt_driver.LibvirtDriver, '_create_image', CREATE_IMAGE))
        self._fake_libvirt()
        self._fake_ours()

    def _setup_compute_service(self):
        self.flags(compute_driver=self.COMPUTE_DRIVER)

    def _record_disk(self, fetch_func, filename, size=None, safe=False,
                     *args, **kwargs):
        self.disks.append((filename, size))

    def _fake_libvirt(self):
        capabilities = fakelibvirt.Connection.getCapabilities

        self.useFixture(fixtures.MockPatch(
            'nova.tests.fixtures.libvirt.Connection.getCapabilities',
            lambda conn: capabilities(conn).replace('</host>', SECMODEL)))

        parse = fakelibvirt._parse_filesystem_info
        self.useFixture(fixtures.MockPatch(
            'nova.tests.fixtures.libvirt._parse_filesystem_info',
            lambda element: {'driver_type': 'path', **parse(element)}))

        create = libvirt_guest.Guest.create.__func__

        def record_xml(cls, xml, host):
            self.xml.append(xml)
            return create(cls, xml, host)

        self.useFixture(fixtures.MockPatch(
            'nova.virt.libvirt.guest.Guest.create', classmethod(record_xml)))

    def _fake_ours(self):
        self.mounts = self.useFixture(FakeMounts())
        self.useFixture(FakeMoving())
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.privsep.pack.launch', hosttree.start))
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.imageservice.image_store.ImageStore',
            FakeImageStore))
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.imageservice.diskstore.DiskStore',
            FakeImageStore))
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.transports.mkerofs.find'))
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.transports.mkerofs.probe'))
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.transports.virtiofs.find_daemon'))
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.hostcheck.shutil.which',
            side_effect='/usr/bin/{}'.format))
        # Tests look at status files when it suits them.
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.watcher.StatusWatcher.start'))
        self.useFixture(fixtures.MockPatch(
            'nova.virt.images.convert_image',
            side_effect=lambda source, target, *a, **k:
                open(target, 'wb').close()))
        self.useFixture(fixtures.MockPatch(
            'nova_containervm.guest.configdrive.write',
            self._record_config_drive))

    def _record_config_drive(self, path, metadata):
        self.config_drives[path] = dict(metadata.metadata_for_config_drive())

    def enable(self):
        """Settings of a host that takes container servers."""
        self.flags(sub_virt_type='container', virt_type='qemu',
                   base_vm_image=self._base_vm_image(), group='libvirt')

    def _base_vm_image(self):
        directory = self.useFixture(fixtures.TempDir()).path
        manifest = {
            'schema': 1, 'type': 'minimal', 'contract': [1],
            'architecture': os.uname().machine, 'cmdline': 'console=ttyS0',
            'boot_methods': ['kernel', 'disk'],
            'runtimes': ['crun', 'chroot'],
            'transports': ['9p', 'virtiofs', 'block'],
            'features': ['agent', 'export', 'image-volumes']}
        for part, name in (('disk', 'base.qcow2'), ('kernel', 'vmlinux'),
                           ('initrd', 'initrd.img')):
            content = part.encode()
            with open(os.path.join(directory, name), 'wb') as stream:
                stream.write(content)
            manifest[part] = {'file': name,
                              'sha256': hashlib.sha256(content).hexdigest()}
        manifest['disk']['virtual_size'] = 64 << 20
        with open(os.path.join(directory, 'manifest.json'), 'w') as stream:
            json.dump(manifest, stream)
        return os.path.join(directory, 'base.qcow2')

    def docker_image(self, data=None, disk_format='raw', **properties):
        """An image in Glance with container_format docker; its id."""
        if data is None:
            data = json.dumps(CONFIG).encode()
        image = dict(nova_fixtures.GlanceFixture.image1,
                     container_format='docker', disk_format=disk_format,
                     name='nginx', size=len(data), properties=properties)
        del image['id']
        image = self.glance.create(None, image)
        self._set_data(image['id'], data)
        return image['id']

    def _set_data(self, image_id, data):
        self.glance._imagedata[image_id] = data
        original = self.glance.download

        def download(context, requested, data=None, dst_path=None, **kwargs):
            if data is None and dst_path is None:
                return io.BytesIO(self.glance._imagedata[requested])
            return original(context, requested, data, dst_path, **kwargs)

        if not isinstance(original, types.FunctionType):
            self.glance.download = download

    def create(self, image_id, expected_state='ACTIVE', networks='auto',
               **extra):
        """Create a server and wait for it."""
        body = self._build_server(image_uuid=image_id, networks=networks)
        body.update(extra)
        server = self.api.post_server({'server': body})
        return self._wait_for_state_change(server, expected_state)

    def instance_dir(self, server):
        return os.path.join(conf.CONF.instances_path, server['id'])

