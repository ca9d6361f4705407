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

"""One layer as a tree in memory and one file of contents.

Nothing is made on disk for each member; tarwrite.py writes the files of all
layers one after the other when their order is known.
"""

import os

from nova_containervm.images import disktree
from nova_containervm.images import errors
from nova_containervm.images import forms
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import names
from nova_containervm.images import nodes
from nova_containervm.images import tarread

#: What contents begin at a multiple of, in bytes; zeros are between them.
ALIGNED = 4096


class SpoolTree:
    """Stands in for disktree.DiskTree; a place is a directory's Node.

    :param out_fd: the open, empty file for contents
    :param limits: limits.Limits
    """

    def __init__(self, out_fd, limits):
        # Only for what it says of attributes and of device 0:0
        self.form = forms.Passthrough()
        self.root = nodes.directory()
        self.on_imply = None
        #: Where the contents of the file begin that is being made.
        self.start = 0
        self._out = out_fd
        self._limits = limits
        self._size = 0
        self._steps = disktree.Steps()
        self._making = None
        self._found = None
        self._holes = 0

    def find(self, asked, create=None):
        """See disktree.DiskTree.find."""
        if self._found is not None and self._found[0] == asked:
            return self._found[1]
        node, path = self.root, b''
        todo = asked.split(b'/') if asked else []
        links = 0
        while todo:
            part = todo.pop(0)
            where = names.join(path, part)
            self._steps.take(1)
            child = node.children.get(part)
            if child is None:
                if create is None:
                    return None
                self.on_imply(where, create)
                child = node.children[part] = nodes.directory()
            if child.is_dir:
                node, path = child, where
                continue
            links += 1
            target = child.target if child.kind == tarread.SYMLINK else None
            if target is None or links > disktree.MAX_LINKS:
                if create is None:
                    return None
                raise disktree.no_directory(where, target)
            todo = disktree.follow(path, target, todo, where, self._limits)
            node, path = self.root, b''
        # Most members are in the directory of the one before.
        self._found = asked, (node, path)
        return node, path

    def is_dir(self, place, base):
        """Whether a name is a directory; None when there is none."""
        node = place.children.get(base)
        return None if node is None else node.is_dir

    def remove(self, place, base):
        """Remove a name, with all below; whether it was a directory."""
        self._found = None
        node = place.children.pop(base, None)
        return node is not None and node.is_dir

    @staticmethod
    def _new(place, base, node):
        if base in place.children:
            raise FileExistsError
        place.children[base] = node
        return node

    def make_dir(self, place, base, path):
        """A directory, or the one that is there."""
        if self.is_dir(place, base):
            return place.children[base]
        return self._new(place, base, nodes.directory())

    def make_file(self, place, base):
        """A file; its contents go to ``start`` of the spool."""
        self._making = self._new(place, base, nodes.Node(tarread.REG))
        return self._out

    def finish_file(self, out, m):
        """Attributes of the file that has been made."""
        node = self._making
        node.describe(m)
        node.start, node.size = self.start, m.size
        self._size += m.size
        # As on the disk, so that many files are read at once: most come in
        # the order that they have there.
        self.start += m.size + -m.size % ALIGNED
        if m.size % ALIGNED:
            os.lseek(out, self.start, os.SEEK_SET)
        # Holes count here: mkfs.erofs writes them out.
        if m.sparse is not None:
            self._holes += m.size - sum(length for _at, length in m.sparse)
        if self._holes > limits_mod.HOLES:
            raise errors.Unsupported(
                'a layer has sparse files with holes of over %d GiB, which '
                'is too much for the transport block; see the property '
                'containervm_rootfs_transport' % (limits_mod.HOLES >> 30))
        if self._size > self._limits.max_unpacked_mb * limits_mod.MIB:
            raise self._limits.exceeded(
                'max_unpacked_mb', 'the image unpacks to more than allowed, '
                'the holes of sparse files included')

    def close_file(self, out):
        """The spool stays open."""

    def make_link(self, place, base, target_place, target_base):
        """A hard link."""
        if base in place.children:
            raise FileExistsError
        if target_base not in target_place.children:
            raise FileNotFoundError
        place.children[base] = target_place.children[target_base]

    def make_placeholder(self, place, base, number):
        """What keeps the place of a link to a lower layer's file."""
        node = self._new(place, base, nodes.Node(nodes.PLACEHOLDER))
        node.start = number

    def placeholder(self, place, base):
        """The number of a placeholder, -1 for anything else."""
        return nodes.placeholder(place.children.get(base))

    def make_special(self, place, base, m):
        """A symbolic link, a device or a fifo."""
        node = self._new(place, base, nodes.Node(m.type))
        node.describe(m)
        if m.type == tarread.SYMLINK:
            node.target, node.mode, node.xattrs = m.linkname, 0o777, None
        elif m.type != tarread.FIFO:
            node.major, node.minor = m.major, m.minor

    def make_whiteout(self, place, base):
        """A name that lower layers have no more."""
        self._found = None
        place.children[base] = nodes.Node(nodes.WHITEOUT)

    def set_root(self):
        """The root is as nodes.directory() has made it."""

    def set_dir(self, place, m, again):
        """Give a directory the attributes of its member."""
        mtime = place.mtime
        place.describe(m)
        place.mtime = mtime

    def set_opaque(self, place):
        """Hide what lower layers have in a directory."""
        place.opaque = True

    def set_time(self, place, base, mtime):
        """See disktree.DiskTree.set_time."""
        (place.children[base] if base else place).mtime = mtime

    def forget(self):
        """Close the spool's end: the last file may end in a hole."""
        os.ftruncate(self._out, self.start)
