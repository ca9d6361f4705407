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

"""nova-compute's end of the helper process: starts it, feeds it layers."""

import array
import contextlib
import importlib.util
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading

from nova_containervm.images import errors

LOG = logging.getLogger(__name__)

#: Most that an answer of the helper may have, in bytes.
MAX_ANSWER = 8 * 1024 * 1024
_RECV = 256 * 1024
#: What may be on its way to a helper that is busy, in bytes.
_BUFFER = 1024 * 1024
START_TIMEOUT = 60
#: Names of sessions.
NAME = re.compile(r'[0-9a-f]{1,16}-[0-9a-f]{12}')
#: What runs in the helper: where our package is, and where a module for zstd
#: is (or nothing), come as arguments. Its module path has nothing else (-I),
#: and what an environment runs at each start of Python takes no time (-S).
BOOT = ('import sys; sys.path += filter(None, sys.argv[1:3]); '
        'del sys.argv[1:3]; '
        'from nova_containervm.images import server; '
        'sys.exit(server.main())')


def command(root, form, owner, *more):
    """Argument list of a helper process."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    zstd = importlib.util.find_spec('zstandard')
    place = zstd.origin if zstd is not None else None
    if place is not None:
        place = os.path.dirname(os.path.dirname(os.path.abspath(place)))
    return [sys.executable, '-I', '-S', '-c', BOOT, package, place or '',
            '--root', root, '--form', form, '--uid', str(owner[0]), '--gid',
            str(owner[1]), *more]


class Task:
    """A request under way, and its answer."""

    def __init__(self, sock):
        self._sock = sock
        self._failed = False

    def feed(self, chunk):
        """Send data; quietly nothing once the helper has given up."""
        if not self._failed:
            try:
                self._sock.sendall(chunk)
            except (BrokenPipeError, ConnectionResetError):
                self._failed = True
        return not self._failed

    def finish(self):
        """No more data will come."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def result(self):
        """Wait for the answer.

        :raises ImageError, StoreError: what the helper found
        """
        self.finish()
        parts, size = [], 0
        try:
            while size < MAX_ANSWER:
                data = self._sock.recv(1 << 16)
                if not data:
                    break
                parts.append(data)
                size += len(data)
        except ConnectionResetError:
            pass
        finally:
            self._sock.close()
        try:
            answer = json.loads(b''.join(parts))
        except ValueError:
            raise errors.HelperDied(
                'the process that unpacks images died; was it killed, for '
                'instance for want of memory? See the log of the host')
        if 'error' in answer:
            raise errors.from_dict(answer)
        return answer

    def abandon(self):
        """Not interested any more; the helper's child will notice."""
        self._sock.close()


class Session:
    """One helper process, for the time of one image.

    :param root: absolute path of the store
    :param form: name of the access mode
    :param owner: (uid, gid) of the files of images
    :param launch: None to run the helper as ourselves, or a function
        launch(root, name, form, uid, gid) that starts it with privilege and
        has it connect to ``tmp/<name>/s``; see privsep/unpack.py
    :param name: directory in tmp/ of this session
    :param options: more arguments for a helper that runs as ourselves
    """

    def __init__(self, root, form, owner, launch, name, options=()):
        self._control = None
        if launch is None:
            self._start_plain(root, form, owner, options)
        else:
            self._start_privileged(root, form, owner, launch, name)

    def _start_plain(self, root, form, owner, options):
        ours, theirs = socket.socketpair(socket.AF_UNIX,
                                         socket.SOCK_SEQPACKET)
        with theirs:
            args = command(root, form, owner, '--fd', str(theirs.fileno()),
                           *options)
            self._process = subprocess.Popen(
                args, stdin=subprocess.DEVNULL, cwd='/',
                pass_fds=[theirs.fileno()])
        self._control = ours

    def _start_privileged(self, root, form, owner, launch, name):
        self._process = None
        place = os.open(os.path.join(root, 'tmp', name),
                        os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX,
                               socket.SOCK_SEQPACKET) as listener:
                os.fchmod(listener.fileno(), 0o600)
                # A process that was killed here before has left its own.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink('s', dir_fd=place)
                # Short, however long the store's path is.
                listener.bind('/proc/self/fd/%d/s' % place)
                try:
                    listener.listen(1)
                    listener.settimeout(START_TIMEOUT)
                    launch(root, name, form, *owner)
                    self._control, _address = listener.accept()
                finally:
                    os.unlink('s', dir_fd=place)
        except TimeoutError:
            raise errors.HelperDied('the process that unpacks images did not '
                                    'start')
        finally:
            os.close(place)
        self._control.settimeout(None)
        peer = array.array('i', self._control.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if peer[1] not in (0, os.geteuid()):
            raise errors.StoreError('user %d answers in place of the process '
                                    'that unpacks images' % peer[1])

    def hold(self, fd):
        """Have the helper keep *fd* open (a lock) for as long as it lives."""
        socket.send_fds(self._control, [b'hold'], [fd])

    def request(self, op, fds=(), **arguments):
        """Start an operation of server.Server.

        :param fds: descriptors that it needs
        :returns: Task
        """
        ours, theirs = socket.socketpair()
        # With the usual 208 KiB both ends wait for each other all the time.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        try:
            data = json.dumps({'op': op, **arguments}).encode()
            socket.send_fds(self._control, [data], [theirs.fileno(), *fds])
        except OSError as exc:
            ours.close()
            raise errors.HelperDied('the process that unpacks images is gone '
                                    '(%s)' % exc)
        finally:
            theirs.close()
        return Task(ours)

    def close(self):
        """End the helper; operations under way notice by themselves."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(START_TIMEOUT)
            except subprocess.TimeoutExpired:
                LOG.warning('Process %d, which unpacks images, does not end',
                            self._process.pid)


class Decompressor:
    """Has the helper decompress a stream, as it comes.

    Not here: some streams want 128 MiB of memory, and what reads untrusted
    data is better off without privilege.

    :param session: the Session
    :param directory: an empty one of the store, to shut the helper into
    :param kind: see stream.decompress
    :param chunks: iterable of bytes; used in a thread
    """

    def __init__(self, session, directory, kind, chunks):
        self._chunks = chunks
        self._error = None
        self._out, theirs = socket.socketpair()
        with theirs:
            self._task = session.request('decompress', [theirs.fileno()],
                                         dir=directory, kind=kind)
        self._feeder = threading.Thread(target=self._feed, daemon=True,
                                        name='containervm-decompress')

    def _feed(self):
        try:
            for chunk in self._chunks:
                if not self._task.feed(chunk):
                    break
        except BaseException as exc:
            self._error = exc
        finally:
            self._chunks = None
            self._task.finish()

    def output(self):
        """Yield what the stream unpacks to.

        :raises ImageError: it does not
        :raises: what the chunks raise
        """
        self._feeder.start()
        try:
            while data := self._out.recv(_RECV):
                yield data
        except ConnectionResetError:
            pass
        finally:
            self._out.close()
        self._feeder.join()
        if self._error is not None:
            self._task.abandon()
            raise self._error
        self._task.result()
