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

"""Layers seen on top of each other, as overlayfs would show them."""

import os
import stat

from nova_containervm.images import disktree
from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import names

_MAX_OPEN = 2000


class Found:
    """A name in a View.

    ``dirs`` is None for anything but a directory; else the directories that
    overlayfs would merge, as (layer, descriptor), top first: those of them
    that have been needed so far, one at least. ``fd`` and ``base`` are the
    directory that holds the name, and the name; ``layer`` says whose it is.
    ``above`` is the Found of that directory, and ``next`` where in its
    ``dirs`` the next of these is to be looked for, -1 when there is none.
    Descriptors belong to the View.
    """

    __slots__ = ('above', 'base', 'dirs', 'fd', 'layer', 'next', 'st')

    def __init__(self, layer, fd, base, st, dirs=None):
        self.layer = layer
        self.fd = fd
        self.base = base
        self.st = st
        self.dirs = dirs
        self.above = None
        self.next = -1


class View:
    """The merged view of a stack of trees.

    :param stack: list of (layer, descriptor of its tree), top first
    :param form: an instance from forms.FORMS
    """

    def __init__(self, stack, form):
        self._form = form
        self._root = None
        if stack:
            self._root = Found(stack[0][0], None, b'', None, list(stack))
        self._steps = disktree.Steps()
        self._cache = {}
        self._opened = 0

    @property
    def root(self):
        """Descriptor of the topmost tree."""
        return self._root.dirs[0][1]

    def forget(self):
        """Close what is cached: the trees have changed."""
        for found in self._cache.values():
            for _layer, fd in found.dirs:
                os.close(fd)
        self._cache = {}
        self._opened = 0

    close = forget

    def drop(self, path):
        """Close one cached directory, which has nothing below."""
        for _layer, fd in self._cache.pop(path).dirs:
            os.close(fd)
            self._opened -= 1

    def find(self, path):
        """Look a path up, following no symbolic link.

        :returns: Found, or None
        """
        if not path:
            return self._root
        if path in self._cache:
            return self._cache[path]
        if self._opened > _MAX_OPEN:
            self.forget()
        parent, base = names.split(path)
        above = self.find(parent)
        if above is None or above.dirs is None:
            return None
        index = 0
        while (place := self._at(above, index)) is not None:
            index += 1
            layer, fd = place
            st = fsutil.lstat(base, fd)
            if st is None:
                continue
            if fsutil.is_whiteout(st):
                return None
            found = Found(layer, fd, base, st)
            if stat.S_ISDIR(st.st_mode):
                found.dirs, found.above, found.next = [], above, index
                self._open(found, layer, fd)
                self._cache[path] = found
            return found
        return None

    def _open(self, found, layer, fd):
        """Open one more of the directories that are one in the view."""
        found.dirs.append((layer, fsutil.open_dir(found.base, dir_fd=fd)))
        self._opened += 1
        self._steps.take(1)

    def _at(self, found, index):
        """One of those directories, None if there are not so many.

        Most are never asked for: what one looks for is in the first.
        """
        dirs = found.dirs
        while len(dirs) <= index:
            if found.next < 0 or forms.is_opaque(dirs[-1][1]):
                found.next = -1
                return None
            st = None
            while st is None:
                place = self._at(found.above, found.next)
                if place is None:
                    found.next = -1
                    return None
                found.next += 1
                st = fsutil.lstat(found.base, place[1])
            if not stat.S_ISDIR(st.st_mode):
                found.next = -1
                return None
            self._open(found, *place)
        return dirs[index]

    def all_of(self, found):
        """All directories that are one in the view, top first."""
        while self._at(found, len(found.dirs)) is not None:
            pass
        return found.dirs

    def is_dir(self, path):
        """Whether a path is a directory; None when there is none."""
        found = self.find(path)
        return None if found is None else found.dirs is not None

    def is_link(self, path):
        """Whether a path is a symbolic link of the image."""
        found = self.find(path)
        return (found is not None and found.dirs is None
                and self._form.readlink(found.fd, found.base) is not None)

    def resolve(self, path, missing=False):
        """The path without symbolic links, None when it leads nowhere.

        Links cannot lead out: the View's root is the root.

        :param missing: what is not there counts as a directory to be made
        """
        todo = path.split(b'/') if path else []
        done = b''
        links = 0
        while todo:
            part = todo.pop(0)
            where = names.join(done, part)
            self._steps.take(1)
            found = self.find(where)
            if found is None:
                if missing:
                    return b'/'.join([where, *todo])
                return None
            if found.dirs is None:
                target = self._form.readlink(found.fd, found.base)
                if target is not None:
                    links += 1
                    if links > disktree.MAX_LINKS:
                        return None
                    todo = [p for p in names.follow(done, target).split(b'/')
                            if p] + todo
                    done = b''
                    continue
                if todo:
                    return None
            done = where
        return done

    def read(self, path, limit):
        """Contents of a file, links followed; None if there is none.

        :param limit: bytes; a larger file reads as none
        """
        real = self.resolve(path)
        found = self.find(real) if real else None
        if found is None or found.dirs is not None \
                or not stat.S_ISREG(found.st.st_mode) \
                or found.st.st_size > limit:
            return None
        fd = os.open(found.base, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC,
                     dir_fd=found.fd)
        try:
            if not stat.S_ISREG(self._form.identity(fd)[0]):
                return None
            with os.fdopen(os.dup(fd), 'rb') as source:
                return source.read(limit)
        finally:
            os.close(fd)
