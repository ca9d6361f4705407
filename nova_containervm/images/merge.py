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

"""Layers put on top of each other in memory: one tree of nodes."""

from nova_containervm.images import errors
from nova_containervm.images import fitter
from nova_containervm.images import forms
from nova_containervm.images import names
from nova_containervm.images import nodes
from nova_containervm.images import tarread


class Merged:
    """What a container sees; view.View for fitter.Fitter.

    ``root`` is None until there is a layer.
    """

    def __init__(self):
        self.root = None

    def is_dir(self, path):
        """Whether a path is a directory; None when there is none."""
        node = nodes.find(self.root, path)
        return None if node is None else node.is_dir

    def is_link(self, path):
        """Whether a path is a symbolic link."""
        node = nodes.find(self.root, path)
        return node is not None and node.kind == tarread.SYMLINK

    def resolve(self, path, missing=False):
        """See view.View.resolve."""
        return nodes.resolve(self.root, path, missing)

    def add(self, own, facts):
        """Put a layer on top.

        :param own: root of its tree, which is used up
        :param facts: its facts.Facts
        :raises BadMember: it does not fit
        """
        fitter.Fitter(facts, _OwnTree(own, self), self).run()
        if self.root is None or b'' in facts.opaque:
            self.root = nodes.directory()
        todo = [(self.root, own)]
        while todo:
            below, above = todo.pop()
            below.imitate(above)
            if above.opaque:
                below.children.clear()
            for name, node in above.children.items():
                if node.kind == nodes.WHITEOUT:
                    below.children.pop(name, None)
                elif not node.is_dir:
                    below.children[name] = node
                else:
                    there = below.children.get(name)
                    if there is None or not there.is_dir:
                        there = below.children[name] = nodes.directory()
                    todo.append((there, node))


class _OwnTree:
    """overlay.OwnTree for a tree of nodes."""

    def __init__(self, root, lower):
        self._root = root
        self._lower = lower

    def _split(self, path):
        """(names in the directory that holds a path, last component)."""
        parent, base = names.split(path)
        node = nodes.find(self._root, parent)
        return (node.children if node is not None and node.is_dir
                else {}), base

    def is_dir(self, path):
        node = nodes.find(self._root, path)
        return None if node is None else node.is_dir

    def imitate(self, path):
        nodes.find(self._root, path).imitate(
            nodes.find(self._lower.root, path))

    def make_dir(self, path, mtime):
        there, base = self._split(path)
        made = there[base] = nodes.directory()
        made.mtime = forms.clamp_time(mtime)

    def make_opaque(self, path, mtime):
        self.make_dir(path, mtime)
        nodes.find(self._root, path).opaque = True

    def move(self, path, real, implied):
        there, base = self._split(path)
        explicit, hiding = [], []
        todo = [(there.pop(base), nodes.find(self._root, real), b'')]
        while todo:
            source, goal, below = todo.pop()
            goal.opaque = goal.opaque or source.opaque
            if below and path + b'/' + below not in implied:
                goal.imitate(source)
                explicit.append(names.join(real, below))
            elif below and names.join(real, below) not in implied:
                explicit.append(names.join(real, below))
            for name, node in source.children.items():
                other = goal.children.get(name)
                where = names.join(below, name)
                if node.is_dir and other is not None and other.is_dir:
                    todo.append((node, other, where))
                    continue
                white = node.kind == nodes.WHITEOUT
                if other is None or not white:
                    goal.children[name] = node
                if other is not None and (node.is_dir
                                          or white and other.is_dir):
                    goal.children[name].opaque = True
                    hiding.append(names.join(real, where))
        return explicit, hiding

    def is_whiteout(self, path):
        there, base = self._split(path)
        return base in there and there[base].kind == nodes.WHITEOUT

    def remove_whiteout(self, path):
        there, base = self._split(path)
        del there[base]

    def remove_empty(self, path, whiteout):
        node = nodes.find(self._root, path)
        if node is None or not node.is_dir or node.children:
            return False
        there, base = self._split(path)
        del there[base]
        if whiteout:
            there[base] = nodes.Node(nodes.WHITEOUT)
        return True

    def placeholder(self, path):
        there, base = self._split(path)
        return nodes.placeholder(there.get(base))

    def link(self, path, target):
        there, base = self._split(path)
        node = there[base] = nodes.find(self._lower.root, target)
        value = (node.xattrs or {}).get(forms.CAPABILITY)
        return value and value.hex()


def layers(trees):
    """Merge the trees of an image's layers.

    :param trees: list of (root, facts.Facts), lowest first; used up
    :returns: the root of what a container sees
    :raises BadMember: a hard link leads nowhere
    """
    merged = Merged()
    for number, (own, facts) in enumerate(trees, 1):
        try:
            merged.add(own, facts)
        except errors.ImageError as exc:
            raise exc.at('layer %d of %d' % (number, len(trees)))
    return merged.root
