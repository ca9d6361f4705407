#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


"""Makes a layer of a directory of this host.

Runs in a process of its own, without privilege and shut into that directory:
what it reads has been written by a tenant. ``main`` is its entry point.
"""

import argparse
import errno
import json
import os
import resource
import socket
import stat
import sys

from nova_containervm.images import confine
from nova_containervm.snapshot import frameformat
from nova_containervm.snapshot import hostfiles
from nova_containervm.snapshot import tarwrite

_CHUNK = 256 * 1024
#: Who unpacks a layer takes no longer paths.
_MAX_PATH = 4095
#: Open files that the deepest tree takes.
_FILES = 8192
#: What it takes to read files of every owner.
_READ_CAPABILITIES = (2,)  # DAC_READ_SEARCH
_WHITEOUT = b'.wh.'
_OPAQUE = b'.wh..wh..opq'


class PackError(Exception):
    """A file that cannot be put into a layer."""


class Packer:
    """Writes what is in a directory as a layer.

    :param root: the open directory
    :param form: an object of hostfiles.FORMS
    :param caps: path (bytes) to security.capability (bytes), of files that
        have none here because QEMU's user may not set it
    :param reference: another open directory; None, or what the first one was
        a copy of: then only differences are written
    :param write: takes the bytes of the archive; None: only count them
    """

    def __init__(self, root, form, caps=None, reference=None, write=None):
        self._root = root
        self._form = form
        self._caps = caps or {}
        self._reference = reference
        self._write = write
        self._links = {}
        self.length = 0

    def run(self):
        """Write the layer.

        :returns: its length in bytes
        :raises PackError: with the file, and what is wrong with it
        """
        self._directory(b'', '.', self._root, self._reference)
        self._put(tarwrite.END)
        return self.length

    def _put(self, data):
        self.length += len(data)
        if self._write is not None:
            self._write(data)

    def _directory(self, path, name, parent, reference):
        """One directory and all below it."""
        fd = hostfiles.open_below(name, parent, os.O_DIRECTORY)
        try:
            st = os.fstat(fd)
            entry = self._form.entry(path, '.', fd, st)
            if reference is None or self._differs(entry, '.', reference):
                self._put(tarwrite.header(entry))
            if hostfiles.is_opaque(fd):
                self._mark(path, _OPAQUE)
            names = sorted(map(os.fsencode, os.listdir(fd)))
            if reference is not None:
                for gone in sorted(set(map(os.fsencode, os.listdir(
                        reference))).difference(names)):
                    self._mark(path, _WHITEOUT + gone)
            for child in names:
                self._child(path, child, fd, reference)
        finally:
            os.close(fd)

    def _child(self, parent, name, fd, reference):
        if name.startswith(_WHITEOUT):
            raise PackError('/%s/%s: an image cannot have a file of that '
                            'name; remove or rename it' % (
                                os.fsdecode(parent), os.fsdecode(name)))
        path = parent + b'/' + name if parent else name
        if len(path) > _MAX_PATH:
            raise PackError('/%s...: the path is longer than %d bytes' % (
                os.fsdecode(path[:200]), _MAX_PATH))
        try:
            st = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if hostfiles.is_whiteout(st):
                self._mark(parent, _WHITEOUT + name)
            elif stat.S_ISDIR(st.st_mode):
                self._known_directory(path, name, fd, reference)
            else:
                self._file(path, name, fd, st, reference)
        except OSError as e:
            raise PackError('/%s: %s' % (os.fsdecode(path[:200]),
                                         os.strerror(e.errno or 0)))

    def _known_directory(self, path, name, fd, reference):
        below = None
        if reference is not None:
            try:
                below = hostfiles.open_below(name, reference, os.O_DIRECTORY)
            except OSError as e:
                if e.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
        try:
            self._directory(path, name, fd, below)
        finally:
            if below is not None:
                os.close(below)

    def _mark(self, parent, name):
        path = parent + b'/' + name if parent else name
        self._put(tarwrite.header(tarwrite.Entry(path)))

    def _differs(self, entry, name, reference):
        """Whether a file is another one than the reference's of its name."""
        try:
            st = os.stat(name, dir_fd=reference, follow_symlinks=False)
        except FileNotFoundError:
            return True
        return entry != self._form.entry(entry.path, name, reference, st)

    def _file(self, path, name, fd, st, reference):
        entry = self._form.entry(path, name, fd, st)
        if entry is None:
            return
        if path in self._caps and entry.type == tarwrite.REG:
            entry.xattrs = {**entry.xattrs,
                            b'security.capability': self._caps[path]}
        if reference is not None and not self._differs(entry, name,
                                                       reference):
            return
        if st.st_nlink > 1:
            earlier = self._links.setdefault((st.st_dev, st.st_ino), path)
            if earlier != path:
                entry.type, entry.target = tarwrite.LINK, earlier
                entry.xattrs = {}
        if entry.type == tarwrite.REG:
            self._regular(entry, name, fd)
        else:
            self._put(tarwrite.header(entry))

    def _regular(self, entry, name, dir_fd):
        fd = hostfiles.open_below(name, dir_fd)
        try:
            entry.extents = hostfiles.extents(fd, os.fstat(fd))
            self._put(tarwrite.header(entry))
            if self._write is None:
                self.length += entry.stored
            else:
                for offset, length in entry.extents or [(0, entry.size)]:
                    self._copy(entry.path, fd, offset, length)
            self._put(tarwrite.padding(entry.stored))
        finally:
            os.close(fd)

    def _copy(self, path, fd, offset, length):
        while length:
            data = os.pread(fd, min(length, _CHUNK), offset)
            if not data:
                raise PackError('/%s: has become shorter while it was read' %
                                os.fsdecode(path[:200]))
            self._put(data)
            offset += len(data)
            length -= len(data)


def pack(root, form, send, caps=None, reference=None):
    """Send the layer of a directory, in frames.

    :param send: takes bytes
    """
    try:
        size = Packer(root, form, caps, reference).run()
        send(frameformat.size_frame(size))
        writer = frameformat.Writer(send)
        sent = Packer(root, form, caps, reference, writer).run()
        writer.flush()
        if sent != size:
            raise PackError('the files have changed while they were read')
        send(frameformat.frame(b'F'))
    except PackError as e:
        send(frameformat.frame(b'E', os.fsencode(str(e))[:4000]))


def main(argv=None):
    """Entry point of the process.

    The job comes through the socket ``s`` in ``--directory``, and the layer
    goes there.
    """
    parser = argparse.ArgumentParser(prog='nova-containervm-pack')
    parser.add_argument('--directory', required=True)
    parser.add_argument('--tree', required=True)
    parser.add_argument('--reference')
    parser.add_argument('--form', required=True,
                        choices=sorted(hostfiles.FORMS))
    parser.add_argument('--uid', type=int, required=True)
    parser.add_argument('--gid', type=int, required=True)
    args = parser.parse_args(argv)
    root = _open_directory(args.tree)
    reference = args.reference and _open_directory(args.reference)
    where = _open_directory(args.directory)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A Unix socket's path is 107 bytes at most; a descriptor's is short.
    channel.connect('/proc/self/fd/%d/s' % where)
    os.close(where)
    _allow_files()
    sys.setrecursionlimit(20000)
    nowhere = os.open(os.devnull, os.O_RDWR)
    if os.geteuid() == 0:
        passthrough = args.form == 'passthrough'
        confine.enter(root, 0 if passthrough else args.uid,
                      0 if passthrough else args.gid,
                      _READ_CAPABILITIES if passthrough else ())
    if os.fork():
        os._exit(0)
    os.setsid()
    # Who started us waits until our error output is closed.
    os.dup2(nowhere, 2)
    with channel, channel.makefile('rb') as lines:
        job = json.loads(lines.readline())
        caps = {os.fsencode(path): bytes.fromhex(value)
                for path, value in job['caps']}
        pack(root, hostfiles.FORMS[args.form](), channel.sendall, caps,
             reference)
    return 0


def _allow_files():
    # Two for each directory on the way down, of which a path has 2048. The
    # privileged helper has no capability to go beyond its hard limit, which
    # comes from nova-compute's service.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def _open_directory(path):
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW |
                   os.O_CLOEXEC)


if __name__ == '__main__':
    sys.exit(main())
