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

"""The directories of a layer while it is unpacked, kept open and by name."""

import os

from nova_containervm.images import errors
from nova_containervm.images import fsutil
from nova_containervm.images import names

#: Symbolic links followed for one name, as in Linux.
_MAX_LINKS = 40
_MAX_OPEN = 64


class Directories:
    """Opens directories below a root that no symbolic link leads out of.

    :param root_fd: the open root; stays the caller's
    :param form: an instance from forms.FORMS
    :param limits: limits.Limits
    :param make: function(fd, name, path, mtime) that makes a directory which
        has no member of its own, and returns it opened
    """

    def __init__(self, root_fd, form, limits, make):
        self._root = root_fd
        self._form = form
        self._limits = limits
        self._make = make
        self._open = {b'': (root_fd, b'')}  # name as asked for -> fd, path

    def add(self, path, make):
        """Have the directory *path* open, which exists.

        :param make: function that opens it; not called if it is open
        :returns: its descriptor
        """
        if path not in self._open:
            self._remember(path, make(), path)
        return self._open[path][0]

    def forget(self):
        """Close the cached directories: some name has changed its type."""
        for asked, (fd, _path) in self._open.items():
            if asked:
                os.close(fd)
        self._open = {b'': (self._root, b'')}

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
        :returns: (descriptor, path without links); the descriptor lives
            until two other directories have been asked for
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
        """Open *asked* part by part; see _parent. The caller closes it."""
        above, last = names.split(asked)
        known = self._open.get(above)
        if known is not None:
            (fd, path), todo = known, [last]
        else:
            fd, path, todo = self._root, b'', asked.split(b'/')
        owned = arrived = False
        links = 0
        try:
            while todo:
                part = todo.pop(0)
                where = names.join(path, part)
                try:
                    child = fsutil.open_dir(part, dir_fd=fd)
                except FileNotFoundError:
                    if create is None:
                        return None
                    child = self._make(fd, part, where, create)
                except NotADirectoryError:
                    target = self._form.readlink(fd, part)
                    links += 1
                    if target is None or links > _MAX_LINKS:
                        if create is None:
                            return None
                        raise errors.BadMember(
                            'there are members below %s, which is %s'
                            % (errors.quote(where),
                               'no directory' if target is None
                               else 'a loop of symbolic links'))
                    todo = [p for p in names.follow(path, target).split(b'/')
                            if p] + todo
                    if len(todo) > 4 * self._limits.max_nesting:
                        raise self._limits.exceeded(
                            'max_nesting', 'symbolic links at %s'
                            % errors.quote(where))
                    child, where = os.dup(self._root), b''
                if owned:
                    os.close(fd)
                fd, path, owned = child, where, True
            arrived = True
            return fd, path
        finally:
            if owned and not arrived:
                os.close(fd)
