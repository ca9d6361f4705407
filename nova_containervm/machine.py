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

"""This machine, for doctor.py: processors, kernel, filesystem."""

import os
import pathlib
import platform
import re
import tempfile

from nova_containervm import conf
from nova_containervm import findings

CONF = conf.CONF

OK, NOTE, WARNING, ERROR = findings.LEVELS
Finding = findings.Finding

# Overlay mounts with attributes of the user.* namespace
_LEAST_KERNEL = (5, 11)
_LITTLE_SPACE = 10 * 1024 ** 3
# Below this a mapped share or an overlay cannot work.
_REMOTE_FILESYSTEMS = ('nfs', 'nfs4', 'cifs', '9p', 'fuse.sshfs')
_KVM = '/dev/kvm'
_CPUINFO = pathlib.Path('/proc/cpuinfo')


def check_processors(connection) -> findings.Findings:
    """KVM, and whether it is used."""
    present = pathlib.Path(_KVM).is_char_device()
    wanted = CONF.libvirt.virt_type == 'kvm'
    flags = re.search(r'^flags\s*:(.*)', _CPUINFO.read_text(), re.MULTILINE)
    if present and flags and not {'vmx', 'svm'} & set(flags[1].split()):
        yield Finding(
            ERROR if wanted else NOTE, 'KVM', 'There is /dev/kvm, but the '
            'processor has neither vmx nor svm: ordinary kernels do not run '
            'on it.%s' % (' Set [libvirt] virt_type = qemu.' if wanted
                          else ''))
    elif wanted and not present:
        yield Finding(
            ERROR, 'KVM', '[libvirt] virt_type = kvm, but there is no '
            '/dev/kvm. Enable virtualization in the firmware and load the '
            'module kvm_intel or kvm_amd, or set virt_type = qemu, which is '
            'many times slower.')
    elif not wanted and present:
        yield Finding(
            WARNING, 'KVM', 'There is /dev/kvm, but [libvirt] virt_type = '
            '%s: servers are many times slower than they could be. Set '
            'virt_type = kvm.' % CONF.libvirt.virt_type)
    elif present:
        yield Finding(OK, 'KVM', '/dev/kvm is there and used.')
    else:
        yield Finding(NOTE, 'KVM', 'There is none: QEMU emulates, which is '
                      'many times slower.')


def check_kernel(connection) -> findings.Findings:
    """The kernel of this host."""
    release = platform.release()
    numbers = re.match(r'(\d+)\.(\d+)', release)
    version = tuple(map(int, numbers.groups())) if numbers else (0, 0)
    if version < _LEAST_KERNEL:
        yield Finding(
            ERROR, 'kernel', 'Linux %s is too old: overlay mounts need 5.11 '
            'or later.' % release)
    else:
        yield Finding(OK, 'kernel', 'Linux %s.' % release)


def check_instances_path(connection) -> findings.Findings:
    """The filesystem of servers and images."""
    path = CONF.instances_path
    if not os.path.isdir(path):
        yield Finding(NOTE, 'instances_path', '%s does not exist yet; '
                      'nova-compute makes it.' % path)
        return
    kind = _filesystem(path)
    if kind in _REMOTE_FILESYSTEMS:
        yield Finding(
            ERROR, 'instances_path', '%s is on %s, where overlay mounts do '
            'not work. It must be on a local filesystem: ext4, XFS or Btrfs.'
            % (path, kind))
        return
    try:
        with tempfile.NamedTemporaryFile(dir=path,
                                         prefix='containervm-') as f:
            os.setxattr(f.fileno(), 'user.containervm', b'1')
    except PermissionError:
        yield Finding(
            NOTE, 'instances_path', 'The user of this command may not write '
            'to %s. Run it as the user of nova-compute to have more checked.'
            % path)
        return
    except OSError as e:
        yield Finding(
            ERROR, 'instances_path', '%s (%s) takes no extended attributes '
            '(%s). ext4, XFS and Btrfs do.' % (path, kind, e.strerror))
        return
    space = os.statvfs(path)
    free = space.f_bavail * space.f_frsize
    text = '%s is on %s, %.0f GiB are free.' % (path, kind, free / 1024 ** 3)
    if free < _LITTLE_SPACE:
        yield Finding(
            WARNING, 'instances_path', text + ' Every image is kept there '
            'unpacked, beside the disks of servers.')
    else:
        yield Finding(OK, 'instances_path', text)


def _filesystem(path):
    """The type of the filesystem that a path is on."""
    device = os.stat(path).st_dev
    wanted = '%d:%d' % (os.major(device), os.minor(device))
    with open('/proc/self/mountinfo') as mountinfo:
        for line in mountinfo:
            fields, _, rest = line.partition(' - ')
            if fields.split(' ')[2] == wanted:
                return rest.split(' ')[0]
    return 'an unknown filesystem'
