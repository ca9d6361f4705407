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


"""A snapshot's directory on this host, and what a killed one has left there.

``<snapshots_directory>/containervm-<server>-<random>/`` holds copies, mounts
and notes of what has been done to the server. When nova-compute starts again,
it undoes what the notes say.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import types

from nova import exception
from nova.virt.libvirt import host as libvirt_host
from oslo_concurrency import processutils
from oslo_log import log as logging
from oslo_utils import fileutils

from nova_containervm import conf
from nova_containervm.privsep import mounts
from nova_containervm.snapshot import diskcopy
from nova_containervm.snapshot import exportvm

CONF = conf.CONF
LOG = logging.getLogger(__name__)

_NAME = re.compile(r'containervm-([0-9a-f-]{36})-\w+')

FROZEN = 'frozen'
PAUSED = 'paused'
COPYING = 'copying'
ROOTFS = 'rootfs'


class Workspace:
    """The directory of one snapshot.

    :param path: absolute
    """

    def __init__(self, path: str):
        self.path = path
        self._lock: int | None = None

    def file(self, name: str) -> str:
        """Absolute path of a file in it."""
        return os.path.join(self.path, name)

    def lock(self) -> bool:
        """Take it, for as long as this process lives.

        :returns: False if it is another's
        """
        self._lock = os.open(self.file('lock'),
                             os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            return False
        return True

    @contextlib.contextmanager
    def noted(self, name):
        """Keep a note, until what it says is undone."""
        with open(self.file(name), 'w'):
            pass
        yield
        os.unlink(self.file(name))

    def has(self, name: str) -> bool:
        """Whether there is a note."""
        return os.path.exists(self.file(name))

    def remove(self):
        """Remove it with everything in it.

        :raises OSError, processutils.ProcessExecutionError: it is in use
        """
        if os.path.isdir(self.file(ROOTFS)):
            mounts.unmount(self.file(ROOTFS))
        shutil.rmtree(self.path)
        if self._lock is not None:
            os.close(self._lock)


@contextlib.contextmanager
def made(uuid):
    """The workspace of a new snapshot of a server."""
    fileutils.ensure_tree(CONF.libvirt.snapshots_directory)
    space = Workspace(tempfile.mkdtemp(
        prefix='containervm-%s-' % uuid,
        dir=CONF.libvirt.snapshots_directory))
    space.lock()
    # QEMU's user has to get through, to what it is told the name of.
    os.chmod(space.path, 0o711)
    try:
        yield space
    finally:
        try:
            space.remove()
        except (OSError, processutils.ProcessExecutionError) as e:
            # The next start of the service does it.
            LOG.warning('%(path)s cannot be removed yet: %(error)s',
                        {'path': space.path, 'error': e})


def sweep(host):
    """Undo and remove what snapshots that were killed have left.

    :param host: Nova's libvirt Host
    """
    try:
        names = os.listdir(CONF.libvirt.snapshots_directory)
    except FileNotFoundError:
        return
    for name in names:
        match = _NAME.fullmatch(name)
        space = Workspace(os.path.join(CONF.libvirt.snapshots_directory,
                                       name))
        if not match or not space.lock():
            continue
        LOG.warning('A snapshot of server %s was broken off; what it has left '
                    'is removed', match[1])
        _end_export(host, match[1])
        _undo(host, space, match[1])
        try:
            space.remove()
        except (OSError, processutils.ProcessExecutionError) as e:
            LOG.warning('%(path)s cannot be removed: %(error)s',
                        {'path': space.path, 'error': e})


def _end_export(host, uuid):
    # It ends with the connection of the process that was killed, but libvirt
    # may not have noticed yet.
    try:
        host.get_connection().lookupByName(
            exportvm.PREFIX + uuid).destroy()
    except libvirt_host.libvirt.libvirtError:
        LOG.debug('No export of server %s runs', uuid)


def _undo(host, space, uuid):
    """Let a server go on that the snapshot has held up."""
    try:
        guest = host.get_guest(types.SimpleNamespace(uuid=uuid))
        if space.has(COPYING):
            diskcopy.abort(guest)
        if space.has(FROZEN):
            guest.thaw_filesystems()
        if space.has(PAUSED):
            guest.resume()
    except exception.InstanceNotFound:
        LOG.debug('Server %s is gone', uuid)
    except libvirt_host.libvirt.libvirtError as e:
        LOG.warning('Server %(uuid)s, which a snapshot has held up, cannot '
                    'be let go on: %(error)s', {'uuid': uuid, 'error': e})
