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

"""Finished layers on disk, as an overlayfs of them needs them.

fitter.py decides what changes in a layer when the layers below it are known;
here it is done.
"""

import base64
import errno
import os
import stat

from nova_containervm.images import errors
from nova_containervm.images import facts
from nova_containervm.images import fitter
from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import manifest
from nova_containervm.images import names
from nova_containervm.images import trees
from nova_containervm.images import view

#: Most that is read of a file such as /etc/passwd.
READ_LIMIT = 1024 * 1024


class Layer:
    """One layer in the row. ``facts`` and ``record`` are descriptors first.

    :param path: its directory, below the store's root
    :param new: not yet published: to be finished
    """

    def __init__(self, path, new):
        self.path = path
        self.new = new
        self.facts = None
        self.facts_fd = None
        self.record = None
        self.copy_of = None
        self.tree = None

    def load(self, root_fd):
        """Open the tree and read the facts."""
        fd = os.dup(root_fd)
        for part in self.path.split('/'):
            try:
                child = fsutil.enter_dir(part, dir_fd=fd)
            finally:
                os.close(fd)
            fd = child
        try:
            self.tree = fsutil.open_dir('tree', dir_fd=fd)
        finally:
            os.close(fd)
        self.facts_fd = self.facts
        self.facts = facts.Facts.load(self.facts_fd)


class _KeptTime:
    """Leaves a directory's mtime as it was."""

    def __init__(self, fd):
        self._fd = fd

    def __enter__(self):
        st = os.fstat(self._fd)
        self._times = (st.st_atime_ns, st.st_mtime_ns)

    def __exit__(self, *_exc):
        os.utime(self._fd, ns=self._times)


class OwnTree:
    """The tree of a new layer, for fitter.Fitter to change.

    :param layer: the Layer
    :param lower: view.View of the layers below
    :param below: all Layers
    """

    def __init__(self, layer, lower, below, form):
        self._lower = lower
        self._below = below
        self._form = form
        self._own = view.View([(0, layer.tree)], form)
        self._record = manifest.Writer(layer.record)

    def close(self):
        """Write the last records, and close what is open."""
        try:
            self._record.close()
        finally:
            self._own.close()

    def is_dir(self, path):
        """Whether a path is a directory; None when there is none."""
        return self._own.is_dir(path)

    def _dir(self, path):
        """Descriptor of a directory, None for anything else."""
        found = self._own.find(path)
        if found is None or found.dirs is None:
            return None
        return found.dirs[0][1]

    def imitate(self, path):
        """Give a directory the attributes of the one below."""
        fd = self._dir(path)
        self._imitate(fd, self._lower.find(path).dirs[0][1])
        self._recorded(path, fd)

    def _imitate(self, fd, model):
        """Give an open directory the attributes and time of another."""
        have = self._form.copied_xattrs(fd)
        wanted = self._form.copied_xattrs(model)
        # Most often they are the same.
        for name in have.keys() - wanted.keys():
            os.removexattr(fd, name)
        for name, value in wanted.items():
            if have.get(name) != value:
                os.setxattr(fd, name, value)
        if self._form.name == 'passthrough':
            self._form.apply(fd, *self._form.identity(model))
        st = os.fstat(model)
        os.utime(fd, ns=(st.st_mtime_ns, st.st_mtime_ns))

    def _recorded(self, path, fd):
        """Record a directory as it is now."""
        mode, uid, gid = self._form.identity(fd)
        self._record.add(b'd', path, mode, uid, gid, 0,
                         os.fstat(fd).st_mtime_ns, 0, manifest.ANY)

    def make_dir(self, path, mtime):
        """An implied directory; the one above exists."""
        parent, base = names.split(path)
        fd = self._dir(parent)
        with _KeptTime(fd):
            os.mkdir(base, 0o700, dir_fd=fd)
        self._own.forget()
        fd = self._dir(path)
        mode, mtime = stat.S_IFDIR | 0o755, forms.clamp_time(mtime)
        self._form.apply(fd, mode, 0, 0)
        os.utime(fd, ns=(mtime, mtime))
        self._record.add(b'd', path, mode, 0, 0, 0, mtime)

    def make_opaque(self, path, mtime):
        """Likewise, in place of a whiteout; it hides the same."""
        self.remove_whiteout(path)
        self.make_dir(path, mtime)
        self._hide(path)

    def _hide(self, path):
        """Let a directory hide what lower layers have in it."""
        os.setxattr(self._dir(path), forms.OPAQUE, b'y')
        self._record.add(b'o', path, 0, 0, 0, 0, 0)

    def move(self, path, real, implied):
        """Move the contents of one directory into another, and remove it.

        :param implied: directories without a member of their own
        :returns: paths of directories that both had, and that have a member
            in one of them; and of those that now hide what is below them
        """
        self._own.forget()  # so that it does not happen in between
        parent, base = names.split(path)
        source, goal, above = map(self._dir, (path, real, parent))
        explicit, both = [], []

        def same(below, src, dst):
            if forms.is_opaque(src):
                os.setxattr(dst, forms.OPAQUE, b'y')
            if not below:
                return
            where = names.join(real, below)
            if path + b'/' + below not in implied:
                self._imitate(dst, src)
                explicit.append(where)
            elif where not in implied:
                explicit.append(where)
            both.append((where, *self._form.identity(dst), 0,
                         os.fstat(dst).st_mtime_ns))
        root = self._own.root
        with _KeptTime(root), _KeptTime(above):
            # Out of the way of what it may replace: directories above it.
            aside = fsutil.free_name(root, source)
            os.rename(base, aside, src_dir_fd=above, dst_dir_fd=root)
            hiding = [names.join(real, below)
                      for below in trees.merge(source, goal, same)]
            os.rmdir(aside, dir_fd=root)
        self._own.forget()
        self._record.add(b'm', path, 0, 0, 0, 0, 0, 0, real)
        for fields in both:
            self._record.add(b'd', *fields, 0, manifest.ANY)
        for hidden in hiding:
            self._hide(hidden)
        return explicit, hiding

    def is_whiteout(self, path):
        """Whether a path is a mark that hides a lower name."""
        parent, base = names.split(path)
        fd = self._dir(parent)
        st = None if fd is None else fsutil.lstat(base, fd)
        return st is not None and fsutil.is_whiteout(st)

    def remove_whiteout(self, path):
        """Take such a mark away."""
        parent, base = names.split(path)
        fd = self._dir(parent)
        with _KeptTime(fd):
            os.unlink(base, dir_fd=fd)
        self._record.add(b'-', path, 0, 0, 0, 0, 0)

    def remove_empty(self, path, whiteout):
        """Remove a directory if it is empty; whether it was.

        :param whiteout: put a mark in its place
        """
        fd = self._dir(path)
        if fd is None or os.listdir(fd):
            return False
        self._own.drop(path)
        parent, base = names.split(path)
        fd = self._dir(parent)
        with _KeptTime(fd):
            os.rmdir(base, dir_fd=fd)
            self._record.add(b'-', path, 0, 0, 0, 0, 0)
            if whiteout:
                os.mknod(base, stat.S_IFCHR | 0o600, 0, dir_fd=fd)
                self._record.add(b'w', path, 0, 0, 0, 0, 0)
        return True

    def placeholder(self, path):
        """The number of a placeholder, -1 for anything else."""
        parent, base = names.split(path)
        fd = self._dir(parent)
        return -1 if fd is None else forms.placeholder(base, fd)

    def link(self, path, target):
        """Put a link to a lower layer's file in place of a placeholder.

        :returns: the file's capabilities in hex, or None
        """
        found = self._lower.find(target)
        parent, base = names.split(path)
        fd = self._dir(parent)
        with _KeptTime(fd):
            os.unlink(base, dir_fd=fd)
            try:
                os.link(found.base, base, src_dir_fd=found.fd, dst_dir_fd=fd,
                        follow_symlinks=False)
            except OSError as exc:
                if exc.errno not in (errno.EMLINK, errno.EXDEV, errno.EPERM):
                    raise
                trees.copy_file(found.fd, found.base, fd, base)
        self._record.add(b'x', path, 0, 0, 0, 0, 0, 0, target)
        return self._below[found.layer].facts.caps.get(target)


def _stack(layers):
    """Trees for a View: top first, none below one that hides all below."""
    stack = []
    for index in range(len(layers) - 1, -1, -1):
        stack.append((index, layers[index].tree))
        if b'' in layers[index].facts.opaque:
            break
    return stack


def finish(root_fd, layers, form, wanted):
    """Make new layers fit, and look at the whole.

    :param layers: list of Layer, lowest first
    :param wanted: paths (str) of files to read
    :returns: dict: 'files' path -> base64, 'caps' list of (path, hex)
    :raises BadMember: a hard link leads nowhere
    """
    for layer in layers:
        if layer.copy_of is None:
            layer.load(root_fd)
    originals = {layer.path: layer for layer in layers}
    for layer in layers:
        if layer.copy_of is not None:
            layer.load(root_fd)
            trees.clone(originals[layer.copy_of].tree, layer.tree)
    for index, layer in enumerate(layers):
        if not layer.new:
            continue
        lower = view.View(_stack(layers[:index]), form)
        own = OwnTree(layer, lower, layers, form)
        try:
            fitter.Fitter(layer.facts, own, lower).run()
        except errors.ImageError as exc:
            raise exc.at('layer %d of %d' % (index + 1, len(layers)))
        finally:
            own.close()
            lower.close()
        layer.facts.save(layer.facts_fd)
    whole = view.View(_stack(layers), form)
    try:
        caps = []
        for index, layer in enumerate(layers):
            for path, value in sorted(layer.facts.caps.items()):
                found = whole.find(path)
                if found is not None and found.dirs is None \
                        and found.layer == index:
                    caps.append((names.text(path), value))
        files = {}
        for path in wanted:
            data = whole.read(names.raw(path), READ_LIMIT)
            if data is not None:
                files[path] = base64.b64encode(data).decode()
    finally:
        whole.close()
    return {'files': files, 'caps': caps}
