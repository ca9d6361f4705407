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

"""Is this host able to do what its settings ask for?

Everything that can be known at start-up is checked there: nova-compute then
refuses to start, and says what to change, instead of failing each server.
"""

import grp
import os
import platform
import pwd
import shutil

from lxml import etree
from nova import exception
from oslo_log import log as logging
from oslo_privsep import comm as privsep_comm
from oslo_privsep import daemon as privsep_daemon
from oslo_utils import fileutils

from nova_containervm import basevm
from nova_containervm import conf
from nova_containervm.privsep import mounts
from nova_containervm import transports

CONF = conf.CONF
LOG = logging.getLogger(__name__)

VIRT_TYPES = ('kvm', 'qemu')

# Backends that keep the root disk as a file, which the base VM image can be
# the backing file or the source of.
IMAGE_TYPES = ('default', 'qcow2', 'raw', 'flat')


def _fail(message, *args):
    raise exception.InvalidConfiguration(message % args)


def check_virt_type() -> None:
    """Check the kind of libvirt's connection.

    :raises exception.InvalidConfiguration: with the remedy
    """
    if CONF.libvirt.virt_type not in VIRT_TYPES:
        _fail("[libvirt] sub_virt_type = container needs [libvirt] virt_type "
              "= kvm or qemu, not '%s'.", CONF.libvirt.virt_type)


def check_settings() -> basevm.BaseVM:
    """Check the settings alone, before libvirt is asked for anything.

    :returns: the base VM image
    :raises exception.InvalidConfiguration: with the remedy
    :raises cfg.ConfigFileValueError: a value is out of its range
    """
    for option in conf.containervm_opts:
        # One that is only read later would fail the first server.
        CONF.containervm[option.dest]
    check_virt_type()
    if CONF.libvirt.images_type not in IMAGE_TYPES:
        _fail("[libvirt] sub_virt_type = container needs [libvirt] "
              "images_type = default, qcow2 or raw, not '%s'.",
              CONF.libvirt.images_type)
    if CONF.config_drive_format != 'iso9660':
        _fail("[libvirt] sub_virt_type = container needs [DEFAULT] "
              "config_drive_format = iso9660, not '%s': the guest knows its "
              'config drive by the label of that filesystem.',
              CONF.config_drive_format)
    if not CONF.libvirt.base_vm_image:
        _fail('[libvirt] sub_virt_type = container needs [libvirt] '
              "base_vm_image. Build one with 'nova-containervm-baseimage "
              "build --type minimal --output DIR' and set the option to "
              'DIR/base.qcow2.')
    if not os.path.isabs(CONF.libvirt.base_vm_image):
        _fail('[libvirt] base_vm_image = %s is no absolute path.',
              CONF.libvirt.base_vm_image)
    base = basevm.load(CONF.libvirt.base_vm_image)
    _check_base(base)
    for tool, package in (
            (CONF.mkisofs_cmd, 'genisoimage'), ('qemu-img', 'qemu-utils'),
            ('mount', 'mount'), ('cp', 'coreutils')):
        if shutil.which(tool) is None:
            _fail("The program '%s' is not on nova-compute's PATH. Install "
                  "it (package %s on Debian).", tool, package)
    return base


def _check_base(base):
    group = CONF.containervm
    for option, value, offered in (
            ('boot_method', group.boot_method, base.boot_methods),
            ('guest_runtime', group.guest_runtime, base.runtimes),
            ('rootfs_transport', group.rootfs_transport, base.transports),
            *(('allowed_transports', name, base.transports)
              for name in group.allowed_transports)):
        if value not in offered:
            _fail('[containervm] %s = %s, but the base VM image %s (%s) '
                  'offers only: %s. Change the option or build another image '
                  "with 'nova-containervm-baseimage build'.",
                  option, value, base.path, base.type, ', '.join(offered))
    if base.architecture and base.architecture != platform.machine():
        _fail('The base VM image %s is for %s, this host is %s. Build one on '
              'a host of this architecture.', base.path, base.architecture,
              platform.machine())


def qemu_owner(host) -> tuple[int, int]:
    """User and group that libvirt runs QEMU as.

    libvirt names them in its capabilities, as the base label of its
    "dac" security model.

    :param host: Nova's libvirt Host
    :raises exception.InvalidConfiguration: libvirt does not say
    """
    xml = etree.fromstring(
        host.get_connection().getCapabilities().encode('utf-8'))
    for model in xml.findall('./host/secmodel'):
        if model.findtext('model') != 'dac':
            continue
        for label in model.findall('baselabel'):
            if label.get('type') == CONF.libvirt.virt_type:
                uid, gid = label.text.split(':')
                return (_id(uid, lambda n: pwd.getpwnam(n).pw_uid),
                        _id(gid, lambda n: grp.getgrnam(n).gr_gid))
    return _fail("libvirt does not say which user it runs QEMU as: its "
                 "capabilities have no security model 'dac' for %s.",
                 CONF.libvirt.virt_type)


def _id(label, lookup):
    # "+64055" is a number; anything else is a name
    return int(label[1:]) if label.startswith('+') else lookup(label)


def check_host(host) -> tuple[int, int]:
    """Check this host, once libvirt is connected.

    :param host: Nova's libvirt Host
    :returns: user and group id that QEMU runs as
    :raises exception.InvalidConfiguration: with the remedy
    """
    owner = qemu_owner(host)
    if ('9p' in transports.offered() and owner[0] != 0 and
            CONF.containervm.share_access_mode == 'passthrough'):
        _fail('[containervm] share_access_mode = passthrough needs a QEMU '
              'that runs as root, for it reads and changes files of every '
              'owner. libvirt runs it with uid %d. Set share_access_mode = '
              'mapped, or user = "root" and group = "root" in '
              '/etc/libvirt/qemu.conf and restart libvirtd.', owner[0])
    fileutils.ensure_tree(CONF.instances_path)
    _check_reachable(CONF.instances_path, owner)
    transports.check()
    _check_privileged()
    return owner


def _check_reachable(path, owner):
    """QEMU opens disks and shares by their paths, so it must get there."""
    uid, gid = owner
    if uid == 0:
        return
    groups = {gid}
    try:
        name = pwd.getpwuid(uid).pw_name
        groups.update(g.gr_gid for g in grp.getgrall() if name in g.gr_mem)
    except KeyError:
        LOG.debug('QEMU runs with uid %d, which has no name', uid)
    current = os.path.realpath(path)
    while True:
        info = os.stat(current)
        if info.st_uid == uid:
            allowed = info.st_mode & 0o100
        elif info.st_gid in groups:
            allowed = info.st_mode & 0o010
        else:
            allowed = info.st_mode & 0o001
        if not allowed:
            _fail('QEMU runs with uid %d, which may not pass the directory '
                  "%s on the way to [DEFAULT] instances_path = %s. Allow it "
                  "with 'chmod o+x %s', or choose another path.",
                  uid, current, path, current)
        if current == '/':
            return
        current = os.path.dirname(current)


def _check_privileged():
    """One privileged step, to find out whether there can be any."""
    scratch = os.path.join(CONF.instances_path, 'containervm-probe')
    fileutils.ensure_tree(scratch)
    try:
        problem = mounts.probe_overlay(scratch)
    except (privsep_daemon.FailedToDropPrivileges,
            privsep_comm.PrivsepTimeout, OSError) as e:
        _fail('The privileged helper of the driver cannot be started (%s). '
              "Allow the user of nova-compute to run 'privsep-helper "
              "--privsep_context nova_containervm.privsep.ctx' as root: see "
              'the rootwrap filter in etc/rootwrap.d/containervm.filters, or '
              'the sudo rule in the installation guide.', e)
    finally:
        os.rmdir(scratch)
    if problem:
        _fail('overlayfs does not work in %s: %s. Container servers need the '
              'kernel module overlay, and a filesystem there that it accepts '
              '(ext4, XFS, Btrfs; not NFS).', CONF.instances_path, problem)
