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

"""The tree of a layer on disk, as it is unpacked.

Every file is made and changed by the descriptor of its directory and one
name. Directories are opened name by name, and symbolic links of the layer are
followed by their text, below the root: nothing gets out.
"""

import os
import stat

from nova_containervm.images import errors
from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import names
from nova_containervm.images import tarread
from nova_containervm.images import writeback

#: Symbolic links followed for one name, as in Linux.
MAX_LINKS = 40
_MAX_OPEN = 64


class DiskTree:
    """Where extract.Extractor puts what it finds in a layer.

    A place is the descriptor of an open directory; ``root`` is one. It lives
    until two other directories have been asked for, or forget() is called.
    memtree.MemoryTree does the same without a disk.

    :param root_fd: the open, empty directory; stays the caller's
    :param form: an instance from forms.FORMS
    :param limits: limits.Limits
    :param later: writeback.Writeback for large files, or None
    """

    #: Where the contents of each file begin in what make_file() returns.
    start = 0

    def __init__(self, root_fd, form, limits, later=None):
        self.root = root_fd
        self._later = later
        self._large = False
        self.form = form
        self._limits = limits
        self._steps = Steps()
        self._open = {b'': (root_fd, b'')}  # name as asked for -> fd, path
        #: function(path, mtime), called before a directory is made that has
        #: no member of its own
        self.on_imply = None

    # -- directories ------------------------------------------------------

    def forget(self):
        """Close the cached directories: some name has changed its type."""
        for asked, (fd, _path) in self._open.items():
            if asked:
                os.close(fd)
        self._open = {b'': (self.root, b'')}

    def _remember(self, asked, fd, path):
        """Cache an open directory; the two used last are always kept."""
        if len(self._open) >= _MAX_OPEN:
            oldest = next(key for key in self._open if key)
            os.close(self._open.pop(oldest)[0])
        self._open[asked] = (fd, path)

    def find(self, asked, create=None):
        """Open the directory *asked*, through symbolic links of the layer.

        :param create: a time in ns: make what is missing, as implied
            directories; None: return None when something is missing
        :returns: (place, path without links)
        :raises BadMember: something on the way is no directory
        """
        known = self._open.get(asked)
        if known is not None:
            if asked:
                del self._open[asked]
                self._open[asked] = known
            return known
        found = self._walk(asked, create)
        if found is not None:
            self._remember(asked, *found)
        return found

    def _walk(self, asked, create):
        """Open *asked* part by part; see find(). The caller closes it."""
        above, last = names.split(asked)
        known = self._open.get(above)
        if known is not None:
            (fd, path), todo = known, [last]
        else:
            fd, path, todo = self.root, b'', asked.split(b'/')
        owned = arrived = False
        links = 0
        try:
            while todo:
                part = todo.pop(0)
                where = names.join(path, part)
                self._steps.take(1)
                try:
                    child = fsutil.open_dir(part, dir_fd=fd)
                except FileNotFoundError:
                    if create is None:
                        return None
                    child = self._imply(fd, part, where, create)
                except NotADirectoryError:
                    target = self.form.readlink(fd, part)
                    links += 1
                    if target is None or links > MAX_LINKS:
                        if create is None:
                            return None
                        raise no_directory(where, target)
                    todo = follow(path, target, todo, where, self._limits)
                    child, where = os.dup(self.root), b''
                if owned:
                    os.close(fd)
                fd, path, owned = child, where, True
            arrived = True
            return fd, path
        finally:
            if owned and not arrived:
                os.close(fd)

    def _imply(self, fd, part, where, mtime):
        self.on_imply(where, mtime)
        os.mkdir(part, 0o700, dir_fd=fd)
        child = fsutil.open_dir(part, dir_fd=fd)
        self.form.apply(child, stat.S_IFDIR | 0o755, 0, 0)
        return child

    def make_dir(self, fd, base, path):
        """Make a directory, or use the one that is there.

        :raises FileExistsError: something else is there
        :returns: its place
        """
        try:
            os.mkdir(base, 0o700, dir_fd=fd)
        except FileExistsError:
            if self.is_dir(fd, base) is False:
                raise
        if path not in self._open:
            self._remember(path, fsutil.open_dir(base, dir_fd=fd), path)
        return self._open[path][0]

    def set_dir(self, fd, m, again):
        """Give a directory the attributes of its member.

        :param again: it had a member before, whose attributes go
        """
        if again:
            for name in self.form.copied_xattrs(fd):
                os.removexattr(fd, name)
        self.form.apply(fd, stat.S_IFDIR | m.mode, m.uid, m.gid, m.xattrs)

    def set_root(self):
        """Let the root look like an implied directory."""
        self.form.apply(self.root, stat.S_IFDIR | 0o755, 0, 0)

    def set_opaque(self, fd):
        """Hide what lower layers have in a directory."""
        os.setxattr(fd, forms.OPAQUE, b'y')

    def set_time(self, fd, base, mtime):
        """Set the mtime of a directory in a place, or of the place (b'').

        :param mtime: in ns
        """
        if base:
            os.utime(base, ns=(mtime, mtime), dir_fd=fd,
                     follow_symlinks=False)
        else:
            os.utime(fd, ns=(mtime, mtime))

    # -- names ------------------------------------------------------------

    def is_dir(self, fd, base):
        """Whether a name is a directory; None when there is none."""
        st = fsutil.lstat(base, fd)
        return None if st is None else stat.S_ISDIR(st.st_mode)

    def remove(self, fd, base):
        """Remove a name, with all below.

        :returns: whether it was a directory
        """
        was_dir = fsutil.remove(base, fd)
        self.forget()
        return was_dir

    # What makes a name raises FileExistsError when there is one already.

    def make_file(self, fd, base):
        """The descriptor of a new file; see finish_file()."""
        return os.open(base, forms.CREATE, 0o600, dir_fd=fd)

    def finish_file(self, out, m):
        """Give a file the attributes of its member."""
        self.form.apply(out, stat.S_IFREG | m.mode, m.uid, m.gid, m.xattrs)
        mtime = forms.clamp_time(m.mtime)
        os.utime(out, ns=(mtime, mtime))
        self._large = m.stored >= writeback.WORTH

    def close_file(self, out):
        """Close what make_file has opened."""
        if self._large and self._later is not None:
            self._large = False
            self._later.take(out)
        else:
            os.close(out)

    def make_link(self, fd, base, target_fd, target_base):
        """A hard link.

        :raises FileNotFoundError: the target is gone
        """
        os.link(target_base, base, src_dir_fd=target_fd, dst_dir_fd=fd,
                follow_symlinks=False)

    def make_placeholder(self, fd, base, number):
        """An empty file, where overlay.py will link one of a lower layer."""
        out = os.open(base, forms.CREATE, 0o600, dir_fd=fd)
        try:
            self.form.apply(out, stat.S_IFREG | 0o600, 0, 0)
            os.setxattr(out, forms.PLACEHOLDER, b'%d' % number)
        finally:
            os.close(out)

    def placeholder(self, fd, base):
        """The number of a placeholder, -1 for anything else."""
        return forms.placeholder(base, fd)

    def make_special(self, fd, base, m):
        """A symbolic link, a device or a fifo."""
        make = (self.form.symlink if m.type == tarread.SYMLINK
                else self.form.node)
        make(fd, base, m)

    def make_whiteout(self, fd, base):
        """overlayfs' mark for a name that lower layers have no more."""
        os.mknod(base, stat.S_IFCHR | 0o600, 0, dir_fd=fd)


class Steps:
    """Counts the steps through directories, so that they come to an end."""

    def __init__(self):
        self._left = limits_mod.WALK_STEPS

    def take(self, count):
        """:raises BadMember: there have been too many"""
        self._left -= count
        if self._left < 0:
            raise errors.BadMember(
                'it takes over %d steps to find its members through their '
                'directories and symbolic links' % limits_mod.WALK_STEPS)


def no_directory(where, target):
    """The error for members below what is no directory.

    :param target: of a symbolic link, or None if it is none
    """
    return errors.BadMember(
        'there are members below %s, which is %s' % (
            errors.quote(where), 'no directory' if target is None
            else 'a loop of symbolic links'))


def follow(path, target, rest, where, limits):
    """Names still to be walked, from the root, after a symbolic link.

    :param path: directory that holds the link
    :param rest: names that come behind it
    :raises LimitExceeded: there are too many
    """
    todo = [p for p in names.follow(path, target).split(b'/') if p] + rest
    if len(todo) > 4 * limits.max_nesting:
        raise limits.exceeded('max_nesting', 'symbolic links at %s'
                              % errors.quote(where))
    return todo
