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

"""The helper process that touches the files of images.

It is started once for an image, with privilege where there is one to give
up, and takes requests from nova-compute on a socket. Each request is served
by a child of its own, which shuts itself into the one directory that it
works on (confine.py) before it looks at any data.

Everything the children use is imported here, before they lose the file
system from which to import it.
"""

import argparse
import encodings.idna  # noqa: F401  imported before the chroot
import errno
import gc
import json
import os
import re
import resource
import signal
import socket
import stat
import sys
import traceback

from nova_containervm.images import confine
from nova_containervm.images import diskserver
from nova_containervm.images import errors
from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import mkerofs
from nova_containervm.images import overlay
from nova_containervm.images import stream
from nova_containervm.images import unpack
from nova_containervm.images import verify

#: Directories below the store's root that a request may name.
_DIR = re.compile(r'(tmp/[0-9a-zA-Z_-]{1,64}(/[a-z][0-9]{1,6})?'
                  r'|layers/[0-9a-f]{16})')
MAX_REQUEST = 256 * 1024
#: Files that a view of many deep layers opens at a time.
_OPEN_FILES = 65536
#: verify() holds a layer's whole manifest.
_VERIFY_MEMORY = 4 * limits_mod.MEMORY


def open_below(root_fd, path):
    """Open a directory of the store by its relative path.

    :raises StoreError: for a path that no request has reason to name
    """
    if not _DIR.fullmatch(path):
        raise errors.StoreError('not a directory of the store: %s' % path)
    fd = os.dup(root_fd)
    for part in path.split('/'):
        try:
            child = fsutil.open_dir(part, dir_fd=fd)
        finally:
            os.close(fd)
        fd = child
    return fd


def open_own(name, flags, dir_fd):
    """Open a plain file of the store that goes by no other name.

    A second name could be that of a file outside, put here for us to write.
    """
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                 dir_fd=dir_fd)
    st = os.fstat(fd)
    if not stat.S_ISREG(st.st_mode) or st.st_nlink != 1:
        os.close(fd)
        raise errors.StoreError('%s in the store is no plain file' % name)
    return fd


class Server(diskserver.DiskRequests):
    """Serves requests until the other end goes away.

    :param root: absolute path of the store
    :param form: name of the access mode
    :param owner: (uid, gid) that files of images belong to
    :param confined: drop privileges and chroot; False when there are none
    :param mkfs: name or path of mkfs.erofs
    """

    def __init__(self, root, form, owner, confined, mkfs=mkerofs.COMMAND):
        self._root = fsutil.open_dir(root)
        self._form = forms.FORMS[form]()
        self._owner = owner
        self._confined = confined
        self._mkfs = mkfs
        self._ledger = limits_mod.Ledger()

    def serve(self, control):
        """:param control: connected SOCK_SEQPACKET socket"""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        kept = []  # lock files: held as long as anybody has them open
        while True:
            try:
                data, fds, _flags, _addr = socket.recv_fds(
                    control, MAX_REQUEST, 4)
            except ConnectionResetError:
                return
            if not data:
                return
            if data == b'hold':
                kept.extend(fds)
                continue
            pid = os.fork()
            if pid == 0:
                control.close()
                self._child(data, fds)
            for fd in fds:
                os.close(fd)

    def _child(self, data, fds):
        """Serve one request and exit."""
        status = 1
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # To look for cycles among as many objects as an image has files
            # takes a tenth of the time; the process ends soon enough.
            gc.disable()
            # The thread that receives waits for that long, five times less
            # than is usual, while the other one is busy.
            sys.setswitchinterval(0.001)
            answer = socket.socket(fileno=fds[0])
            try:
                request = json.loads(data)
                handler = getattr(self, 'do_' + request['op'])
                result = handler(request, answer, *fds[1:])
            except BaseException as exc:
                result = describe(exc)
            try:
                answer.sendall(json.dumps(result).encode())
            except OSError:
                pass  # nobody waits for it any more
            answer.close()
            status = 0
        finally:
            os._exit(status)

    def _open(self, path):
        return open_below(self._root, path)

    _open_own = staticmethod(open_own)

    def _enter(self, fd, keep=None, memory=None, whole=False):
        """Make the open directory our world, and that of its files.

        :param keep: capabilities; None: what the files need
        :param whole: files of all kinds are made or removed here
        :param memory: most that we may have, in bytes
        """
        memory = memory or limits_mod.MEMORY
        if self._confined:
            uid, gid = self._owner
            if whole or self._form.name == 'passthrough':
                uid = gid = 0
                if keep is None:
                    keep = confine.FILE_CAPABILITIES
            confine.enter(fd, uid, gid, keep or ())
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        os.umask(0o077)

    def do_extract(self, request, answer):
        """Unpack the layer that comes through the socket."""
        base = open_below(self._root, request['dir'])
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        record = os.open('manifest', flags, 0o644, dir_fd=base)
        facts = os.open('facts.json', flags, 0o644, dir_fd=base)
        os.mkdir('tree', 0o700, dir_fd=base)
        tree = fsutil.open_dir('tree', dir_fd=base)
        if self._confined and self._form.name == 'mapped':
            os.fchown(tree, *self._owner)
        os.close(base)
        self._enter(tree)
        limits = limits_mod.Limits(**request['limits'])
        return unpack.layer(answer, tree, self._form, limits,
                            self._ledger.account(request['number'], limits),
                            record, facts)

    def do_decompress(self, request, answer, out):
        """Write to *out* what comes through the socket, decompressed."""
        self._enter(open_below(self._root, request['dir']), keep=())
        try:
            for chunk in stream.decompress(request['kind'],
                                           unpack.received(answer)):
                fsutil.write_all(out, chunk)
        except BrokenPipeError:
            pass  # who has found something wrong needs no more of it
        return {}

    def do_finish(self, request, _answer):
        """Make a row of layers, lowest first, fit on top of each other."""
        layers = []
        for item in request['layers']:
            base = open_below(self._root, item['dir'])
            layer = overlay.Layer(item['dir'], new=item['new'])
            layer.facts = open_own(
                'facts.json', os.O_RDWR if item['new'] else os.O_RDONLY,
                base)
            if item['new']:
                layer.record = open_own('manifest',
                                        os.O_WRONLY | os.O_APPEND, base)
            if item.get('copy_of'):
                layer.copy_of = item['copy_of']
                os.mkdir('tree', 0o700, dir_fd=base)
                if self._confined and self._form.name == 'mapped':
                    os.chown('tree', *self._owner, dir_fd=base,
                             follow_symlinks=False)
            layers.append(layer)
            os.close(base)
        self._enter(self._root)
        result = overlay.finish(self._root, layers, self._form,
                                request['read'])
        if request.get('sync', True):
            # A nova-compute that has not been restarted since an upgrade
            # relies on it.
            confine.sync_filesystem(self._root)
        return result

    def do_sync(self, _request, _answer):
        """Make all durable that has been written to the store so far."""
        self._enter(self._root, keep=())
        confine.sync_filesystem(self._root)
        return {}

    def do_empty(self, request, _answer):
        """Remove all that is in a layer's tree; the empty tree/ stays.

        Its ``name`` is another one only where somebody has moved things.
        """
        base = open_below(self._root, request['dir'])
        name = request['name']
        if '/' in name or name in ('', '.', '..'):
            raise errors.StoreError('not a directory of the store')
        try:
            tree = fsutil.open_dir(name, dir_fd=base)
        except FileNotFoundError:
            return {}
        self._enter(tree, whole=self._form.name == 'block')
        for _attempt in range(50):
            try:
                fsutil.empty_dir(tree)
                break
            except OSError as exc:
                # An unpacker that has lost nova-compute may still be at it.
                if exc.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                    raise
        return {}

    def do_verify(self, request, _answer):
        """Compare a layer with its manifest."""
        base = open_below(self._root, request['dir'])
        record = open_own('manifest', os.O_RDONLY, base)
        tree = fsutil.open_dir('tree', dir_fd=base)
        self._enter(tree, memory=_VERIFY_MEMORY)
        return {'problems': verify.compare(record, tree, self._form)}


def describe(exc):
    """An exception as a dictionary, see errors.from_dict."""
    if isinstance(exc, errors.ImageError | errors.StoreError):
        return exc.to_dict()
    if isinstance(exc, OSError):
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return errors.NoSpace(
                'no space left in the image store (%s)'
                % os.strerror(exc.errno)).to_dict()
        if exc.errno == errno.EPERM and os.geteuid() == 0:
            return errors.StoreError(
                'the unpacking process lacks a privilege: %s; is [containervm'
                '_privsep] run as root?' % exc).to_dict()
        if exc.errno == errno.EMFILE:
            return errors.StoreError(
                'the process that unpacks images may open only %d files; '
                'raise the limit of nova-compute (LimitNOFILE)'
                % resource.getrlimit(resource.RLIMIT_NOFILE)[0]).to_dict()
    if isinstance(exc, MemoryError):
        return errors.LimitExceeded(
            'it takes over %d MiB of memory to unpack the image: its names '
            'are too many and too long' % (
                limits_mod.MEMORY // limits_mod.MIB)).to_dict()
    lines = traceback.format_exception(exc)
    return errors.StoreError('unpacking failed: %s' % ''.join(
        lines[-4:])).to_dict()


def main(argv=None):
    """Entry point of the helper process; see session.py for the other end.

    With --socket the process connects there and leaves its parent at once.
    """
    parser = argparse.ArgumentParser(prog='nova-containervm-unpack')
    parser.add_argument('--root', required=True)
    parser.add_argument('--form', required=True, choices=sorted(forms.FORMS))
    parser.add_argument('--uid', type=int, required=True)
    parser.add_argument('--gid', type=int, required=True)
    parser.add_argument('--mkfs', default=mkerofs.COMMAND)
    parser.add_argument('--session')
    parser.add_argument('--fd', type=int)
    args = parser.parse_args(argv)
    confined = os.geteuid() == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > _OPEN_FILES:
        hard = _OPEN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), max(
        soft, hard)))
    server = Server(args.root, args.form, (args.uid, args.gid), confined,
                    args.mkfs)
    if args.fd is not None:
        control = socket.socket(fileno=args.fd)
    else:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A Unix socket's path is 107 bytes at most; a descriptor's is short.
        where = open_below(server._root, 'tmp/' + args.session)
        control.connect('/proc/self/fd/%d/s' % where)
        os.close(where)
        if os.fork():
            os._exit(0)
        os.setsid()
        # Who started us waits until our error output is closed.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    server.serve(control)
    # Who has closed the other end waits, and nothing is left to tidy up.
    os._exit(0)


if __name__ == '__main__':
    sys.exit(main())
