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

"""Requests to the helper process that make disk images; see server.py."""

import base64
import contextlib
import errno
import fcntl
import os
import signal
import uuid

from nova_containervm.images import confine
from nova_containervm.images import diskfill
from nova_containervm.images import disktree
from nova_containervm.images import errors
from nova_containervm.images import extract
from nova_containervm.images import facts
from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import merge
from nova_containervm.images import mkerofs
from nova_containervm.images import names
from nova_containervm.images import nodes
from nova_containervm.images import spool
from nova_containervm.images import tarread
from nova_containervm.images import tarwrite
from nova_containervm.images import unpack

DISK = 'disk.erofs'
#: What is kept of a layer until the disk is made.
_SPOOL = ('data', 'index', 'facts.json')
#: Most that is read of a file such as /etc/passwd.
READ_LIMIT = 1024 * 1024

#: Longest name, and longest path, that an old mkfs.erofs takes. It adds where
#: the image's root is to the latter.
_NAME_MAX = 254
_PATH_MAX = 3500


class DiskRequests:
    """The part of server.Server that makes disks of layers."""

    def do_spool(self, request, answer):
        """Read the layer that comes through the socket."""
        base = self._open(request['dir'])
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        data, index, known = (os.open(name, flags, 0o600, dir_fd=base)
                              for name in _SPOOL)
        self._enter(base)
        limits = limits_mod.Limits(**request['limits'])
        account = self._ledger.account(request['number'], limits)
        tree = spool.SpoolTree(data, limits)
        source = unpack.Source(unpack.received(answer))
        pump = unpack.Pump(source)
        pump.start()
        result, found = unpack.read(source, pump.output(), tree, limits,
                                    account)
        if found is not None:
            with os.fdopen(index, 'wb') as out:
                nodes.dump(tree.root, out)
            found.save(known)
        return result

    def do_disk(self, request, _answer):
        """Make one disk of a row of layers, lowest first.

        It is left in the directory ``dir``, which is new.
        """
        tool = mkerofs.find(self._mkfs)
        if not tool.reads_tar and not self._confined:
            raise errors.StoreError(
                '%s is too old to be used without privilege; install 1.8.1 '
                'or later of erofs-utils' % tool.path)
        opened = []
        for path in request['layers']:
            base = self._open(path)
            opened.append([self._open_own(name, os.O_RDONLY, base)
                           for name in _SPOOL])
            os.close(base)
        spools = [data for data, _index, _facts in opened]
        base = self._open(request['dir'])
        os.mkdir('work', 0o700, dir_fd=base)
        work = fsutil.open_dir('work', dir_fd=base)
        disk = os.open(DISK, os.O_RDWR | os.O_CREAT | os.O_EXCL
                       | os.O_CLOEXEC, 0o600, dir_fd=base)
        if self._confined:
            os.fchown(disk, *self._owner)
            if tool.reads_tar:
                os.fchown(work, *self._owner)
        program = _Program(tool, request['compression'],
                           str(uuid.UUID(request['uuid'])), disk, work,
                           self._owner if self._confined else None)
        try:
            self._enter(work, whole=not tool.reads_tar)
            # A thread from before would have kept its privilege.
            mkerofs.watch(program.pid, program.log)
            limits = limits_mod.Limits(**request['limits'])
            trees = []
            for number, (_data, index, known) in enumerate(opened):
                with os.fdopen(index, 'rb') as source:
                    trees.append((nodes.load(source, number),
                                  facts.Facts.load(known)))
            root = merge.layers(trees)
            if program.outline is not None:
                contents = tarwrite.outline(root, program.outline)
                _check_room(contents.values(), 'none', work, filled=True)
            else:
                _check_room(_files(root), request['compression'], work)
                if tool.reads_tar:
                    tarwrite.write(root, spools, program.pipe)
                else:
                    _check_names(root, tool)
                    tree = disktree.DiskTree(work, forms.Passthrough(),
                                             limits)
                    extract.Extractor(tree, limits).run(
                        tarwrite.Members(root, spools))
            program.proceed()
        except BrokenPipeError:
            pass  # it has ended, and knows why
        finally:
            problem = program.wait()
        if problem is not None:
            raise problem
        if program.outline is None:
            crc = diskfill.settle(disk, diskfill.CRC)
        else:
            # Its blocks need not reach the host's disk any more.
            os.ftruncate(program.outline, 0)
            crc = diskfill.fill(disk, diskfill.places(
                program.notes, contents, os.fstat(disk).st_size), spools)
        return {**describe(root, spools, request['read']),
                diskfill.CRC: crc, 'bytes': os.fstat(disk).st_size,
                'version': '.'.join(map(str, tool.version))}

    def do_take(self, request, _answer):
        """Make a disk as it was uploaded one of the store's.

        ``size`` is how much of it the answer's second digest is of.
        """
        base = self._open(request['dir'])
        disk = self._open_own(DISK, os.O_RDWR, base)
        if self._confined:
            os.fchown(disk, *self._owner)
        self._enter(base)
        part = diskfill.checksum(disk, diskfill.SHA256,
                                 end=request['size'])
        return {'sha256': diskfill.settle(disk, diskfill.SHA256),
                'filesystem': part}

    def do_check(self, request, _answer):
        """A checksum of a disk, of the kind that is asked for."""
        base = self._open(request['dir'])
        disk = self._open_own(DISK, os.O_RDONLY, base)
        self._enter(base)
        return {'found': diskfill.checksum(disk, request['kind'])}


class _Program:
    """A mkfs.erofs, started while there is the privilege to choose its own.

    It has none, but to read whatever is in the directory if it takes one.

    :param disk: descriptor of its output
    :param work: descriptor of the directory that it takes, or keeps its
        temporary files in
    :param owner: (uid, gid) that it runs as; None: our own
    """

    def __init__(self, tool, compression, identifier, disk, work, owner):
        if compression not in mkerofs.COMPRESSIONS:
            raise errors.StoreError('unknown compression')
        self._tool = tool
        self.log = os.memfd_create('mkfs.erofs')
        #: With a tool that leaves_room(): what tarwrite.outline() has to
        #: write, and what the tool notes of it.
        self.outline = self.notes = None
        out = '/proc/self/fd/%d'
        source = notes = None
        if tool.leaves_room(compression):
            self.outline = os.open('outline', os.O_RDWR | os.O_CREAT
                                   | os.O_EXCL | os.O_CLOEXEC, 0o600,
                                   dir_fd=work)
            self.notes = os.memfd_create('places')
            notes = out % self.notes
        elif not tool.reads_tar:
            source = out % work
        args = tool.arguments(out % disk, compression, identifier, source,
                              notes)
        stdin, self.pipe = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.pipe, fcntl.F_SETPIPE_SZ, 1 << 20)
        self._proceeds = False
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.pipe)
                self._execute(args, stdin, disk, work, owner)
            except OSError as exc:
                os.write(self.log, str(exc).encode())
            finally:
                os._exit(126)
        os.close(stdin)

    def _execute(self, args, stdin, disk, work, owner):
        """In the child: become mkfs.erofs once there is input."""
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        keep, kept = (), [disk, work]
        if not self._tool.reads_tar:
            keep = confine.READ_CAPABILITIES
        if owner is not None:
            confine.become(*owner, keep)
        if self._waits and not os.read(stdin, 1):
            os._exit(125)
        if self.outline is not None:
            stdin = self.outline
            kept.append(self.notes)
        os.dup2(stdin, 0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(self.log, 2)
        for fd in kept:
            os.set_inheritable(fd, True)
        os.chdir('/')
        os.execve(args[0], args, mkerofs.environment(
            '/proc/self/fd/%d' % work))

    def proceed(self):
        """Its input is there."""
        if self._waits:
            os.write(self.pipe, b'x')
        self._proceeds = True

    @property
    def _waits(self):
        """Whether its input has to be complete before it begins."""
        return self.outline is not None or not self._tool.reads_tar

    def wait(self):
        """Wait for its end.

        :returns: None, or the StoreError of what went wrong
        """
        os.close(self.pipe)
        _pid, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0 and self._proceeds:
            return None
        said = os.pread(self.log, 20000, 0).decode('utf-8', 'replace')
        if 'No space left' in said or os.strerror(errno.EDQUOT) in said:
            return errors.NoSpace('no space left in the image store')
        return errors.StoreError('%s failed (%d): %s' % (
            self._tool.path, code, said.strip()[-1000:]))


def _files(root):
    """Yield the regular files of a merged tree."""
    for _path, node, link in tarwrite.walk(root):
        if link is None and node.kind == tarread.REG:
            yield node


def _check_room(files, compression, work, filled=False):
    """Refuse to begin what cannot end: mkfs.erofs says something else then.

    It needs room for a copy of all contents besides the disk itself.

    :param files: nodes
    :param filled: the contents go from the spools to the disk
    """
    sizes = [node.size for node in files]
    needed = 0 if filled else sum(sizes)
    if compression == 'none':
        needed += sum(size + -size % diskfill.EROFS_BLOCK for size in sizes)
    found = os.fstatvfs(work)
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise errors.NoSpace(
            'no space left in the image store: %d MiB are free, and to make '
            'the disk of this image takes %d more' % (
                free >> 20, (needed - free >> 20) + 1))


def _check_names(root, tool):
    """Refuse what a mkfs.erofs that reads directories cannot do."""
    for path, _node, _link in tarwrite.walk(root):
        if len(path.rpartition(b'/')[2]) > _NAME_MAX or len(path) > _PATH_MAX:
            raise errors.Unsupported(
                'the name %s is too long for the mkfs.erofs of this compute '
                'host, %s; 1.8.1 or later can do it, or choose another '
                'transport' % (errors.quote(path, 60),
                               '.'.join(map(str, tool.version))))


def describe(root, spools, wanted):
    """What the store keeps of a merged tree.

    :param root: what merge.layers() returns
    :param spools: open descriptors of the layers' contents, by number
    :param wanted: paths of files, whose contents are in ``files`` then
    """
    entries, size, caps = 0, 0, []
    for path, node, link in tarwrite.walk(root):
        entries += 1
        if link is None:
            size += node.size
        if node.xattrs and forms.CAPABILITY in node.xattrs:
            caps.append((names.text(path),
                         node.xattrs[forms.CAPABILITY].hex()))
    files = {}
    for path in wanted:
        real = nodes.resolve(root, names.raw(path))
        node = nodes.find(root, real) if real else None
        if (node is not None and node.kind == tarread.REG
                and node.size <= READ_LIMIT):
            files[path] = base64.b64encode(os.pread(
                spools[node.spool], node.size, node.start)).decode()
    return {'entries': entries, 'size': size, 'caps': caps, 'files': files}
