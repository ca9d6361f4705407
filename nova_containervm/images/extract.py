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

"""Unpack one layer into a directory that nothing gets out of.

A layer is unpacked without its lower layers: in the archives that docker
writes, the order of the layers comes last. What depends on lower layers is
written down in Facts, and overlay.py puts it right when they are known.
"""

import os
import stat
import zlib

from nova_containervm.images import dirs
from nova_containervm.images import errors
from nova_containervm.images import facts
from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import manifest
from nova_containervm.images import names
from nova_containervm.images import stream
from nova_containervm.images import tarread

_HOLE = 64 * 1024
_ZEROS = bytes(1024 * 1024)


class Extractor:
    """Unpacks the members of one layer.

    :param root_fd: the open, empty directory that becomes the layer's tree
    :param form: an instance from forms.FORMS
    :param limits: limits.Limits; max_entries and max_unpacked_mb are what is
        left of them for this layer
    :param record: manifest.Writer or None
    :param compressed: callable: bytes of the archive read so far, before
        decompression, for the ratio
    """

    def __init__(self, root_fd, form, limits, record=None, compressed=None):
        self._root = root_fd
        self._form = form
        self._limits = limits
        self._record = record or manifest.Writer(None)
        self._compressed = compressed
        self._max_bytes = limits.max_unpacked_mb * limits_mod.MIB
        self._dirs = dirs.Directories(root_fd, form, limits,
                                           self._imply)
        self._times = {}  # explicit directories: path -> mtime
        self._placeholders = []  # targets of hard links in lower layers
        self.facts = facts.Facts()

    def run(self, members):
        """Unpack everything and finish the directories.

        :param members: a tarread.TarReader
        """
        try:
            self._form.apply(self._root, stat.S_IFDIR | 0o755, 0, 0)
            for member in members:
                self._one(member, members)
            self.facts.implied.setdefault(b'', 0)
            if b'' in self._times:
                del self.facts.implied[b'']
            self._finish()
        finally:
            self._dirs.forget()
        return self.facts

    def _parent(self, asked, create=None):
        return self._dirs.find(asked, create)

    def _imply(self, fd, part, where, mtime):
        """Make a directory that has no member of its own (yet)."""
        self._count(where)
        os.mkdir(part, 0o700, dir_fd=fd)
        child = fsutil.open_dir(part, dir_fd=fd)
        mode = stat.S_IFDIR | 0o755
        self._form.apply(child, mode, 0, 0)
        self.facts.implied[where] = mtime
        self._times.pop(where, None)
        self._record.add(b'd', where, mode, 0, 0, 0, mtime)
        return child

    # -- members ----------------------------------------------------------

    def _count(self, path):
        self.facts.entries += 1
        if self.facts.entries > self._limits.max_entries:
            raise self._limits.exceeded(
                'max_entries', 'more files and directories than allowed')

    def _one(self, m, members):
        path = names.normalize(m.name, 'member', self._limits)
        parent, base = names.split(path)
        if not base:
            if m.type != tarread.DIR:
                raise errors.BadMember('the root directory is to become '
                                       'something else')
            self._dir_member(self._root, b'', m)
            return
        self._count(path)
        if len(self.facts.top) < 64:
            self.facts.top.add(path.split(b'/', 1)[0])
        if parent.startswith(b'.wh..wh.') or base.startswith(b'.wh.'):
            self._whiteout(path, parent, base, m)
            return
        fd, real = self._parent(parent, m.mtime)
        where = names.join(real, base)
        if self.facts.caps:
            self.facts.caps.pop(where, None)
        if m.xattrs:
            kept, ignored = forms.wanted_xattrs(m)
            m.xattrs = kept
            if len(self.facts.ignored) < 100:
                self.facts.ignored.update(ignored)
        if m.type == tarread.REG:
            self._file(fd, base, where, m, members)
        elif m.type == tarread.DIR:
            self._mkdir(fd, base, where, m)
        elif m.type == tarread.LINK:
            self._link(fd, base, where, m)
        else:
            self._special(fd, base, where, m)

    def _clear(self, fd, base, where):
        """Make room for a member whose name is taken."""
        if fsutil.remove(base, fd):
            self._record.add(b'-', where, 0, 0, 0, 0, 0)
        self._dirs.forget()

    def _file(self, fd, base, where, m, members):
        try:
            out = os.open(base, forms.CREATE, 0o600, dir_fd=fd)
        except FileExistsError:
            self._clear(fd, base, where)
            # fd may be closed now: it came from the cache.
            fd, _real = self._parent(names.split(where)[0], m.mtime)
            out = os.open(base, forms.CREATE, 0o600, dir_fd=fd)
        try:
            crc = self._contents(out, m, members)
            mode = stat.S_IFREG | m.mode
            self._form.apply(out, mode, m.uid, m.gid, m.xattrs)
            mtime = forms.clamp_time(m.mtime)
            os.utime(out, ns=(mtime, mtime))
        except errors.Truncated:
            raise errors.Truncated('the layer ends inside the file %s'
                                   % errors.quote(m.name))
        finally:
            os.close(out)
        if m.xattrs and forms.CAPABILITY in m.xattrs:
            self._cap(where, m.xattrs[forms.CAPABILITY])
        self._record.add(b'f' if m.sparse is None else b's', where, mode,
                         m.uid, m.gid, m.size, mtime,
                         crc, manifest.xattrs_crc(self._form.kept(m.xattrs)))

    def _cap(self, where, value):
        self.facts.caps[where] = value.hex()
        if len(self.facts.caps) > limits_mod.FILE_CAPS or len(value) > 64:
            raise errors.BadMember('%s: too many, or too long, file '
                                   'capabilities' % errors.quote(where))

    def _contents(self, out, m, members):
        """Write a file's data, leaving holes for zeros. Returns its CRC."""
        crc = 0
        if m.sparse is None:
            if not m.stored:
                return 0
            crc, hole = self._copy(out, members.data(), 0)
            if hole:
                os.ftruncate(out, m.size)
        else:
            data = stream.Reader(members.data())
            for offset, length in m.sparse:
                os.lseek(out, offset, os.SEEK_SET)
                self._copy(out, data.pieces(length), 0)
            os.ftruncate(out, m.size)
            crc = fsutil.sparse_crc(out, m.size)
        self._check_size()
        return crc

    def _copy(self, out, pieces, crc):
        written = 0
        hole = False
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
            size = len(piece)
            if (size >= _HOLE and not piece[0] and not piece[-1]
                    and piece.tobytes() == _ZEROS[:size]):
                os.lseek(out, size, os.SEEK_CUR)
                hole = True
                continue
            hole = False
            done = os.write(out, piece)
            while done < size:
                done += os.write(out, piece[done:])
            written += size
            self.facts.size += size
            if written > 4 * limits_mod.MIB:
                self._check_size()
                written = 0
        return crc, hole

    def _check_size(self):
        known = self.facts
        if known.size > self._max_bytes:
            raise self._limits.exceeded(
                'max_unpacked_mb', 'the image unpacks to more than allowed')
        if self._compressed is not None:
            size = known.size + 512 * known.entries
            if size > limits_mod.RATIO_FLOOR:
                packed = self._compressed()
                if size > packed * self._limits.max_compression_ratio:
                    raise self._limits.exceeded(
                        'max_compression_ratio',
                        'a layer unpacks to over %d times its size'
                        % (size // max(packed, 1)))

    def _mkdir(self, fd, base, where, m):
        try:
            os.mkdir(base, 0o700, dir_fd=fd)
        except FileExistsError:
            if not stat.S_ISDIR(fsutil.lstat(base, fd).st_mode):
                self._clear(fd, base, where)
                fd, _real = self._parent(names.split(where)[0], m.mtime)
                os.mkdir(base, 0o700, dir_fd=fd)
                # What stood here hid a lower directory, and still does.
                self.facts.opaque.add(where)
        child = self._dirs.add(
            where, lambda: fsutil.open_dir(base, dir_fd=fd))
        self._dir_member(child, where, m)

    def _dir_member(self, fd, path, m):
        """Apply a directory member to its directory."""
        if m.xattrs and not path:
            m.xattrs, ignored = forms.wanted_xattrs(m)
            self.facts.ignored.update(ignored)
        mode = stat.S_IFDIR | m.mode
        if path in self._times:
            # A second member for it takes the first one's attributes away.
            for name in self._form.copied_xattrs(fd):
                os.removexattr(fd, name)
        self._form.apply(fd, mode, m.uid, m.gid, m.xattrs)
        self.facts.implied.pop(path, None)
        self._times[path] = m.mtime
        self._record.add(b'd', path, mode, m.uid, m.gid, 0,
                         forms.clamp_time(m.mtime), 0,
                         manifest.xattrs_crc(self._form.kept(m.xattrs)))

    def _link(self, fd, base, where, m):
        target = names.normalize(m.linkname, 'link target', self._limits)
        tparent, tbase = names.split(target)
        found = self._parent(tparent) if tbase else None
        st = None
        if found is not None:
            st = fsutil.lstat(tbase, found[0])
        if not tbase or st is not None and stat.S_ISDIR(st.st_mode):
            raise errors.BadMember('%s is a hard link to the directory %s'
                                   % (errors.quote(m.name),
                                      errors.quote(target)))
        if st is None:
            self._lower_link(base, where, target, m)
            return
        if names.join(found[1], tbase) == where:
            return
        for _attempt in range(2):
            fd, _real = self._parent(names.split(where)[0], m.mtime)
            found = self._parent(tparent)
            try:
                if found is None:
                    raise FileNotFoundError
                os.link(tbase, base, src_dir_fd=found[0], dst_dir_fd=fd,
                        follow_symlinks=False)
                break
            except FileExistsError:
                self._clear(fd, base, where)
            except FileNotFoundError:
                raise errors.BadMember('the hard link %s takes the place of '
                                       'its own target'
                                       % errors.quote(m.name))
        number = -1
        if self._placeholders:
            number = forms.placeholder(tbase, found[0])
        if number >= 0:
            self.facts.links[where] = (self._placeholders[number], number)
        elif names.join(found[1], tbase) in self.facts.caps:
            self._cap(where, bytes.fromhex(
                self.facts.caps[names.join(found[1], tbase)]))
        self._record.add(b'h', where, 0, 0, 0, 0, 0, 0,
                         names.join(found[1], tbase))

    def _lower_link(self, base, where, target, m):
        """Put an empty file where overlay.py will link a lower one."""
        fd, _real = self._parent(names.split(where)[0], m.mtime)
        try:
            out = os.open(base, forms.CREATE, 0o600, dir_fd=fd)
        except FileExistsError:
            self._clear(fd, base, where)
            fd, _real = self._parent(names.split(where)[0], m.mtime)
            out = os.open(base, forms.CREATE, 0o600, dir_fd=fd)
        try:
            self._form.apply(out, stat.S_IFREG | 0o600, 0, 0)
            number = len(self._placeholders)
            os.setxattr(out, forms.PLACEHOLDER, b'%d' % number)
        finally:
            os.close(out)
        self._placeholders.append(target)
        self.facts.links[where] = (target, number)

    def _special(self, fd, base, where, m):
        """Symbolic links, devices and fifos."""
        if m.type == tarread.SYMLINK:
            if not m.linkname or len(m.linkname) > 4095:
                raise errors.BadMember(
                    'the symbolic link %s has a target of %d bytes'
                    % (errors.quote(m.name), len(m.linkname)))
            make, extra = self._form.symlink, m.linkname
        else:
            make, extra = self._form.node, b'%d' % forms.device(m)
            if extra == b'0' and m.type == tarread.CHR \
                    and self._form.name == 'passthrough':
                # On the host this is overlayfs' whiteout: let it be one.
                self.facts.whiteouts.add(where)
                self._clear(fd, base, where)
                return
        try:
            make(fd, base, m)
        except FileExistsError:
            self._clear(fd, base, where)
            fd, _real = self._parent(names.split(where)[0], m.mtime)
            make(fd, base, m)
        kind = {tarread.SYMLINK: b'l', tarread.CHR: b'c', tarread.BLK: b'b',
                tarread.FIFO: b'p'}[m.type]
        mode = (stat.S_IFLNK | 0o777 if kind == b'l' else forms.full_mode(m))
        self._record.add(kind, where, mode, m.uid, m.gid, 0,
                         forms.clamp_time(m.mtime), 0, extra)

    # -- whiteouts --------------------------------------------------------

    def _whiteout(self, path, parent, base, m):
        if base == names.OPAQUE:
            real = self._whiteout_parent(parent, m)
            if real is not None:
                self.facts.opaque.add(real)
            return
        if path.startswith(b'.wh..wh.') or base.startswith(b'.wh..wh.'):
            return  # aufs' own bookkeeping: .wh..wh.plnk, .wh..wh.aufs
        victim = base[len(names.WHITEOUT):]
        if victim in (b'', b'.', b'..'):
            raise errors.BadMember('the whiteout %s removes nothing that has '
                                   'a name' % errors.quote(m.name))
        real = self._whiteout_parent(parent, m)
        if real is not None:
            self.facts.whiteouts.add(names.join(real, victim))

    def _whiteout_parent(self, parent, m):
        """The directory of a whiteout, made for now; see overlay.py.

        None when this layer has something else in its place: then there is
        nothing below that could be removed.
        """
        try:
            return self._parent(parent, m.mtime)[1]
        except errors.BadMember:
            return None

    def _finish(self):
        """Put whiteouts in place and set the times of directories."""
        known = self.facts
        for path in sorted(known.whiteouts):
            parent, base = names.split(path)
            found = self._parent(parent)
            if found is None or found[1] != parent:
                continue  # replaced by something later in the layer
            st = fsutil.lstat(base, found[0])
            if st is None:
                os.mknod(base, stat.S_IFCHR | 0o600, 0, dir_fd=found[0])
                self._record.add(b'w', path, 0, 0, 0, 0, 0)
            elif stat.S_ISDIR(st.st_mode):
                # It hides only what is below; its own contents stay.
                known.opaque.add(path)
        for path in sorted(known.opaque):
            found = self._parent(path)
            if found is not None and found[1] == path and path:
                os.setxattr(found[0], forms.OPAQUE, b'y')
                self._record.add(b'o', path, 0, 0, 0, 0, 0)
        for path, mtime in [*self._times.items(), *known.implied.items()]:
            found = self._parent(path)
            if found is not None and found[1] == path:
                mtime = forms.clamp_time(mtime)
                os.utime(found[0], ns=(mtime, mtime))
        known.caps = {p: v for p, v in known.caps.items()
                      if self._is_file(p)}

    def _is_file(self, path):
        parent, base = names.split(path)
        found = self._parent(parent)
        return found is not None and fsutil.lstat(base, found[0]) is not None
