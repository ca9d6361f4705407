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

"""Which transports a host offers, and which one a server gets."""

import copy
import dataclasses
import os
import tempfile

from nova import exception
from oslo_utils import fileutils

from nova_containervm import conf
from nova_containervm.images import errors as image_errors
from nova_containervm.images import mkerofs
from nova_containervm.privsep import limits
from nova_containervm.rootfs import base as rootfs_base
from nova_containervm.rootfs import block
from nova_containervm.rootfs import ninep
from nova_containervm.rootfs import share
from nova_containervm.rootfs import virtiofs

CONF = conf.CONF

#: On hosts that offer the transport, for images that need it.
TRAITS = {name: 'CUSTOM_CONTAINERVM_' + name.upper()
          for name in conf.TRANSPORTS}

ROOTFS: dict[str, type[rootfs_base.Rootfs]] = {
    '9p': ninep.NinePRootfs,
    'virtiofs': virtiofs.VirtiofsRootfs,
    'block': block.BlockRootfs,
}

#: Of an image: the transport that its servers are to have.
PROPERTY = 'containervm_rootfs_transport'


def offered() -> tuple[str, ...]:
    """Transports that servers of this host may have, the usual one first."""
    group = CONF.containervm
    return tuple(dict.fromkeys(
        (group.rootfs_transport, *group.allowed_transports)))


def choices(properties, image_id, disk=False) -> rootfs_base.Choices:
    """How a new server is to be made.

    :param properties: of its image
    :param disk: the image was uploaded as a disk
    :raises exception.ImageUnacceptable: the image wants a transport that this
        host does not offer, or that a disk cannot have
    """
    wanted = properties.get(PROPERTY)
    if disk:
        if wanted not in (None, 'block'):
            raise exception.ImageUnacceptable(
                image_id=image_id, reason='%s is %r, but the image is a disk, '
                'whose servers can only have block' % (PROPERTY, wanted))
        if 'block' not in offered():
            raise exception.ImageUnacceptable(
                image_id=image_id, reason='it is a disk, which needs the '
                'transport block, but this host offers only %s; trait:%s='
                'required finds one that does' % (
                    ', '.join(offered()), TRAITS['block']))
        wanted = 'block'
    if wanted is not None and wanted not in offered():
        raise exception.ImageUnacceptable(
            image_id=image_id,
            # Nova cuts messages to users after some 140 of these characters.
            reason='%s is %r, but this host offers only %s; '
            'trait:%s=required finds one that does' % (
                PROPERTY, wanted, ', '.join(offered()),
                TRAITS.get(wanted, 'CUSTOM_CONTAINERVM_...')))
    made = rootfs_base.Choices.from_conf(CONF.containervm, wanted)
    if made.writable_layer == 'disk':
        return dataclasses.replace(made, share_limit='none')
    if made.share_limit == 'auto':
        kind = limits.probe_project_quota(_place())
        made = dataclasses.replace(
            made, share_limit='project' if kind == 'xfs' else 'file')
    return made


def _place():
    """A directory that is where those of servers are."""
    path = os.path.join(CONF.instances_path, 'locks')
    fileutils.ensure_tree(path)
    return path


def rootfs(instance_dir, made) -> rootfs_base.Rootfs:
    """The root filesystem of a server.

    :param made: its Choices
    """
    return ROOTFS[made.rootfs_transport](instance_dir, made)


def is_rootfs(device) -> bool:
    """Whether a filesystem device of a domain is a container's root."""
    return share.is_rootfs(device)


def without_rootfs(guest_config):
    """The config of a domain without the disk that is a container's root.

    :param guest_config: a LibvirtConfigGuest; it stays as it is
    """
    devices = [device for device in guest_config.devices
               if not block.is_rootfs(getattr(device, 'source_path', None))]
    if len(devices) == len(guest_config.devices):
        return guest_config
    guest_config = copy.copy(guest_config)
    guest_config.devices = devices
    return guest_config


def check() -> None:
    """Check that this host has what the transports that it offers need.

    :raises exception.InvalidConfiguration: with the remedy
    """
    group = CONF.containervm
    if group.rootfs_transport == 'block' and group.writable_layer == 'share':
        raise exception.InvalidConfiguration(
            '[containervm] rootfs_transport = block and writable_layer = '
            'share exclude each other: a disk that servers share cannot be '
            'written to. Set writable_layer = disk.')
    check_tools()
    if group.writable_layer == 'share' and group.share_limit == 'project':
        _check_projects(limits.probe_project_quota(_place()))


def _check_projects(kind):
    if kind is None:
        raise exception.InvalidConfiguration(
            '[containervm] share_limit = project, but the filesystem of '
            '[DEFAULT] instances_path = %s has no project quotas, or the '
            'kernel is older than 5.14. Mount it with the option prjquota, or '
            'set share_limit = file.' % CONF.instances_path)
    # virtiofsd gives up that capability; XFS does not ask for it.
    if (kind != 'xfs' and '9p' in offered() and
            CONF.containervm.share_access_mode == 'passthrough'):
        raise exception.InvalidConfiguration(
            '[containervm] share_limit = project and share_access_mode = '
            'passthrough: the filesystem of [DEFAULT] instances_path = %s '
            'holds no program to a project quota that has CAP_SYS_RESOURCE, '
            'as a QEMU that runs as root. Set share_limit = file, or put the '
            'instances on XFS.' % CONF.instances_path)


def check_tools() -> None:
    """The part of :func:`check` that needs no privilege.

    :raises exception.InvalidConfiguration: with the remedy
    """
    if 'virtiofs' in offered() and virtiofs.find_daemon() is None:
        raise exception.InvalidConfiguration(
            'The transport virtiofs needs virtiofsd, and no file in %s '
            'describes one. Install it (Debian 12: package '
            'qemu-system-common; later: virtiofsd), or take virtiofs out of '
            '[containervm] rootfs_transport and allowed_transports.' %
            ' or '.join(virtiofs.DESCRIPTIONS))
    if 'block' in offered():
        _check_block()


def _check_block():
    group = CONF.containervm
    try:
        tool = mkerofs.find(group.mkfs_erofs_cmd)
        with tempfile.TemporaryDirectory(
                prefix='containervm-probe-') as work:
            mkerofs.probe(tool, group.disk_compression, work)
    except (image_errors.StoreError, OSError) as e:
        raise exception.InvalidConfiguration(
            'The transport block needs mkfs.erofs: %s. Install it, name '
            'another with [containervm] mkfs_erofs_cmd, or take block out of '
            'rootfs_transport and allowed_transports.' % e)
