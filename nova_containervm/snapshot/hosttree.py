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


"""Layers of what lies in directories of this host; see pack.py."""

import array
import contextlib
import json
import os
import socket
import subprocess
import sys

from nova_containervm.snapshot import errors
from nova_containervm.snapshot import frames

START_TIMEOUT = 60
#: A disk may be busy, but not so long.
READ_TIMEOUT = 600
#: What runs in the process: the package's parent directory comes as argument,
#: since -I keeps everything else off the module path.
_BOOT = ('import sys; sys.path.insert(0, sys.argv.pop(1)); '
         'from nova_containervm.snapshot import pack; sys.exit(pack.main())')


def command(directory, tree, reference, form, uid, gid):
    """Argument list of the process that reads a directory."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    line = [sys.executable, '-I', '-c', _BOOT, package,
            '--directory', directory, '--tree', tree, '--form', form,
            '--uid', str(uid), '--gid', str(gid)]
    return line + (['--reference', reference] if reference else [])


def start(directory, tree, reference, form, uid, gid):
    """Start the process as who we are.

    :raises errors.LayerFailed: it did not start
    """
    done = subprocess.run(
        command(directory, tree, reference, form, uid, gid),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, cwd='/', env={'PATH': os.defpath,
                                              'LC_ALL': 'C.UTF-8'},
        start_new_session=True, timeout=START_TIMEOUT, check=False)
    if done.returncode:
        raise errors.LayerFailed(
            reason='the process that reads %s did not start: %s' % (
                tree, done.stderr.decode('utf-8', 'replace')[-2000:]))


class _SocketChannel:
    """frames.Channel of a socket."""

    def __init__(self, sock):
        self._sock = sock

    def receive(self, size):
        try:
            return self._sock.recv(size)
        except (ConnectionResetError, TimeoutError):
            return b''

    def send(self, data):
        self._sock.sendall(data)


@contextlib.contextmanager
def reading(directory, tree, form, owner, *, launch=start, reference=None,
            caps=()):
    """Have a directory read as a layer.

    :param directory: for the socket; ours
    :param tree: what to read, an absolute path
    :param form: its access mode
    :param owner: user and group that its files belong to if ``mapped``
    :param launch: starts the process, with what :func:`start` takes
    :param reference: directory that ``tree`` was a copy of; None for an
        overlay's upper directory and for a layer of the image store
    :param caps: (path, security.capability in hex) of files that have none
        here
    :yields: a frames.LayerReader
    :raises errors.LayerError: it cannot be read
    """
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            os.fchmod(listener.fileno(), 0o600)
            listener.bind('/proc/self/fd/%d/s' % place)
            try:
                listener.listen(1)
                listener.settimeout(START_TIMEOUT)
                launch(directory, tree, reference, form, *owner)
                channel, _address = listener.accept()
            finally:
                os.unlink('s', dir_fd=place)
    except TimeoutError:
        raise errors.LayerLost()
    finally:
        os.close(place)
    with channel:
        peer = array.array('i', channel.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if peer[1] not in (0, os.geteuid()):
            raise errors.LayerFailed(
                reason='user %d answers in place of the process that reads '
                'it' % peer[1])
        channel.settimeout(READ_TIMEOUT)
        job = json.dumps({'caps': list(caps)})
        channel.sendall(job.encode() + b'\n')
        yield frames.LayerReader(_SocketChannel(channel))
