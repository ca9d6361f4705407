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

"""Every option of the driver: ``[libvirt]`` (the RFC's names) and
``[containervm]``.
"""

from oslo_config import cfg
from oslo_config import types

import nova.conf

CONF = nova.conf.CONF

TRANSPORTS = ('9p', 'virtiofs', 'block')
WRITABLE_LAYERS = ('disk', 'share')
ACCESS_MODES = ('mapped', 'passthrough')
# In which form the image store has an image; there is a store for each.
IMAGE_FORMS = (*ACCESS_MODES, 'block')
BOOT_METHODS = ('kernel', 'disk')
GUEST_RUNTIMES = ('crun', 'chroot')

libvirt_opts = [
    cfg.Opt(
        'sub_virt_type',
        type=types.String(choices=['container']),
        help="""
What the libvirt driver runs besides ordinary servers.

Unset, the default: nothing; ``containervm.ContainerVMDriver`` behaves as
``libvirt.LibvirtDriver`` in everything.

Possible values:

* ``container``: a server whose image has the container_format ``docker`` runs
  that image as one container in a virtual machine of its own.

Related options:

* ``[DEFAULT] compute_driver`` must be ``containervm.ContainerVMDriver``.
* ``[libvirt] virt_type`` must be ``kvm`` or ``qemu``.
* ``[libvirt] base_vm_image`` must be set.
"""),
    cfg.StrOpt(
        'base_vm_image',
        help="""
The disk image that every container server boots, as an absolute path on this
host.

It is made by ``nova-containervm-baseimage build``, which writes a manifest and
a kernel beside it. A qcow2 without a manifest is taken for a cloud image with
cloud-init, and needs ``[containervm] boot_method = disk`` and
``guest_runtime = chroot``.

The image may be replaced while servers run: each server keeps the one that it
was made from.

Related options:

* ``[libvirt] sub_virt_type``
"""),
]

containervm_opts = [
    cfg.StrOpt(
        'rootfs_transport',
        default='9p',
        choices=[
            ('9p', 'A 9p share of a host directory.'),
            ('virtiofs', 'A virtiofs share of a host directory. Faster than '
                         '9p, and right where a container must write to a '
                         'share.'),
            ('block', 'A read-only disk, the same for all servers of an '
                      'image. Fastest, and the only one with which a server '
                      'can be suspended and live-migrated.')],
        help="""
How the root filesystem of a container reaches its virtual machine.

Servers keep the transport that they were created with.

Possible values:

* ``9p``: needs nothing but QEMU.
* ``virtiofs``: needs virtiofsd, which libvirt starts as root for each server,
  and shared memory for the servers. Files are kept on this host as they are,
  as with ``share_access_mode = passthrough``; QEMU needs no root.
* ``block``: the image becomes an EROFS filesystem, made once for each host.
  Needs ``mkfs.erofs``.

Related options:

* ``[containervm] allowed_transports``
* ``[containervm] mkfs_erofs_cmd`` and ``disk_compression``, for ``block``
* ``[libvirt] base_vm_image`` needs a manifest that offers the transport.
"""),
    cfg.ListOpt(
        'allowed_transports',
        default=[],
        item_type=types.String(choices=TRANSPORTS),
        help="""
Transports that an image may choose, with its property
``containervm_rootfs_transport``, beside ``rootfs_transport``.

The host must have what each of them needs. It gets a trait for each, such as
``CUSTOM_CONTAINERVM_BLOCK``, which an image can require. Images that were
uploaded as disks need ``block``.

Possible values:

* a list of values of ``[containervm] rootfs_transport``
"""),
    cfg.StrOpt(
        'mkfs_erofs_cmd',
        default='mkfs.erofs',
        help="""
The program that makes EROFS filesystems, as a name or an absolute path. The
user of QEMU must be able to run it.

Version 1.8.1 or later reads images as they are downloaded, without privilege.
With an older one each image is first unpacked on this host, with the owners,
device nodes and setuid files that it has, in a directory that only root can
enter.

Related options:

* Used for the transport ``block``.
"""),
    cfg.StrOpt(
        'disk_compression',
        default='none',
        choices=[('none', 'Fastest for servers.'),
                 ('lz4', 'Takes less room on this host.')],
        help="""
How the disks of the transport ``block`` are compressed.

Images keep the compression that they were prepared with.
"""),
    cfg.StrOpt(
        'writable_layer',
        default='disk',
        choices=[
            ('disk', "The server's own disk, above the read-only image. "
                     "The flavor's root size limits it."),
            ('share', 'A directory of this host that the server writes to '
                      'through the share, limited as share_limit says.')],
        help="""
Where the files go that a container writes.

Servers keep the layer that they were created with.
"""),
    cfg.StrOpt(
        'share_provisioning',
        default='overlay',
        choices=[
            ('overlay', "An overlayfs mount above the image's layers: no "
                        'copy is made.'),
            ('reflink', 'A copy that shares extents with the image where the '
                        'filesystem can (XFS, Btrfs), a plain copy '
                        'elsewhere.'),
            ('copy', 'A plain copy, as in the RFC that this driver comes '
                     'from.')],
        help="""
How the writable directory of a server is made.

Related options:

* Used when ``[containervm] writable_layer = share``.
"""),
    cfg.StrOpt(
        'share_limit',
        default='auto',
        choices=[
            ('auto', '``project`` on XFS that is mounted with project quotas, '
                     'else ``file``.'),
            ('project', "A project quota of this host's filesystem, ext4 or "
                        'XFS.'),
            ('file', 'The writable directory is a filesystem of its own, in '
                     'a sparse file.'),
            ('none', "Nothing: a server can fill this host's filesystem.")],
        help="""
What holds a server to the root size of its flavor that writes to a share.

A full project is ``EDQUOT`` to a container on ext4, and ``ENOSPC`` on XFS and
with a file. A file keeps ``share_provisioning = reflink`` from sharing extents
with the image.

Servers keep the kind of limit that they were created with.

Related options:

* Used when ``[containervm] writable_layer = share``.
"""),
    cfg.StrOpt(
        'share_access_mode',
        default='mapped',
        choices=[
            ('mapped', 'Owners, modes and device numbers are kept in extended '
                       'attributes of files that belong to the user of QEMU.'),
            ('passthrough', 'They are kept in the files themselves. Only for '
                            'hosts whose QEMU runs as root.')],
        help="""
How the files of a container are represented on this host, for ``9p``.

Images are unpacked once for each mode in use.
"""),
    cfg.StrOpt(
        'boot_method',
        default='kernel',
        choices=[
            ('kernel', 'QEMU loads the kernel of the base VM image. Fastest.'),
            ('disk', 'The firmware boots the base VM image as a disk.')],
        help="""
How a container server starts.

Related options:

* ``[libvirt] base_vm_image`` needs a manifest that offers the method.
"""),
    cfg.StrOpt(
        'guest_runtime',
        default='crun',
        choices=[
            ('crun', 'The OCI runtime crun: isolation inside the virtual '
                     'machine as under docker.'),
            ('chroot', 'A change of root only, for base VM images without an '
                       'OCI runtime.')],
        help="""
What runs the container inside the virtual machine.

Related options:

* ``[libvirt] base_vm_image`` needs a manifest that offers the runtime.
"""),
    cfg.StrOpt(
        'export_vm_image',
        help="""
The base VM image that reads the disks of servers for snapshots, as an absolute
path on this host. Unset: that of ``[libvirt] base_vm_image``.

A file system that a tenant has made is mounted by a short-lived virtual
machine only, never by the host. It needs an image that
``nova-containervm-baseimage build --type minimal`` has made; hosts whose
servers boot a cloud image name one here. Without it, servers with
``writable_layer = disk`` cannot be made images of.
"""),
    cfg.IntOpt(
        'max_image_mb',
        default=20480,
        min=1,
        help="""
The largest docker image archive that is downloaded, in MiB.
"""),
    cfg.IntOpt(
        'max_unpacked_mb',
        default=51200,
        min=1,
        help="""
The most that all layers of one docker image may unpack to, in MiB. Holes of
sparse files do not count, but for the transport ``block``.
"""),
    cfg.IntOpt(
        'max_entries',
        default=2000000,
        min=1,
        help="""
The most files, directories and other entries in all layers of one docker
image.
"""),
    cfg.IntOpt(
        'max_path_length',
        default=4096,
        min=256,
        max=65536,
        help="""
The longest path name in a docker image, in bytes.
"""),
    cfg.IntOpt(
        'max_layers',
        default=127,
        min=1,
        max=200,
        help="""
The most layers of one docker image. Docker's own limit is 127.
"""),
    cfg.IntOpt(
        'max_compression_ratio',
        default=200,
        min=2,
        help="""
How many times its compressed size a layer may unpack to, counted after the
first 16 MiB. A higher ratio is taken for a decompression bomb.
"""),
    cfg.IntOpt(
        'max_nesting',
        default=255,
        min=8,
        max=4096,
        help="""
The deepest nesting of directories in a docker image.
"""),
    cfg.IntOpt(
        'remove_unused_images_minimum_age_seconds',
        default=86400,
        min=0,
        help="""
How long an unpacked docker image stays on this host after its last server is
gone, in seconds. It is looked at by Nova's image cache manager.

Related options:

* ``[image_cache] manager_interval``
* ``[image_cache] remove_unused_base_images``: when false, nothing is removed.
"""),
]


def register_opts(conf):
    """Register the options of this driver with ``conf``."""
    conf.register_opts(libvirt_opts, group='libvirt')
    conf.register_opts(containervm_opts, group='containervm')


def list_opts():
    """Options by group, for oslo-config-generator and the documentation."""
    return [('libvirt', libvirt_opts), ('containervm', containervm_opts)]


register_opts(CONF)
