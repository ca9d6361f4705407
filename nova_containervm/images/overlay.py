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

"""What depends on lower layers: done once their order is known.

Each layer was unpacked alone (extract.py). Here a new layer is made to fit
on the layers below it, so that an overlayfs of them shows what unpacking
one after the other into one directory would have given:

* directories without a member of their own look like the lower ones;
* directories that are a symbolic link below go where the link leads;
* hard links to files of lower layers become such links, across the layers'
  directories;
* whiteouts of nothing go away: overlayfs would show them in listings.
"""

import base64
import errno
import json
import os
import stat

from nova_containervm.images import confine
from nova_containervm.images import errors
from nova_containervm.images import facts
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
        with os.fdopen(os.dup(self.facts), 'rb') as source:
            self.facts = facts.Facts.from_dict(json.load(source))


class _KeptTime:
    """Leaves a directory's mtime as it was."""

    def __init__(self, fd):
        self._fd = fd

    def __enter__(self):
        st = os.fstat(self._fd)
        self._times = (st.st_atime_ns, st.st_mtime_ns)

    def __exit__(self, *_exc):
        os.utime(self._fd, ns=self._times)


class Fitter:
    """Makes one new layer fit on those below.

    :param layer: the Layer
    :param lower: view.View of the layers below, may be empty
    """

    def __init__(self, layer, lower, below, form):
        self._layer = layer
        self._facts = layer.facts
        self._lower = lower
        self._below = below
        self._form = form
        self._own = view.View([(0, layer.tree)], form)
        self._record = manifest.Writer(layer.record)

    def run(self):
        """Do everything; the layer's facts are then those of the result."""
        try:
            for path in sorted(self._facts.implied, key=_depth):
                if path in self._facts.implied:
                    self._imply(path)
            for path in sorted(self._facts.whiteouts):
                self._whiteout(path)
            if self._facts.whiteouts or self._facts.opaque:
                for path in sorted(self._facts.implied, key=_depth,
                                   reverse=True):
                    self._drop(path)
            for path, (target, number) in self._facts.links.items():
                self._link(path, target, number)
            self._record.close()
        finally:
            self._own.close()

    def _hidden(self, path, itself):
        """Whether this layer hides what is at *path* below."""
        facts = self._facts
        if itself and path in facts.whiteouts:
            return True
        while path:
            path = names.split(path)[0]
            if path in facts.opaque or path in facts.whiteouts:
                return True
        return False

    def _imply(self, path):
        if self._hidden(path, itself=True):
            return
        found = self._lower.find(path)
        if found is None:
            return
        if found.dirs is None:
            if self._form.readlink(found.fd, found.base) is None:
                return  # a file below; the directory takes its place
            real = self._lower.resolve(path)
            found = self._lower.find(real) if real is not None else None
            if found is not None and found.dirs is not None:
                self._move(path, real)
            return
        own = self._own.find(path)
        if own is not None and own.dirs is not None:
            self._imitate(own.dirs[0][1], found.dirs[0][1], path)

    def _imitate(self, fd, lower_fd, path):
        """Give a directory the attributes of the one below."""
        mode, uid, gid = self._form.identity(lower_fd)
        for name in self._form.copied_xattrs(fd):
            os.removexattr(fd, name)
        xattrs = self._form.copied_xattrs(lower_fd)
        for name, value in xattrs.items():
            os.setxattr(fd, name, value)
        if self._form.name == 'passthrough':
            self._form.apply(fd, mode, uid, gid)
        st = os.fstat(lower_fd)
        os.utime(fd, ns=(st.st_mtime_ns, st.st_mtime_ns))
        self._record.add(b'd', path, mode, uid, gid, 0, st.st_mtime_ns, 0,
                         manifest.ANY)

    def _move(self, path, real):
        """The directory is a link below: its contents belong elsewhere."""
        target = b''
        for part in real.split(b'/') if real else []:
            above = self._own.find(target)
            target = names.join(target, part)
            own = self._own.find(target)
            if own is None:
                fd = above.dirs[0][1]
                with _KeptTime(fd):
                    os.mkdir(part, 0o700, dir_fd=fd)
                self._own.forget()
                own = self._own.find(target)
                self._form.apply(own.dirs[0][1], stat.S_IFDIR | 0o755, 0, 0)
                self._facts.implied[target] = 0
                self._imply(target)
            elif own.dirs is None:
                raise errors.BadMember(
                    '%s is a symbolic link to %s in a lower layer, and a '
                    'file in this one' % (errors.quote(path),
                                          errors.quote(real)))
        parent, base = names.split(path)
        source = self._own.find(path).dirs[0][1]
        goal = self._own.find(real).dirs[0][1]
        above = self._own.find(parent).dirs[0][1]
        with _KeptTime(goal), _KeptTime(above):
            trees.merge(source, goal)
            os.rmdir(base, dir_fd=above)
        self._own.forget()
        self._record.add(b'm', path, 0, 0, 0, 0, 0, 0, real)
        self._rename(path, real)

    def _rename(self, old, new):
        """Facts below *old* are now below *new*."""
        def moved(p):
            if p == old:
                return new
            if p.startswith(old + b'/'):
                return names.join(new, p[len(old) + 1:])
            return p
        facts = self._facts
        facts.implied.pop(old, None)
        renamed = {moved(p): t for p, t in facts.implied.items()}
        again = [p for p in renamed if p not in facts.implied]
        facts.implied = renamed
        facts.whiteouts = set(map(moved, facts.whiteouts))
        facts.opaque = set(map(moved, facts.opaque))
        facts.links = {moved(p): v for p, v in facts.links.items()}
        facts.caps = {moved(p): v for p, v in facts.caps.items()}
        for path in sorted(again, key=lambda p: p.count(b'/')):
            self._imply(path)

    def _whiteout(self, path):
        parent, base = names.split(path)
        own = self._own.find(parent)
        if own is None or own.dirs is None:
            return
        fd = own.dirs[0][1]
        st = fsutil.lstat(base, fd)
        if st is None or not fsutil.is_whiteout(st):
            return
        if self._hidden(path, itself=False) \
                or self._lower.find(path) is None:
            with _KeptTime(fd):
                os.unlink(base, dir_fd=fd)
            self._record.add(b'-', path, 0, 0, 0, 0, 0)

    def _drop(self, path):
        """Remove a directory that was made for whiteouts of nothing.

        What holds a file of the layer is not empty; what is a directory
        below stays, with the whiteouts or the mark that it is opaque.
        """
        hidden = self._hidden(path, itself=False)
        below = None if hidden or not path else self._lower.find(path)
        if not path or (below is not None and below.dirs is not None
                        and path not in self._facts.whiteouts):
            return
        parent, base = names.split(path)
        self._own.forget()
        own = self._own.find(path)
        if own is None or own.dirs is None or os.listdir(own.dirs[0][1]):
            return
        fd = self._own.find(parent).dirs[0][1]
        with _KeptTime(fd):
            os.rmdir(base, dir_fd=fd)
            self._record.add(b'-', path, 0, 0, 0, 0, 0)
            if below is not None and path in self._facts.whiteouts:
                os.mknod(base, stat.S_IFCHR | 0o600, 0, dir_fd=fd)
                self._record.add(b'w', path, 0, 0, 0, 0, 0)
        self._own.forget()
        del self._facts.implied[path]
        self._facts.opaque.discard(path)

    def _link(self, path, target, number):
        parent, base = names.split(path)
        own = self._own.find(parent)
        if own is None or own.dirs is None:
            return
        fd = own.dirs[0][1]
        if forms.placeholder(base, fd) != number:
            return  # replaced by a later member
        tparent, tbase = names.split(target)
        tparent = self._lower.resolve(tparent)
        found = None
        if tparent is not None:
            target = names.join(tparent, tbase)
            found = self._lower.find(target)
        if found is None or found.dirs is not None:
            raise errors.BadMember(
                '%s is a hard link to %s, which %s' % (
                    errors.quote(path), errors.quote(target),
                    'is a directory' if found
                    else 'neither this layer nor a lower one has'))
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
        cap = self._below[found.layer].facts.caps.get(target)
        if cap is not None:
            self._facts.caps[path] = cap


def _depth(path):
    return path.count(b'/'), path


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
        record = layer.facts_fd
        try:
            Fitter(layer, lower, layers, form).run()
        except errors.ImageError as exc:
            raise type(exc)('layer %d of %d: %s' % (
                index + 1, len(layers), exc))
        finally:
            lower.close()
        os.ftruncate(record, 0)
        os.lseek(record, 0, os.SEEK_SET)
        fsutil.write_all(record, json.dumps(layer.facts.to_dict()).encode())
    if any(layer.new for layer in layers):
        confine.sync_filesystem(root_fd)
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
