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

"""What a compute host has and lacks for container servers.

nova-compute checks a host when it starts, and stops at the first thing that
is missing. This finds everything at once, says what is well, too, and looks
at some things that only matter later. Nothing is changed.
"""

import importlib
import importlib.metadata
import os
import platform

from lxml import etree
from nova import exception
from oslo_config import cfg

from nova_containervm import basevm
from nova_containervm import conf
from nova_containervm import findings
from nova_containervm import hostcheck
from nova_containervm.images import mkerofs
from nova_containervm import machine
from nova_containervm import transports

CONF = conf.CONF

OK, NOTE, WARNING, ERROR = findings.LEVELS
Finding = findings.Finding

DRIVER = 'containervm.ContainerVMDriver'

# Major versions of Nova: the oldest supported, the newest tested.
NOVA_VERSIONS = (31, 34)

# libvirt's names of drivers of <filesystem>, by transport
_DRIVERS = {'9p': 'path', 'virtiofs': 'virtiofs'}

_SELINUX = '/sys/fs/selinux/enforce'


class Connection:
    """libvirt, as :func:`hostcheck.qemu_owner` asks for it.

    Nova's own Host would start threads that never end.
    """

    def get_connection(self):
        """Open the connection, as nova-compute does.

        One for reading only may not ask for a domain's capabilities.

        :raises ImportError: there is no libvirt-python
        :raises libvirt.libvirtError: libvirtd does not answer
        """
        libvirt = importlib.import_module('libvirt')
        # It prints every error by itself, besides raising it.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        return libvirt.open(CONF.libvirt.connection_uri or 'qemu:///system')

    @property
    def errors(self):
        """What it may raise."""
        try:
            return (importlib.import_module('libvirt').libvirtError,)
        except ImportError:
            return (ImportError,)


def check_nova(connection) -> findings.Findings:
    """Nova itself, and whether it finds the driver."""
    version = importlib.metadata.version('nova')
    major = int(version.split('.', 1)[0])
    oldest, newest = NOVA_VERSIONS
    if major < oldest:
        yield Finding(ERROR, 'Nova', 'Nova %s is too old: %d.0.0 (2025.1) or '
                      'later is needed.' % (version, oldest))
    elif major > newest:
        yield Finding(WARNING, 'Nova', 'Nova %s is newer than what this '
                      'driver is tested with (%d.x). Look for a newer '
                      'nova-containervm.' % (version, newest))
    else:
        yield Finding(OK, 'Nova', 'Nova %s.' % version)
    try:
        importlib.import_module('nova.virt.containervm')
    except ImportError as e:
        yield Finding(
            ERROR, 'driver', 'Nova does not find the driver: %s. The file '
            "nova-containervm.pth must be beside Nova's packages: install "
            'nova-containervm with the pip of the environment that '
            'nova-compute runs in.' % e)
        return
    if CONF.compute_driver != DRIVER:
        yield Finding(
            ERROR, 'driver', "[DEFAULT] compute_driver = %s. Set it to '%s'."
            % (CONF.compute_driver, DRIVER))
    elif CONF.libvirt.sub_virt_type != 'container':
        yield Finding(
            ERROR, 'driver', 'Container servers are not enabled: nova.conf '
            "has no [libvirt] sub_virt_type = container. Until then '%s' is "
            'the libvirt driver and nothing else.' % DRIVER)
    else:
        yield Finding(OK, 'driver', 'Nova finds the driver, and it is '
                      'enabled.')


def check_settings(connection) -> findings.Findings:
    """What nova-compute looks at before it connects to libvirt."""
    try:
        base = hostcheck.check_settings()
    except (exception.InvalidConfiguration, cfg.ConfigFileValueError) as e:
        yield Finding(ERROR, 'settings', _said(e))
        return
    yield Finding(OK, 'settings', 'Transport %s, writable layer %s.' % (
        CONF.containervm.rootfs_transport, CONF.containervm.writable_layer))
    yield Finding(OK, 'base VM image', '%s (%s), for transports %s.' % (
        base.path, base.type, ', '.join(base.transports)))
    yield from _manifest(base)


def _manifest(base: basevm.BaseVM) -> findings.Findings:
    if base.kernel is None and base.type == 'cloud':
        yield Finding(
            NOTE, 'base VM image', 'It has no manifest and is taken for a '
            'cloud image: its kernel must have the module 9p (Debian\'s '
            '"cloud" kernels have not), and a start takes a minute or more.')
    lacking = [what for feature, what in basevm.FEATURES.items()
               if base.type == 'minimal' and feature not in base.features]
    if lacking:
        yield Finding(
            NOTE, 'base VM image', 'It is older than this driver, and servers '
            "made with it do without: %s. Build it again with "
            "'nova-containervm-baseimage build'." % ', '.join(lacking))


def check_libvirt(connection) -> findings.Findings:
    """libvirt, QEMU behind it, and how they are confined."""
    try:
        conn = connection.get_connection()
        capabilities = etree.fromstring(conn.getCapabilities().encode())
        domain = etree.fromstring(conn.getDomainCapabilities(
            None, platform.machine(), 'q35', CONF.libvirt.virt_type)
            .encode())
    except connection.errors as e:
        yield Finding(
            ERROR, 'libvirt', 'libvirt cannot be asked (%s). Install '
            'libvirt-python of the same version as libvirt, start libvirtd, '
            'and let the user of this command connect to it (group libvirt).'
            % e)
        return
    yield Finding(OK, 'libvirt', 'libvirt answers; QEMU is %s.' % (
        domain.findtext('path') or 'somewhere'))
    yield from _shares(domain)
    yield from _qemu_user(connection)
    yield from _confinement({m.text for m in capabilities.findall(
        './host/secmodel/model')})


def _shares(domain):
    """Can this QEMU do what the transports need?"""
    kinds = {v.text for v in domain.findall(
        "./devices/filesystem/enum[@name='driverType']/value")}
    for name in transports.offered():
        wanted = _DRIVERS.get(name)
        if wanted is None or not kinds:
            # No share is needed, or this libvirt is too old to say.
            continue
        if wanted in kinds:
            yield Finding(OK, 'transport', 'QEMU can do %s.' % name)
        else:
            yield Finding(
                ERROR, 'transport', 'The transport %s is offered, but QEMU '
                'as libvirt sees it can only do %s. Choose another in '
                '[containervm] rootfs_transport and allowed_transports, or '
                'install a QEMU that was built with it.' % (
                    name, ', '.join(sorted(kinds))))


def _qemu_user(connection):
    try:
        owner = hostcheck.qemu_owner(connection)
        if ('9p' in transports.offered() and owner[0] != 0 and
                CONF.containervm.share_access_mode == 'passthrough'):
            yield Finding(
                ERROR, 'QEMU user', '[containervm] share_access_mode = '
                'passthrough needs a QEMU that runs as root; it runs with '
                'uid %d. Set share_access_mode = mapped.' % owner[0])
            return
        if os.path.isdir(CONF.instances_path):
            hostcheck._check_reachable(CONF.instances_path, owner)
    except exception.InvalidConfiguration as e:
        yield Finding(ERROR, 'QEMU user', _said(e))
        return
    if owner[0] == 0:
        yield Finding(
            WARNING, 'QEMU user', 'QEMU runs as root: a guest that breaks '
            'out of it is root on this host. Take user and group out of '
            '/etc/libvirt/qemu.conf, unless share_access_mode = passthrough '
            'needs them.')
    else:
        yield Finding(OK, 'QEMU user', 'QEMU runs with uid %d, and gets to '
                      'instances_path.' % owner[0])


def _confinement(models):
    if 'selinux' in models:
        yield Finding(
            NOTE, 'SELinux', 'libvirt confines QEMU to files of the type '
            "svirt_image_t or virt_content_t: the image store's layers need "
            "one of them. 'semanage fcontext -a -t virt_content_t "
            '"%s(/.*)?"\' and restorecon set it.' % os.path.join(
                CONF.instances_path, CONF.image_cache.subdirectory_name,
                'containervm'))
    elif _enforcing():
        yield Finding(
            WARNING, 'SELinux', "It is enforcing, but libvirt's security "
            'driver is another. See security_driver in '
            '/etc/libvirt/qemu.conf.')
    if 'apparmor' in models:
        yield Finding(
            NOTE, 'AppArmor', 'libvirt confines QEMU to the files of its '
            'server. virt-aa-helper must be able to read the base VM image: '
            'keep it below /var/lib.')
    if not models & {'selinux', 'apparmor'}:
        yield Finding(
            WARNING, 'confinement', 'libvirt confines QEMU with neither '
            'AppArmor nor SELinux: its user is all that keeps a guest that '
            'breaks out of it from the files of others. See security_driver '
            'in /etc/libvirt/qemu.conf.')


def _enforcing():
    try:
        with open(_SELINUX) as f:
            return f.read().strip() == '1'
    except OSError:
        return False


def check_transports(connection) -> findings.Findings:
    """The programs that transports need, tried out."""
    if not os.access(CONF.instances_path, os.W_OK):
        yield Finding(NOTE, 'transport', 'Not checked: the user of this '
                      'command may not write to instances_path.')
        return
    try:
        transports.check()
    except exception.InvalidConfiguration as e:
        yield Finding(ERROR, 'transport', _said(e))
        return
    yield Finding(OK, 'transport', 'Offered: %s.' % ', '.join(
        transports.offered()))
    if 'block' in transports.offered():
        tool = mkerofs.find(CONF.containervm.mkfs_erofs_cmd)
        if not tool.reads_tar:
            yield Finding(
                NOTE, 'transport', 'mkfs.erofs %s is older than 1.8.1: each '
                'image is unpacked before its disk is made. '
                "'tools/erofs-utils' of this project's sources fetches a "
                'newer one; name it with [containervm] mkfs_erofs_cmd.'
                % '.'.join(map(str, tool.version)))


def check_privileged(connection) -> findings.Findings:
    """Whether the privileged helper starts, and can mount."""
    if os.geteuid() == 0:
        yield Finding(
            NOTE, 'privileged helper', 'Not checked: root may do anything. '
            'Run this as the user of nova-compute to find out whether that '
            "user may start it: 'sudo -u nova nova-containervm-doctor'.")
        return
    if not os.access(CONF.instances_path, os.W_OK):
        yield Finding(NOTE, 'privileged helper', 'Not checked: the user of '
                      'this command is not that of nova-compute.')
        return
    try:
        hostcheck._check_privileged()
    except exception.InvalidConfiguration as e:
        yield Finding(ERROR, 'privileged helper', _said(e))
        return
    yield Finding(OK, 'privileged helper', 'It starts, and overlay mounts '
                  'work.')


CHECKS = (check_nova, check_settings, machine.check_processors,
          machine.check_kernel, check_libvirt, machine.check_instances_path,
          check_privileged, check_transports)


def examine() -> findings.Findings:
    """Look at everything, in the order in which one would mend it."""
    connection = Connection()
    for check in CHECKS:
        yield from check(connection)


def _said(error):
    """An exception's message, without what Nova puts in front."""
    return ' '.join(str(getattr(error, 'message', None) or error).split())
