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


"""Files of a container as they lie on this host, in either access mode.

The reverse of images/forms.py: what a file is for the guest, from what it is
here. Nothing follows a symbolic link.
"""

import os
import stat
import struct

from nova_containervm.snapshot import tarwrite

_VIRTFS = 'user.virtfs.'
_OVERLAY = 'user.overlay.'
_ACL = 'system.posix_acl_'
_CAPABILITY = 'security.capability'
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TYPES = {
    stat.S_IFREG: tarwrite.REG, stat.S_IFLNK: tarwrite.SYMLINK,
    stat.S_IFCHR: tarwrite.CHR, stat.S_IFBLK: tarwrite.BLK,
    stat.S_IFDIR: tarwrite.DIR, stat.S_IFIFO: tarwrite.FIFO,
}
#: Holes that together are smaller are not worth a map.
MIN_HOLES = 64 * 1024


def open_below(name, dir_fd, flags=0):
    """Open a file or directory of a tree."""
    return os.open(name, _FLAGS | flags, dir_fd=dir_fd)


def is_whiteout(st):
    """Whether overlayfs has this in place of something removed."""
    return stat.S_ISCHR(st.st_mode) and st.st_rdev == 0


def is_opaque(fd):
    """Whether a directory hides what is below it."""
    try:
        return os.getxattr(fd, _OVERLAY + 'opaque') == b'y'
    except OSError:
        return False


def extents(fd, st):
    """Where an open file has data: a list as of tarwrite.Entry, or None."""
    size = st.st_size
    if st.st_blocks * 512 + MIN_HOLES > size:
        return None
    found, at = [], 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as e:
            if e.errno != 6:  # ENXIO: no data from there on
                raise
            break
        end = min(os.lseek(fd, at, os.SEEK_HOLE), size)
        found.append((at, end - at))
        at = end
    if sum(length for _start, length in found) + MIN_HOLES > size:
        return None
    if not found or sum(found[-1]) < size:
        found.append((size, 0))
    return found


class Passthrough:
    """Files that are what they are."""

    def entry(self, path, name, dir_fd, st):
        """The member that a file makes, without its data.

        :returns: a tarwrite.Entry, or None for a socket
        """
        return self._fill(path, st, st.st_mode, st.st_uid, st.st_gid,
                          st.st_rdev, self._xattrs(name, dir_fd, st),
                          lambda: os.readlink(name, dir_fd=dir_fd))

    def _fill(self, path, st, mode, uid, gid, rdev, xattrs, target):
        kind = _TYPES.get(stat.S_IFMT(mode))
        if kind is None:
            return None
        made = tarwrite.Entry(path, kind, mode, uid, gid,
                              mtime=st.st_mtime_ns, xattrs=xattrs)
        if kind == tarwrite.REG:
            made.size = st.st_size
        elif kind == tarwrite.SYMLINK:
            made.target = os.fsencode(target())
        elif kind in (tarwrite.CHR, tarwrite.BLK):
            made.major, made.minor = os.major(rdev), os.minor(rdev)
        return made

    def _xattrs(self, name, dir_fd, st):
        if not (stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode)):
            return {}
        fd = open_below(name, dir_fd)
        try:
            return {os.fsencode(self._guests_name(n)): os.getxattr(fd, n)
                    for n in os.listxattr(fd) if self._is_kept(n)}
        finally:
            os.close(fd)

    def _guests_name(self, name):
        return name

    def _is_kept(self, name):
        return (name == _CAPABILITY or name.startswith(_ACL) or
                name.startswith('user.') and not name.startswith(_OVERLAY))


class Mapped(Passthrough):
    """Plain files; user.virtfs.* attributes say what they are to be."""

    def entry(self, path, name, dir_fd, st):
        if not (stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode)):
            # QEMU makes nothing else.
            return None
        fd = open_below(name, dir_fd)
        try:
            known = {n: os.getxattr(fd, n) for n in os.listxattr(fd)}

            def number(key, otherwise, form='<I'):
                value = known.get(_VIRTFS + key)
                return (struct.unpack(form, value)[0]
                        if value is not None else otherwise)

            xattrs = {os.fsencode(self._guests_name(n)): value
                      for n, value in known.items() if self._is_kept(n)}
            mode = number('mode', st.st_mode)
            return self._fill(
                path, st, mode, number('uid', st.st_uid),
                number('gid', st.st_gid), number('rdev', 0, '<Q'),
                xattrs if stat.S_IFMT(mode) in (stat.S_IFREG, stat.S_IFDIR)
                else {}, lambda: os.read(fd, 4096))
        finally:
            os.close(fd)

    def _guests_name(self, name):
        return name.removeprefix(_VIRTFS)

    def _is_kept(self, name):
        return (name.startswith(_VIRTFS + _ACL) or
                name.startswith('user.') and
                not name.startswith((_VIRTFS, _OVERLAY)))


FORMS = {'mapped': Mapped, 'passthrough': Passthrough}
