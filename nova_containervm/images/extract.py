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

"""Unpack one layer into a tree that nothing gets out of.

A layer is unpacked without its lower layers: in the archives that docker
writes, the order of the layers comes last. What depends on lower layers is
written down in Facts, and overlay.py puts it right when they are known.
"""

import stat

from nova_containervm.images import contents
from nova_containervm.images import errors
from nova_containervm.images import facts
from nova_containervm.images import forms
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import manifest
from nova_containervm.images import names
from nova_containervm.images import tarread

_RECORDS = {tarread.SYMLINK: b'l', tarread.CHR: b'c', tarread.BLK: b'b',
            tarread.FIFO: b'p'}


class Extractor:
    """Unpacks the members of one layer.

    :param tree: where to: a disktree.DiskTree, memtree.MemoryTree, or
        spool.SpoolTree
    :param limits: limits.Limits
    :param record: manifest.Writer or None
    :param account: see contents.Contents
    :param compressed: see contents.Contents
    """

    def __init__(self, tree, limits, record=None, account=None,
                 compressed=None):
        self._tree = tree
        self._limits = limits
        self._record = record or manifest.Writer(None)
        self._times = {}  # explicit directories: path -> mtime
        self._placeholders = []  # targets of hard links in lower layers
        self.facts = facts.Facts()
        self._contents = contents.Contents(self.facts, limits, account,
                                           compressed,
                                           summed=record is not None)
        tree.on_imply = self._implied

    def run(self, members):
        """Unpack everything and finish the directories.

        :param members: a tarread.TarReader
        :returns: facts.Facts
        :raises ImageError: the layer is at fault
        """
        try:
            self._tree.set_root()
            for member in members:
                self._one(member, members)
            self._contents.check()
            self.facts.implied.setdefault(b'', 0)
            if b'' in self._times:
                del self.facts.implied[b'']
            self._finish()
        finally:
            self._tree.forget()
        return self.facts

    def _implied(self, where, mtime):
        """A directory that has no member of its own (yet)."""
        self._count()
        self.facts.implied[where] = mtime
        self._times.pop(where, None)
        self._record.add(b'd', where, stat.S_IFDIR | 0o755, 0, 0, 0, mtime)

    # -- members ----------------------------------------------------------

    def _count(self):
        self.facts.entries += 1
        if not self.facts.entries % 1024:
            self._contents.check()

    def _one(self, m, members):
        path = names.normalize(m.name, 'member', self._limits)
        parent, base = names.split(path)
        if not base:
            if m.type != tarread.DIR:
                raise errors.BadMember('the root directory is to become '
                                       'something else')
            self._take_xattrs(m)
            self._dir_member(self._tree.root, b'', m)
            return
        self._count()
        if len(self.facts.top) < 64:
            self.facts.top.add(path.split(b'/', 1)[0])
        if parent.startswith(b'.wh..wh.') or base.startswith(b'.wh.'):
            self._whiteout(path, parent, base, m)
            return
        place, real = self._tree.find(parent, m.mtime)
        where = names.join(real, base)
        if self.facts.caps:
            self.facts.caps.pop(where, None)
        self._take_xattrs(m)
        if m.type == tarread.REG:
            self._file(place, base, where, m, members)
        elif m.type == tarread.DIR:
            self._directory(place, base, where, m)
        elif m.type == tarread.LINK:
            self._link(place, base, where, m)
        else:
            self._special(place, base, where, m)

    def _take_xattrs(self, m):
        if m.xattrs:
            m.xattrs, ignored = forms.wanted_xattrs(m)
            if len(self.facts.ignored) < 100:
                self.facts.ignored.update(ignored)

    def _make(self, place, base, where, m, make, *args):
        """Call *make*, once more if the name was taken and is now free."""
        try:
            return make(place, base, *args)
        except FileExistsError:
            self._clear(place, base, where)
            # The place may be closed now: it came from the cache.
            place, _real = self._tree.find(names.split(where)[0], m.mtime)
            return make(place, base, *args)

    def _clear(self, place, base, where):
        """Make room for a member whose name is taken."""
        if self._tree.remove(place, base):
            self._record.add(b'-', where, 0, 0, 0, 0, 0)

    def _file(self, place, base, where, m, members):
        tree = self._tree
        out = self._make(place, base, where, m, tree.make_file)
        try:
            crc = self._contents.copy(out, m, members, tree.start)
            tree.finish_file(out, m)
        except errors.Truncated:
            raise errors.Truncated('the layer ends inside the file %s'
                                   % errors.quote(m.name))
        finally:
            tree.close_file(out)
        if m.xattrs and forms.CAPABILITY in m.xattrs:
            self._cap(where, m.xattrs[forms.CAPABILITY])
        self._record.add(b'f' if m.sparse is None else b's', where,
                         stat.S_IFREG | m.mode, m.uid, m.gid, m.size,
                         forms.clamp_time(m.mtime), crc,
                         manifest.xattrs_crc(tree.form.kept(m.xattrs)))

    def _cap(self, where, value):
        self.facts.caps[where] = value.hex()
        if len(self.facts.caps) > limits_mod.FILE_CAPS or len(value) > 64:
            raise errors.BadMember('%s: too many, or too long, file '
                                   'capabilities' % errors.quote(where))

    def _directory(self, place, base, where, m):
        tree = self._tree
        try:
            child = tree.make_dir(place, base, where)
        except FileExistsError:
            self._clear(place, base, where)
            place, _real = tree.find(names.split(where)[0], m.mtime)
            child = tree.make_dir(place, base, where)
            # What stood here hid a lower directory, and still does.
            self.facts.opaque.add(where)
        self._dir_member(child, where, m)

    def _dir_member(self, place, path, m):
        """Apply a directory member to its directory."""
        self._tree.set_dir(place, m, again=path in self._times)
        self.facts.implied.pop(path, None)
        self._times[path] = m.mtime
        self._record.add(b'd', path, stat.S_IFDIR | m.mode, m.uid, m.gid, 0,
                         forms.clamp_time(m.mtime), 0,
                         manifest.xattrs_crc(self._tree.form.kept(m.xattrs)))

    # -- links ------------------------------------------------------------

    def _link(self, place, base, where, m):
        tree = self._tree
        target = names.normalize(m.linkname, 'link target', self._limits)
        tparent, tbase = names.split(target)
        found = tree.find(tparent) if tbase else None
        is_dir = None if found is None else tree.is_dir(found[0], tbase)
        if not tbase or is_dir:
            raise errors.BadMember('%s is a hard link to the directory %s'
                                   % (errors.quote(m.name),
                                      errors.quote(target)))
        if is_dir is None:
            self._lower_link(base, where, target, m)
            return
        real_target = names.join(found[1], tbase)
        if real_target == where:
            return
        for _attempt in range(2):
            place, _real = tree.find(names.split(where)[0], m.mtime)
            found = tree.find(tparent)
            try:
                if found is None:
                    raise FileNotFoundError
                tree.make_link(place, base, found[0], tbase)
                break
            except FileExistsError:
                self._clear(place, base, where)
            except FileNotFoundError:
                raise errors.BadMember('the hard link %s takes the place of '
                                       'its own target'
                                       % errors.quote(m.name))
        number = -1
        if self._placeholders:
            number = tree.placeholder(found[0], tbase)
        if number >= 0:
            self.facts.links[where] = (self._placeholders[number], number)
        elif real_target in self.facts.caps:
            self._cap(where, bytes.fromhex(self.facts.caps[real_target]))
        self._record.add(b'h', where, 0, 0, 0, 0, 0, 0, real_target)

    def _lower_link(self, base, where, target, m):
        """Keep the place of a hard link to a file of a lower layer."""
        place, _real = self._tree.find(names.split(where)[0], m.mtime)
        number = len(self._placeholders)
        self._make(place, base, where, m, self._tree.make_placeholder, number)
        self._placeholders.append(target)
        self.facts.links[where] = (target, number)

    def _special(self, place, base, where, m):
        """Symbolic links, devices and fifos."""
        if m.type == tarread.SYMLINK:
            if not m.linkname or len(m.linkname) > 4095:
                raise errors.BadMember(
                    'the symbolic link %s has a target of %d bytes'
                    % (errors.quote(m.name), len(m.linkname)))
            mode, extra = stat.S_IFLNK | 0o777, m.linkname
        else:
            mode, extra = forms.full_mode(m), b'%d' % forms.device(m)
            if extra == b'0' and m.type == tarread.CHR \
                    and self._tree.form.name == 'passthrough':
                # On the host this is overlayfs' whiteout: let it be one.
                self.facts.whiteouts.add(where)
                self._clear(place, base, where)
                return
        self._make(place, base, where, m, self._tree.make_special, m)
        self._record.add(_RECORDS[m.type], where, mode, m.uid, m.gid, 0,
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
            return self._tree.find(parent, m.mtime)[1]
        except errors.BadMember:
            return None

    def _finish(self):
        """Put whiteouts in place and set the times of directories."""
        known, tree = self.facts, self._tree
        for path in sorted(known.whiteouts):
            parent, base = names.split(path)
            found = tree.find(parent)
            if found is None or found[1] != parent:
                continue  # replaced by something later in the layer
            is_dir = tree.is_dir(found[0], base)
            if is_dir is None:
                tree.make_whiteout(found[0], base)
                self._record.add(b'w', path, 0, 0, 0, 0, 0)
            elif is_dir:
                # It hides only what is below; its own contents stay.
                known.opaque.add(path)
        for path in sorted(known.opaque):
            found = tree.find(path)
            if found is not None and found[1] == path and path:
                tree.set_opaque(found[0])
                self._record.add(b'o', path, 0, 0, 0, 0, 0)
        for path, mtime in [*self._times.items(), *known.implied.items()]:
            # By the one above: to open each of them takes longer.
            parent, base = names.split(path)
            found = tree.find(parent)
            if found is not None and found[1] == parent and (
                    not base or tree.is_dir(found[0], base)):
                tree.set_time(found[0], base, forms.clamp_time(mtime))
        known.caps = {p: v for p, v in known.caps.items()
                      if self._exists(p)}

    def _exists(self, path):
        parent, base = names.split(path)
        found = self._tree.find(parent)
        return found is not None and self._tree.is_dir(
            found[0], base) is not None
