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

"""Has libguestfs make the filesystem, in a virtual machine of its own.

As virt-make-fs does it, which could also be used if it kept extended
attributes: capabilities of files would be lost.
"""

import os

from nova_containervm.convert import errors
from nova_containervm.convert import ext4
from nova_containervm.convert import tools
from nova_containervm.images import tarwrite

#: Of the size that the direct method needs: this one has a journal.
_ROOM = 32 << 20


def make(kind, source, target, work, identifier):
    """Write the filesystem; arguments as of ext4.make().

    :param kind: only ext4
    :raises ConvertError: libguestfs is missing, or fails
    """
    if kind != 'ext4':
        raise errors.ConvertError(
            'libguestfs does not make %s; use --format ext4, or leave '
            '--method out' % kind)
    guestfish = tools.require('guestfish')
    size, inodes = ext4.measure(source)
    archive = os.path.join(work, 'image.tar')
    with open(archive, 'wb') as out:
        tarwrite.write(source.root, source.spools, out.fileno())
    # Without libvirt, whose daemon would have to get at our files.
    extra = {} if os.environ.get('LIBGUESTFS_BACKEND') else {
        'LIBGUESTFS_BACKEND': 'direct'}
    try:
        # An argument that is ":" begins the next command.
        tools.run([
            guestfish,
            'sparse', target, str(size + _ROOM), ':', 'run', ':',
            'mke2fs', '/dev/sda', 'fstype:ext4', 'blocksize:4096',
            'numberofinodes:%d' % inodes, 'uuid:' + identifier,
            'reservedblockspercentage:0', ':',
            'mount-options', 'user_xattr,acl', '/dev/sda', '/', ':',
            'tar-in', archive, '/', 'xattrs:true', 'acls:true', ':',
            'umount-all'], **extra)
    except errors.ConvertError as exc:
        if 'guestfs_launch failed' not in str(exc):
            raise
        raise errors.ConvertError(
            "libguestfs cannot start its virtual machine; "
            "'libguestfs-test-tool' says why. Where /dev/kvm is there but "
            'does not work: LIBGUESTFS_BACKEND_SETTINGS=force_tcg') from exc
