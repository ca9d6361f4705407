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

"""The files of a layer, or of layers merged, as a tree in memory.

Their contents lie one after the other in a file of the session, see
spool.py; a node says where.
"""

import json

from nova_containervm.images import disktree
from nova_containervm.images import errors
from nova_containervm.images import forms
from nova_containervm.images import names
from nova_containervm.images import tarread

#: Kinds of nodes beside those of tarread: a name that the layer removes, and
#: what keeps the place of a hard link to a file of a lower layer.
WHITEOUT = b'w'
PLACEHOLDER = b'x'
#: Entries of a line that dump() writes, or more
_LINE = 1000


class Node:
    """One file. A file with several names is one node in several places.

    ``kind`` is a constant of tarread or of this module; ``target`` that of
    a symbolic link; ``start`` where the contents begin in the spool numbered
    ``spool``, or a placeholder's number; ``children`` of a directory: name to
    node; ``opaque``: it hides what lower layers have in it.
    """

    __slots__ = ('children', 'gid', 'kind', 'major', 'minor',
                 'mode', 'mtime', 'opaque', 'size', 'spool', 'start',
                 'target', 'uid', 'xattrs')

    def __init__(self, kind, mode=0, uid=0, gid=0, mtime=0):
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
        self.size = self.start = self.spool = self.major = self.minor = 0
        self.target = b''
        self.xattrs = None
        self.children = {} if kind == tarread.DIR else None
        self.opaque = False

    @property
    def is_dir(self):
        """Whether it is a directory."""
        return self.children is not None

    def imitate(self, other):
        """Take the attributes of another directory."""
        self.mode, self.uid, self.gid = other.mode, other.uid, other.gid
        self.mtime, self.xattrs = other.mtime, other.xattrs

    def describe(self, member):
        """Take the attributes of a member of an archive."""
        self.mode, self.uid, self.gid = member.mode, member.uid, member.gid
        self.mtime = forms.clamp_time(member.mtime)
        self.xattrs = member.xattrs or None


def directory():
    """A directory as it is where no member describes it."""
    return Node(tarread.DIR, 0o755)


def placeholder(node):
    """The number of a placeholder, -1 for anything else or None."""
    if node is None or node.kind != PLACEHOLDER:
        return -1
    return node.start


def find(root, path):
    """The node of a path, no symbolic link followed; None: there is none.

    :param root: a directory, or None for no tree at all
    """
    node = root
    if path and node is not None:
        for part in path.split(b'/'):
            if node.children is None:
                return None
            node = node.children.get(part)
            if node is None:
                return None
    return node


def resolve(root, path, missing=False):
    """The path without symbolic links, None when it leads nowhere.

    Links cannot lead out: the tree's root is the root.

    :param missing: what is not there counts as a directory to be made
    """
    todo = path.split(b'/') if path else []
    done = b''
    links = 0
    while todo:
        where = names.join(done, todo.pop(0))
        node = find(root, where)
        if node is None:
            return b'/'.join([where, *todo]) if missing else None
        if node.kind == tarread.SYMLINK:
            links += 1
            if links > disktree.MAX_LINKS:
                return None
            todo = [p for p in names.follow(done, node.target).split(b'/')
                    if p] + todo
            done = b''
            continue
        if todo and not node.is_dir:
            return None
        done = where
    return done


def directories(root):
    """Yield (path, node) of every directory, parents first."""
    stack = [(b'', root)]
    while stack:
        path, node = stack.pop()
        yield path, node
        stack.extend((names.join(path, name), child) for name, child
                     in node.children.items() if child.is_dir)


# -- from one process to the next --------------------------------------------

def dump(root, out):
    """Write a layer's tree as lines of JSON, each a list of many entries.

    :param out: binary file object
    """
    text = names.text
    known = {id(root): 0}
    entries = [(0, '', *_fields(root))]
    for _path, directory in directories(root):
        number = known[id(directory)]
        for name, node in directory.children.items():
            same = known.get(id(node))
            if same is not None:
                entries.append((number, text(name), same))
                continue
            known[id(node)] = len(known)
            entries.append((number, text(name), *_fields(node)))
        if len(entries) >= _LINE:
            out.write(json.dumps(entries).encode() + b'\n')
            entries = []
    out.write(json.dumps(entries).encode())


def _fields(node):
    xattrs = None
    if node.xattrs:
        xattrs = {names.text(k): v.hex() for k, v in node.xattrs.items()}
    return (node.kind.decode(), node.mode, node.uid, node.gid, node.mtime,
            node.size, node.start, node.major, node.minor,
            names.text(node.target), xattrs,
            node.opaque)


def load(source, spool):
    """Read what dump() has written.

    :param source: binary file object
    :param spool: number for the nodes' ``spool``
    :returns: the root
    :raises StoreError: it is damaged
    """
    try:
        made = []
        for line in source:
            for parent, name, *fields in json.loads(line):
                if len(fields) == 1:
                    node = made[fields[0]]
                else:
                    node = _node(fields, spool)
                    made.append(node)
                if len(made) > 1:
                    made[parent].children[names.raw(name)] = node
        return made[0]
    except (AttributeError, IndexError, TypeError, ValueError) as exc:
        raise errors.StoreError('the list of a layer is damaged (%s)' % exc)


def _node(fields, spool):
    (kind, mode, uid, gid, mtime, size, start, major, minor, target, xattrs,
     opaque) = fields
    node = Node(kind.encode(), mode, uid, gid, mtime)
    node.size, node.start, node.spool = size, start, spool
    node.major, node.minor = major, minor
    node.target = names.raw(target)
    if xattrs:
        node.xattrs = {names.raw(k): bytes.fromhex(v)
                       for k, v in xattrs.items()}
    node.opaque = opaque
    return node
