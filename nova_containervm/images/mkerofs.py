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

"""mkfs.erofs: what the installed one can, and how it is called.

From version 1.8.1 on it reads a tar archive from its standard input, with
owners, modes, devices and attributes in it, and so needs no privilege. What
1.7 has of that damages images of over 4 GiB; older ones have nothing: they
take a directory, whose files must be what the image says that they are.
"""

import dataclasses
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import uuid

from nova_containervm.images import diskfill
from nova_containervm.images import errors
from nova_containervm.images import nodes
from nova_containervm.images import tarread
from nova_containervm.images import tarwrite

COMMAND = 'mkfs.erofs'
COMPRESSIONS = ('none', 'lz4')

#: Of the file system, at offset 1024.
MAGIC = b'\xe2\xe1\xf5\xe0'
MAGIC_OFFSET = 1024

_OLDEST = (1, 4)
_READS_TAR = (1, 8, 1)
_PACKAGE = 'the package erofs-utils (1.8.1 or later is best)'
_TIMEOUT = 30
#: How often watch() looks, and how long a program may live that has told of an
#: error, in milliseconds
_LOOK_EACH = 1000
_GRACE = 5000


@dataclasses.dataclass(frozen=True)
class Tool:
    """One mkfs.erofs.

    :param path: absolute
    :param version: as numbers
    """

    path: str
    version: tuple[int, ...]

    @property
    def reads_tar(self) -> bool:
        """Whether it makes an image of a tar stream."""
        return self.version >= _READS_TAR

    def leaves_room(self, compression) -> bool:
        """Whether it can lay out a disk without the contents of files."""
        return self.reads_tar and compression == 'none'

    def arguments(self, output, compression, uuid, source=None, places=None):
        """Its argument list.

        :param output: path of the image
        :param compression: of COMPRESSIONS
        :param uuid: of the file system
        :param source: a directory; None: a tar stream on standard input
        :param places: with leaves_room(): path of the file in which it notes
            where contents have to go; see diskfill.py
        """
        # With the ends of files beside their inodes the disk is a tenth
        # smaller. But the kernel reads inodes a page at a time, and a page
        # then holds only a few.
        args = [self.path, '--quiet', '-U', uuid, '-Enoinline_data']
        if compression != 'none':
            args.append('-z' + compression)
        if places is not None:
            args += ['--tar=f,' + places, '--clean=rvsp']
        elif source is None:
            args.append('--tar=f')
        args.append(output)
        if source is not None:
            args.append(source)
        return args


def probe(tool, compression, work):
    """Make a small image, to find out whether it works.

    :param work: an empty directory
    :raises StoreError: it does not
    """
    root = nodes.directory()
    root.children[b'file'] = _sample(tarread.REG)
    root.children[b'device'] = _sample(tarread.CHR)
    output = os.path.join(work, 'image')
    source = notes = None
    with open(os.path.join(work, 'archive'), 'w+b') as archive:
        if tool.leaves_room(compression):
            notes = os.path.join(work, 'places')
            root.children[b'file'].size = 1
            contents = tarwrite.outline(root, archive.fileno())
        elif tool.reads_tar:
            tarwrite.write(root, [], archive.fileno())
            archive.seek(0)
        else:
            source = os.path.join(work, 'tree')
            os.mkdir(source)
        args = tool.arguments(output, compression, str(uuid.UUID(int=1)),
                              source, notes)
        try:
            done = subprocess.run(args, stdin=archive, capture_output=True,
                                  timeout=_TIMEOUT, env=environment(work),
                                  check=False)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise errors.StoreError('%s cannot be run: %s' % (tool.path, exc))
    magic = b''
    if done.returncode == 0:
        with open(output, 'rb') as image:
            magic = image.read()[MAGIC_OFFSET:MAGIC_OFFSET + len(MAGIC)]
    if magic != MAGIC:
        raise errors.StoreError('%s fails (%d): %s' % (
            ' '.join(args), done.returncode,
            done.stderr.decode('utf-8', 'replace').strip()[-500:]))
    if notes is not None:
        with open(notes, 'rb') as said:
            diskfill.places(said.fileno(), contents, os.stat(output).st_size)


def watch(pid, log):
    """Have a mkfs.erofs ended that has failed and does not end itself.

    When a thread of version 1.8's cannot write, for want of room for
    instance, the others wait for it for ever.

    :param pid: of a child that has not been waited for
    :param log: descriptor of the file that its standard error goes to; it is
        told to be quiet, so that errors are all that it says
    """
    alive = os.pidfd_open(pid)
    # Who has waited for the program may close the file at once.
    log = os.dup(log)
    ended = select.poll()
    ended.register(alive, select.POLLIN)

    def look():
        while not ended.poll(_LOOK_EACH):
            if os.fstat(log).st_size and not ended.poll(_GRACE):
                try:
                    signal.pidfd_send_signal(alive, signal.SIGKILL)
                except PermissionError:
                    break  # an old one, to which privilege was left
        os.close(alive)
        os.close(log)

    threading.Thread(target=look, daemon=True,
                     name='containervm-mkfs').start()


def _sample(kind):
    node = nodes.Node(kind, 0o4755, 1, 2, 3)
    if kind == tarread.REG:
        node.xattrs = {b'security.capability': bytes.fromhex(
            '0100000200200000000000000000000000000000')}
    else:
        node.major, node.minor = 1, 3
    return node


def environment(temporary):
    """Its environment; it keeps the files of a tar in *temporary*."""
    return {'PATH': os.defpath, 'LC_ALL': 'C.UTF-8', 'TMPDIR': temporary}


def find(command=COMMAND):
    """The installed mkfs.erofs.

    :param command: its name or path
    :raises StoreError: there is none, or it is too old
    """
    path = shutil.which(command, path=os.environ.get('PATH', '')
                        + ':/usr/sbin:/sbin:/usr/local/sbin')
    if path is None:
        raise errors.StoreError(
            'the program %s is not installed; install %s' % (
                command, _PACKAGE))
    try:
        done = subprocess.run([path, '-V'], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=_TIMEOUT,
                              env=environment('/tmp'), check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise errors.StoreError('%s cannot be run: %s' % (path, exc))
    found = re.search(rb'(\d+)\.(\d+)(?:\.(\d+))?', done.stdout + done.stderr)
    if found is None:
        raise errors.StoreError('%s does not tell its version; install %s'
                                % (path, _PACKAGE))
    version = tuple(int(n) for n in found.groups() if n is not None)
    if version < _OLDEST:
        raise errors.StoreError('%s is version %s, which is too old; install '
                                '%s' % (path, '.'.join(map(str, version)),
                                        _PACKAGE))
    return Tool(os.path.abspath(path), version)
