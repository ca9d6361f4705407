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

"""The base VM image on this host: its manifest, and immutable copies of it.

A server boots the base VM image that it was made from, also when the operator
has put another in its place since. So the files in use are copied once into
Nova's image cache, under a name made of the disk's digest.
"""

import dataclasses
import glob
import hashlib
import json
import os
import shutil
import time
import typing as ty

from nova import exception
from nova import utils
from nova.virt import images
from nova.virt.libvirt import utils as libvirt_utils
from oslo_concurrency import processutils
from oslo_utils import fileutils

from nova_containervm import conf

CONF = conf.CONF

CONTRACT_VERSION = 1
MANIFEST = 'manifest.json'

# Never a name that Nova's image cache manager takes for its own (40
# hexadecimal digits), for that would remove the file while it is in use.
DISK_PREFIX = 'containervm_'

#: What an image of type minimal may know, by its name in the manifest.
FEATURES = {
    'agent': 'the functions of a guest agent',
    'export': 'snapshots',
    'image-volumes': 'mounts for a VOLUME of the image',
}

FALLBACK_CMDLINE = 'console=ttyS0'


@dataclasses.dataclass(frozen=True)
class BaseVM:
    """One base VM image.

    ``digest`` is the SHA-256 of the disk. ``kernel`` and ``initrd`` are None
    for an image that only boots as a disk. ``features`` are what its init can
    do beside running a container.
    """

    path: str
    digest: str
    type: str
    virtual_size: int
    kernel: str | None
    initrd: str | None
    cmdline: str
    boot_methods: tuple[str, ...]
    runtimes: tuple[str, ...]
    transports: tuple[str, ...]
    architecture: str | None
    features: tuple[str, ...] = ()

    @property
    def can_export(self) -> bool:
        """Whether it can read the disk of a server; snapshot/exportvm.py."""
        return 'export' in self.features and self.kernel is not None

    @property
    def has_image_volumes(self) -> bool:
        """Whether its init knows what a ``VOLUME`` of an image is."""
        return 'image-volumes' in self.features

    @property
    def cache_name(self) -> str:
        """Name of the disk's copy in Nova's image cache."""
        return DISK_PREFIX + self.digest[:40]


def _invalid(message, *args):
    return exception.InvalidConfiguration(message % args)


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as f:
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def load(path: str) -> BaseVM:
    """Read and check the base VM image at ``path``.

    :raises exception.InvalidConfiguration: it is missing, unreadable or
        damaged, or its manifest is of another version
    """
    try:
        with open(path, 'rb'):
            pass
    except OSError as e:
        raise _invalid(
            "[libvirt] base_vm_image = %s cannot be read: %s. Build one with "
            "'nova-containervm-baseimage build --type minimal --output DIR', "
            'and let the user of nova-compute read it.', path, e.strerror)
    manifest_path = os.path.join(os.path.dirname(path), MANIFEST)
    if not os.path.exists(manifest_path):
        info = images.qemu_img_info(path)
        return BaseVM(path=path, digest=_sha256(path), type='cloud',
                      virtual_size=info.virtual_size, kernel=None,
                      initrd=None, cmdline=FALLBACK_CMDLINE,
                      boot_methods=('disk',), runtimes=('chroot',),
                      transports=('9p',), architecture=None)
    return _load_manifest(path, manifest_path)


def _load_manifest(path, manifest_path):
    try:
        with open(manifest_path) as f:
            manifest = json.load(f)
        if manifest['schema'] != 1 or (
                CONTRACT_VERSION not in manifest['contract']):
            raise _invalid(
                'The base VM image %s speaks versions %s of the contract '
                'between host and guest, this driver speaks %d. Build the '
                "image again with 'nova-containervm-baseimage build'.",
                path, manifest['contract'], CONTRACT_VERSION)
        if manifest['type'] == 'bootable':
            raise _invalid(
                '[libvirt] base_vm_image = %s is for "nova-containervm-image '
                'convert --bootable". Build one of type minimal.', path)
        files = {}
        for part in ('disk', 'kernel', 'initrd'):
            if manifest.get(part):
                files[part] = os.path.join(
                    os.path.dirname(path),
                    os.path.basename(manifest[part]['file']))
        base = BaseVM(
            path=path, digest=manifest['disk']['sha256'],
            type=manifest['type'],
            virtual_size=int(manifest['disk']['virtual_size']),
            kernel=files.get('kernel'), initrd=files.get('initrd'),
            cmdline=manifest['cmdline'],
            boot_methods=tuple(manifest['boot_methods']),
            runtimes=tuple(manifest['runtimes']),
            transports=tuple(manifest['transports']),
            architecture=manifest.get('architecture'),
            features=tuple(manifest.get('features', ())))
    except OSError as e:
        raise _invalid('The manifest of the base VM image, %s, cannot be '
                       'read: %s.', manifest_path, e.strerror)
    except (KeyError, TypeError, ValueError) as e:
        raise _invalid(
            'The manifest of the base VM image, %s, is damaged (%s). Build '
            "the image again with 'nova-containervm-baseimage build'.",
            manifest_path, e)
    if os.path.realpath(files['disk']) != os.path.realpath(path):
        raise _invalid(
            '[libvirt] base_vm_image = %s, but the manifest beside it '
            'describes %s. Set the option to that file.', path, files['disk'])
    for part, name in files.items():
        try:
            actual = _sha256(name)
        except OSError as e:
            raise _invalid('The %s of the base VM image, %s, cannot be read: '
                           '%s.', part, name, e.strerror)
        if actual != manifest[part]['sha256']:
            raise _invalid(
                'The %s of the base VM image, %s, is not the one that its '
                'manifest names. Build the image again with '
                "'nova-containervm-baseimage build'.", part, name)
    return base


class BaseCache:
    """Copies of base VM images in Nova's image cache.

    The disk lies directly in the cache, where Nova's image backends look for
    backing files; kernel, initrd and a record lie in a directory beside it.
    """

    def __init__(self) -> None:
        self.cache_dir = os.path.join(CONF.instances_path,
                                      CONF.image_cache.subdirectory_name)
        self.dir = os.path.join(self.cache_dir, 'containervm', 'base')

    def hold(self, base: BaseVM) -> BaseVM:
        """Copy ``base`` if it is not there yet.

        :returns: the copy; its ``path`` is that of the disk in raw form
        """
        target = os.path.join(self.dir, base.digest)

        @utils.synchronized('containervm-base-' + base.digest[:40],
                            external=True)
        def copy() -> None:
            disk = os.path.join(self.cache_dir, base.cache_name)
            if not os.path.exists(disk):
                fileutils.ensure_tree(self.cache_dir)
                images.convert_image(base.path, disk + '.part', 'qcow2', 'raw')
                os.rename(disk + '.part', disk)
            if not os.path.exists(target):
                staging = target + '.part'
                shutil.rmtree(staging, ignore_errors=True)
                fileutils.ensure_tree(staging)
                held = dataclasses.asdict(base)
                held['path'] = disk
                for part in ('kernel', 'initrd'):
                    if held[part]:
                        shutil.copyfile(held[part],
                                        os.path.join(staging, part))
                        held[part] = os.path.join(target, part)
                with open(os.path.join(staging, 'base.json'), 'w') as f:
                    json.dump(held, f)
                os.rename(staging, target)
        copy()
        return self.get(base.digest)

    def get(self, digest: str) -> BaseVM:
        """Return the copy with that digest.

        :raises exception.InvalidDiskInfo: it is not on this host
        """
        try:
            with open(os.path.join(self.dir, digest, 'base.json')) as f:
                held = json.load(f)
        except OSError:
            raise exception.InvalidDiskInfo(
                reason='the base VM image %s that the server was made from '
                'is not on this host' % digest)
        for name in ('boot_methods', 'runtimes', 'transports', 'features'):
            held[name] = tuple(held.get(name, ()))
        return BaseVM(**held)

    def fetch(self, digest: str, source: str | None) -> BaseVM:
        """As :meth:`get`, but copy it from another host if need be.

        :param source: name of a host that has it
        :raises exception.InvalidDiskInfo: it cannot be copied
        """
        target = os.path.join(self.dir, digest)

        @utils.synchronized('containervm-base-' + digest[:40], external=True)
        def copy() -> None:
            if not os.path.exists(target):
                self._copy(digest, source, target)

        if source is not None:
            try:
                copy()
            except (OSError, processutils.ProcessExecutionError) as e:
                raise exception.InvalidDiskInfo(
                    reason='the base VM image %s cannot be copied from %s: '
                    '%s. Allow the user of nova-compute to use ssh between '
                    'the hosts, as resizes need it, or let both hosts have '
                    'the same base VM image' % (digest, source, e))
        return self.get(digest)

    def _copy(self, digest, source, target):
        staging = target + '.part'
        shutil.rmtree(staging, ignore_errors=True)
        fileutils.ensure_tree(staging)
        disk = os.path.join(self.cache_dir, DISK_PREFIX + digest[:40])

        def receive(path, goal):
            libvirt_utils.copy_image(path, goal, host=source, receive=True)

        record = os.path.join(staging, 'base.json')
        receive(os.path.join(target, 'base.json'), record)
        with open(record) as f:
            held = json.load(f)
        held['path'] = disk
        for part in ('kernel', 'initrd'):
            if held[part]:
                held[part] = os.path.join(target, part)
                receive(held[part], os.path.join(staging, part))
        if not os.path.exists(disk):
            receive(disk, disk + '.part')
            os.rename(disk + '.part', disk)
        with open(record, 'w') as f:
            json.dump(held, f)
        os.rename(staging, target)

    def age(self, in_use: ty.Collection[str], max_age: float) -> None:
        """Remove copies that no server needs, ``max_age`` seconds old."""
        for record in glob.glob(os.path.join(self.dir, '*', 'base.json')):
            directory = os.path.dirname(record)
            digest = os.path.basename(directory)
            if (digest in in_use or
                    time.time() - os.stat(record).st_mtime < max_age):
                continue
            shutil.rmtree(directory)
            fileutils.delete_if_exists(
                os.path.join(self.cache_dir, DISK_PREFIX + digest[:40]))
