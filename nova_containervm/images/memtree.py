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

"""The names of an image's layers in memory: unpacked without a disk.

For looking an image over where there is no store: Extractor meets here what
it would meet on a compute host, and refuses the same. A directory is a dict
of names, a symbolic link its target, a hard link's keeper its number.
"""

import os

from nova_containervm.images import disktree
from nova_containervm.images import errors
from nova_containervm.images import fitter
from nova_containervm.images import forms
from nova_containervm.images import names
from nova_containervm.images import tarread

FILE = 'file'
WHITEOUT = 'whiteout'
#: Files whose contents are kept, as (bytes,) instead of FILE.
_KEPT = (b'passwd', b'group')
_KEPT_BYTES = 1024 * 1024
_KEPT_FILES = 16
#: What ext4 has room for beside our own, in bytes.
_XATTR_BYTES = 3500


class MemoryTree:
    """Stands in for disktree.DiskTree; a place is a directory's dict.

    :param limits: limits.Limits
    """

    start = 0

    def __init__(self, limits):
        self.form = forms.Mapped()
        self.root = {}
        self.on_imply = None
        self._limits = limits
        self._steps = disktree.Steps()
        self._making = None
        self._kept = 0
        #: What not every host can keep, in words.
        self.doubts = []

    def copy(self):
        """The same names again."""
        other = MemoryTree(self._limits)
        todo = [(self.root, other.root)]
        while todo:
            source, goal = todo.pop()
            for name, node in source.items():
                goal[name] = {} if isinstance(node, dict) else node
                if isinstance(node, dict):
                    todo.append((node, goal[name]))
        return other

    def find(self, asked, create=None):
        """See disktree.DiskTree.find."""
        place, path = self.root, b''
        todo = asked.split(b'/') if asked else []
        links = 0
        while todo:
            part = todo.pop(0)
            where = names.join(path, part)
            self._steps.take(1)
            node = place.get(part)
            if node is None:
                if create is None:
                    return None
                self.on_imply(where, create)
                node = place[part] = {}
            if isinstance(node, dict):
                place, path = node, where
                continue
            links += 1
            target = node if isinstance(node, bytes) else None
            if target is None or links > disktree.MAX_LINKS:
                if create is None:
                    return None
                raise disktree.no_directory(where, target)
            todo = disktree.follow(path, target, todo, where, self._limits)
            place, path = self.root, b''
        return place, path

    def is_dir(self, place, base):
        """Whether a name is a directory; None when there is none."""
        node = place.get(base)
        return None if node is None else isinstance(node, dict)

    def remove(self, place, base):
        """Remove a name, with all below; whether it was a directory."""
        return isinstance(place.pop(base, None), dict)

    def _new(self, place, base, node):
        if base in place:
            raise FileExistsError
        place[base] = node
        return node

    def make_dir(self, place, base, path):
        """A directory, or the one that is there."""
        if isinstance(place.get(base), dict):
            return place[base]
        return self._new(place, base, {})

    def make_file(self, place, base):
        """A file; where its contents go, or None."""
        self._new(place, base, FILE)
        if base not in _KEPT or self._kept == _KEPT_FILES:
            return None
        self._kept += 1
        self._making = place, base
        return os.memfd_create('kept')

    def close_file(self, out):
        """The file is complete."""
        if out is not None:
            place, base = self._making
            if os.fstat(out).st_size <= _KEPT_BYTES:
                place[base] = (os.pread(out, _KEPT_BYTES, 0),)
            os.close(out)

    def make_link(self, place, base, target_place, target_base):
        """A hard link."""
        if base in place:
            raise FileExistsError
        if target_base not in target_place:
            raise FileNotFoundError
        place[base] = target_place[target_base]

    def make_placeholder(self, place, base, number):
        """What keeps the place of a link to a lower layer's file."""
        self._new(place, base, number)

    def placeholder(self, place, base):
        """The number of a placeholder, -1 for anything else."""
        node = place.get(base)
        return node if isinstance(node, int) else -1

    def make_special(self, place, base, m):
        """A symbolic link, a device or a fifo."""
        self._new(place, base, m.linkname if m.type == tarread.SYMLINK
                  else FILE)

    def make_whiteout(self, place, base):
        """A name that lower layers have no more."""
        place[base] = WHITEOUT

    def set_dir(self, place, m, again):
        """Attributes of a directory."""
        self.finish_file(None, m)

    def finish_file(self, out, m):
        """Attributes of a file: looked at."""
        size = sum(len(k) + len(v) for k, v in (m.xattrs or {}).items())
        if size > _XATTR_BYTES and len(self.doubts) < 10:
            self.doubts.append('%s has %d bytes of extended attributes, more '
                               'than ext4 can keep' % (errors.quote(m.name),
                                                       size))

    def _nothing(self, *args):
        """Done here; times are of no interest."""

    set_root = set_time = set_opaque = forget = _nothing


class Merged:
    """Layers on top of each other; view.View for names alone."""

    def __init__(self):
        self.root = {}

    def _find(self, path):
        """The node of a path, no symbolic link followed; None."""
        return _find(self.root, path)

    def is_dir(self, path):
        """Whether a path is a directory; None when there is none."""
        node = self._find(path)
        return None if node is None else isinstance(node, dict)

    def is_link(self, path):
        """Whether a path is a symbolic link."""
        return isinstance(self._find(path), bytes)

    def resolve(self, path, missing=False):
        """See view.View.resolve."""
        todo = path.split(b'/') if path else []
        done = b''
        links = 0
        while todo:
            where = names.join(done, todo.pop(0))
            node = self._find(where)
            if isinstance(node, bytes):
                links += 1
                if links > disktree.MAX_LINKS:
                    return None
                todo = [p for p in names.follow(done, node).split(b'/')
                        if p] + todo
                done = b''
                continue
            if node is None and missing:
                return b'/'.join([where, *todo])
            if node is None or todo and not isinstance(node, dict):
                return None
            done = where
        return done

    def read(self, path):
        """Contents of one of the files that are kept, or b''."""
        real = self.resolve(path)
        node = self._find(real) if real else None
        return node[0] if isinstance(node, tuple) else b''

    def add(self, tree, facts):
        """Put a layer on top, made to fit.

        :param tree: its MemoryTree, which is used up
        :param facts: its facts.Facts
        :raises BadMember: it does not fit
        """
        fitter.Fitter(facts, _OwnTree(tree.root, self), self).run()
        if b'' in facts.opaque:
            self.root = {}
        todo = [(tree.root, self.root, b'')]
        while todo:
            source, goal, path = todo.pop()
            for name, node in source.items():
                where = names.join(path, name)
                if node == WHITEOUT:
                    goal.pop(name, None)
                elif not isinstance(node, dict):
                    goal[name] = node
                else:
                    if where in facts.opaque or not isinstance(
                            goal.get(name), dict):
                        goal[name] = {}
                    todo.append((node, goal[name], where))


class _OwnTree:
    """overlay.OwnTree for names alone."""

    def __init__(self, root, lower):
        self._root = root
        self._lower = lower

    def _split(self, path):
        """(dict of the directory that holds a path, last component)."""
        parent, base = names.split(path)
        node = _find(self._root, parent)
        return (node if isinstance(node, dict) else {}), base

    def is_dir(self, path):
        node = _find(self._root, path)
        return None if node is None else isinstance(node, dict)

    def imitate(self, path):
        pass

    def make_dir(self, path, _mtime):
        parent, base = self._split(path)
        parent[base] = {}

    make_opaque = make_dir  # the facts say the rest

    def move(self, path, real, implied):
        parent, base = self._split(path)
        explicit, hiding = [], []
        todo = [(parent.pop(base), _find(self._root, real), b'')]
        while todo:
            source, goal, below = todo.pop()
            if below and not (path + b'/' + below in implied
                              and names.join(real, below) in implied):
                explicit.append(names.join(real, below))
            for name, node in source.items():
                where = names.join(below, name)
                is_dir, other = isinstance(node, dict), goal.get(name)
                if is_dir and isinstance(other, dict):
                    todo.append((node, other, where))
                    continue
                if other is None or node != WHITEOUT:
                    goal[name] = node
                if other is not None and isinstance(goal[name], dict):
                    hiding.append(names.join(real, where))
        return explicit, hiding

    def is_whiteout(self, path):
        parent, base = self._split(path)
        return parent.get(base) == WHITEOUT

    def remove_whiteout(self, path):
        parent, base = self._split(path)
        del parent[base]

    def remove_empty(self, path, whiteout):
        if _find(self._root, path) != {}:
            return False
        parent, base = self._split(path)
        del parent[base]
        if whiteout:
            parent[base] = WHITEOUT
        return True

    def placeholder(self, path):
        parent, base = self._split(path)
        node = parent.get(base)
        return node if isinstance(node, int) else -1

    def link(self, path, target):
        parent, base = self._split(path)
        parent[base] = _find(self._lower.root, target)


def _find(root, path):
    node = root
    for part in path.split(b'/') if path else ():
        if not isinstance(node, dict):
            return None
        node = node.get(part)
    return node
