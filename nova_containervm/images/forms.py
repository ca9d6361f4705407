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

"""How a file of an image is kept on this host: access modes of QEMU's 9p.

``mapped``: every file is plain, 0600 or 0700, and belongs to QEMU's user;
what it is for the guest is in ``user.virtfs.*`` attributes, as QEMU's
``mapped-xattr`` wants it. ``passthrough``: files are what they are.

All operations take a directory's descriptor and one name; none follows a
symbolic link.
"""

import errno
import os
import stat
import struct

from nova_containervm.images import errors
from nova_containervm.images import limits
from nova_containervm.images import tarread

VIRTFS_MODE = 'user.virtfs.mode'
VIRTFS_UID = 'user.virtfs.uid'
VIRTFS_GID = 'user.virtfs.gid'
VIRTFS_RDEV = 'user.virtfs.rdev'
OPAQUE = 'user.overlay.opaque'
CAPABILITY = b'security.capability'
#: On a file that will become a link to one of a lower layer: its number.
PLACEHOLDER = 'user.overlay.containervm'
#: Where QEMU's mapped-xattr keeps POSIX ACLs, by the guest's name.
ACLS = {
    b'system.posix_acl_access': b'user.virtfs.system.posix_acl_access',
    b'system.posix_acl_default': b'user.virtfs.system.posix_acl_default',
}
#: Names that steer QEMU or overlayfs: never an image's to set.
RESERVED = (b'user.virtfs.', b'user.overlay.')

_FORMAT = {
    tarread.REG: stat.S_IFREG, tarread.DIR: stat.S_IFDIR,
    tarread.SYMLINK: stat.S_IFLNK, tarread.CHR: stat.S_IFCHR,
    tarread.BLK: stat.S_IFBLK, tarread.FIFO: stat.S_IFIFO,
}
#: How every file is made: a new one, or not at all.
CREATE = (os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
          | os.O_CLOEXEC)
#: What utimensat takes: years 1901 to 2446, the range of ext4.
_TIME_MIN = -(1 << 31) * 10 ** 9
_TIME_MAX = ((1 << 34) - (1 << 31) - 1) * 10 ** 9

_pack = struct.Struct('<I').pack


def clamp_time(nanos):
    """The nearest time that every file system can keep."""
    return min(max(nanos, _TIME_MIN), _TIME_MAX)


def full_mode(member):
    """st_mode of a member: type and permission bits."""
    return _FORMAT[member.type] | member.mode


def wanted_xattrs(member):
    """Extended attributes that an image may set.

    :returns: (dict of name to value, list of names that are ignored)
    """
    kept, ignored = {}, []
    plain = member.type in (tarread.REG, tarread.DIR)
    for name, value in member.xattrs.items():
        if len(name) > 255 or b'\0' in name or not name:
            raise errors.BadMember(
                '%s has an extended attribute with an impossible name'
                % errors.quote(member.name))
        if (plain and (name in ACLS or name.startswith(b'user.')
                       and not name.startswith(RESERVED))
                or name == CAPABILITY and member.type == tarread.REG):
            kept[name] = value
        else:
            ignored.append(name)
    size = sum(len(k) + len(v) for k, v in kept.items())
    if size > limits.XATTR_BYTES:
        raise errors.BadMember(
            '%s has %d bytes of extended attributes; Linux keeps at most %d'
            % (errors.quote(member.name), size, limits.XATTR_BYTES))
    return kept, ignored


def _set_xattr(target, name, value):
    try:
        os.setxattr(target, name, value)
    except OSError as exc:
        label = errors.quote(name)
        if exc.errno in (errno.ENOSPC, errno.E2BIG, errno.ERANGE) \
                and len(value) > 1024 and os.fstatvfs(target).f_bavail:
            raise errors.BadMember(
                'the extended attribute %s (%d bytes) does not fit on the '
                'file system of this host' % (label, len(value)))
        if exc.errno == errno.ENOTSUP:
            raise errors.StoreError(
                'the file system of the image store keeps no attribute %s; '
                'put it on ext4, XFS or btrfs' % label)
        if exc.errno == errno.EINVAL:
            raise errors.BadMember('the extended attribute %s has an '
                                   'impossible value' % label)
        raise


def placeholder(name, dir_fd):
    """The number of a placeholder, -1 for anything else."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                     | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError:
        return -1
    try:
        return int(os.getxattr(fd, PLACEHOLDER))
    except OSError:
        return -1
    finally:
        os.close(fd)


def is_opaque(fd):
    """Whether an open directory hides what lower layers have in it."""
    try:
        return os.getxattr(fd, OPAQUE) == b'y'
    except OSError:
        return False


class Mapped:
    """Files as QEMU's accessmode=mapped keeps them; needs no privilege."""

    name = 'mapped'

    def apply(self, fd, mode, uid, gid, xattrs=None, rdev=None):
        """Give the open file its identity for the guest."""
        # The one that varies least comes last: ext4 shares the block that
        # takes what the inode has no room for.
        os.setxattr(fd, VIRTFS_MODE, _pack(mode))
        os.setxattr(fd, VIRTFS_GID, _pack(gid))
        if rdev is not None:
            os.setxattr(fd, VIRTFS_RDEV, struct.pack('<Q', rdev))
        try:
            os.setxattr(fd, VIRTFS_UID, _pack(uid))
        except OSError as exc:
            if exc.errno == errno.ENOTSUP:
                raise errors.StoreError(
                    'the file system of the image store keeps no user '
                    'extended attributes; put it on ext4, XFS or btrfs')
            raise
        if xattrs:
            for name, value in xattrs.items():
                if name != CAPABILITY:
                    _set_xattr(fd, ACLS.get(name, name), value)

    def kept(self, xattrs):
        """Those that apply() stores: 9p cannot carry capabilities."""
        return {n: v for n, v in (xattrs or {}).items() if n != CAPABILITY}

    def identity(self, fd):
        """(mode, uid, gid) of an open file or directory, for the guest."""
        values = []
        for name in (VIRTFS_MODE, VIRTFS_UID, VIRTFS_GID):
            values.append(struct.unpack('<I', os.getxattr(fd, name))[0])
        return tuple(values)

    def symlink(self, dir_fd, name, member):
        fd = os.open(name, CREATE, 0o600, dir_fd=dir_fd)
        try:
            os.write(fd, member.linkname)
            self.apply(fd, stat.S_IFLNK | 0o777, member.uid, member.gid)
            mtime = clamp_time(member.mtime)
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)

    def node(self, dir_fd, name, member):
        """A device or fifo; a plain empty file here."""
        fd = os.open(name, CREATE, 0o600, dir_fd=dir_fd)
        try:
            rdev = None
            if member.type != tarread.FIFO:
                rdev = device(member)
            self.apply(fd, full_mode(member), member.uid, member.gid,
                       rdev=rdev)
            mtime = clamp_time(member.mtime)
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)

    def readlink(self, dir_fd, name):
        """Target of a symbolic link of the image, None if it is none."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                         | os.O_CLOEXEC, dir_fd=dir_fd)
        except OSError:
            return None
        try:
            st = os.fstat(fd)
            if not stat.S_ISREG(st.st_mode):
                return None
            mode = struct.unpack('<I', os.getxattr(fd, VIRTFS_MODE))[0]
            if not stat.S_ISLNK(mode):
                return None
            return os.read(fd, 4096)
        except (OSError, struct.error):
            return None
        finally:
            os.close(fd)

    def copied_xattrs(self, fd):
        """What a directory made for a lower one's sake takes from it."""
        return {n: os.getxattr(fd, n) for n in os.listxattr(fd)
                if n.startswith('user.') and n != OPAQUE
                and not n.startswith('user.overlay.')}


class Passthrough:
    """Files as they are; needs root, and a QEMU that runs as root."""

    name = 'passthrough'

    def apply(self, fd, mode, uid, gid, xattrs=None, rdev=None):
        os.fchown(fd, uid, gid)
        os.fchmod(fd, stat.S_IMODE(mode))  # chown takes setuid away
        if xattrs:
            for name, value in xattrs.items():
                _set_xattr(fd, name, value)

    def kept(self, xattrs):
        return xattrs

    def identity(self, fd):
        st = os.fstat(fd)
        return st.st_mode, st.st_uid, st.st_gid

    def symlink(self, dir_fd, name, member):
        os.symlink(member.linkname, name, dir_fd=dir_fd)
        self._finish(dir_fd, name, member)

    def node(self, dir_fd, name, member):
        os.mknod(name, full_mode(member) & ~0o7777 | 0o600, device(member),
                 dir_fd=dir_fd)
        os.chmod(name, member.mode & ~0o6000, dir_fd=dir_fd)
        self._finish(dir_fd, name, member)

    def _finish(self, dir_fd, name, member):
        os.chown(name, member.uid, member.gid, dir_fd=dir_fd,
                 follow_symlinks=False)
        mtime = clamp_time(member.mtime)
        os.utime(name, ns=(mtime, mtime), dir_fd=dir_fd,
                 follow_symlinks=False)

    def readlink(self, dir_fd, name):
        try:
            return os.readlink(name, dir_fd=dir_fd)
        except OSError:
            return None

    def copied_xattrs(self, fd):
        return {n: os.getxattr(fd, n) for n in os.listxattr(fd)
                if n.startswith('user.') and not n.startswith('user.overlay.')
                or n.encode() in ACLS}


def device(member):
    """st_rdev of a device member; 0 for a fifo."""
    if member.type == tarread.FIFO:
        return 0
    if not 0 <= member.major < 1 << 12 or not 0 <= member.minor < 1 << 20:
        raise errors.BadMember('%s has device number %d:%d, which Linux does '
                               'not have' % (errors.quote(member.name),
                                             member.major, member.minor))
    return os.makedev(member.major, member.minor)


class Block:
    """Files in a disk image; see diskserver.py."""

    name = 'block'


FORMS = {'mapped': Mapped, 'passthrough': Passthrough, 'block': Block}
