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

"""Turns what guests report into server metadata and power state.

libvirt says that a domain has stopped, and Nova acts on it 15 seconds later,
in case it is about to start again. A guest that has reported its container's
end does not start again, so Nova is told at once.
"""

import os
import threading
import time

from nova.compute import power_state
from nova.compute import vm_states
import nova.context
from nova import exception
from nova import objects
import nova.privsep.path
from nova.virt import event as virtevent
from oslo_log import log as logging
from oslo_utils import uuidutils

from nova_containervm import conf
from nova_containervm.guest import status as guest_status
from nova_containervm import record

CONF = conf.CONF
LOG = logging.getLogger(__name__)

INTERVAL = 1.0
FILE = 'status.log'

# virtlogd's max_backups; what is not there is not missed
ROTATED = 3

# A tenant may have its guest report without end. Each report read costs the
# database, so after some of them in a row a server has to wait, for less than
# anybody would notice.
BURST = 10
SPACING = 3.0


def status_path(instance_dir: str) -> str:
    """The file that the guest of a server writes its reports to."""
    return os.path.join(instance_dir, record.DIRECTORY, FILE)


def files(path: str) -> list[str]:
    """The files that reports of a guest are in, the newest first.

    libvirt's log daemon starts a new one when one is full.
    """
    return [path] + ['%s.%d' % (path, i) for i in range(ROTATED)]


def read_reports(path: str) -> bytes:
    """Read the last reports of a guest, as they are.

    :raises OSError: the file is missing
    """
    data = _tail(path, guest_status.READ_MAX)
    if len(data) < guest_status.READ_MAX:
        try:
            data = _tail(files(path)[1],
                         guest_status.READ_MAX - len(data)) + data
        except FileNotFoundError:
            pass
    return data


def read_status(path: str) -> guest_status.Status:
    """Read the last reports of a guest.

    :raises OSError: the file is missing
    """
    return guest_status.parse(read_reports(path))


def _tail(path: str, size: int) -> bytes:
    try:
        with open(path, 'rb') as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - size))
            return f.read(size)
    except PermissionError:
        # virtlogd has made the file, so it is root's
        data, _rest = nova.privsep.path.last_bytes(path, size)
        return data


class StatusWatcher:
    """Watches the status files of all servers on this host.

    Files are looked at once a second rather than through inotify, because
    nova-compute may run with eventlet, where a blocking read stops it all.

    :param host: Nova's libvirt Host
    :param emit_event: passes a lifecycle event to the compute manager
    """

    def __init__(self, host, emit_event):
        self._host = host
        self._emit_event = emit_event
        self._seen: dict[str, tuple] = {}
        # How often a server's reports may still be read, as of when
        self._budget: dict[str, tuple[float, float]] = {}
        self._ending: set[str] = set()
        self._restoring: dict[str, str] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self):
        """Start watching, in a thread of its own."""
        self._thread = threading.Thread(
            target=self._run, name='containervm-status', daemon=True)
        self._thread.start()

    def stop(self):
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self):
        while not self._stop.wait(INTERVAL):
            try:
                self.poll()
            except Exception:
                # The thread must outlive a database or a libvirt that is
                # gone for a while; the next round tries again.
                LOG.exception('The status of container servers could not be '
                              'read; trying again')

    def poll(self):
        """Look at all servers once."""
        present = set()
        for uuid in os.listdir(CONF.instances_path):
            if not uuidutils.is_uuid_like(uuid):
                continue
            path = status_path(os.path.join(CONF.instances_path, uuid))
            try:
                info = os.stat(path)
            except OSError:
                continue
            present.add(uuid)
            version = (info.st_ino, info.st_mtime_ns, info.st_size)
            if self._seen.get(uuid) != version and self._allowed(uuid):
                self.update(uuid)
                self._seen[uuid] = version
        for uuid in set(self._seen) - present:
            del self._seen[uuid]
        for uuid in set(self._budget) - present:
            del self._budget[uuid]
        for uuid in list(self._ending):
            if uuid not in present or self._ended(uuid):
                self._ending.discard(uuid)
        for uuid, vm_state in list(self._restoring.items()):
            if self._restored(uuid, vm_state):
                self._restoring.pop(uuid, None)

    def _allowed(self, uuid):
        """Whether the reports of a server may be read once more by now."""
        now = time.monotonic()
        left, last = self._budget.get(uuid, (BURST, now))
        left = min(BURST, left + (now - last) / SPACING)
        self._budget[uuid] = (left - (left >= 1), now)
        return left >= 1

    def update(self, uuid):
        """Read the reports of one server and save what they say."""
        with self._lock:
            path = status_path(os.path.join(CONF.instances_path, uuid))
            try:
                status = read_status(path)
            except OSError:
                return
            if not status.state:
                return
            try:
                instance = objects.Instance.get_by_uuid(
                    nova.context.get_admin_context(), uuid,
                    expected_attrs=['metadata'])
                if instance.host == CONF.host:
                    save(instance, status.metadata())
            except exception.InstanceNotFound:
                return
            if status.final:
                self._ending.add(uuid)
            LOG.debug('The container is %s', status.state,
                      instance=instance)

    def _ended(self, uuid):
        """Tell Nova that a server has stopped, until Nova has taken it in.

        :returns: whether there is nothing more to do
        """
        try:
            instance = objects.Instance.get_by_uuid(
                nova.context.get_admin_context(), uuid)
        except exception.InstanceNotFound:
            return True
        if instance.host != CONF.host or instance.vm_state in (
                vm_states.STOPPED, vm_states.DELETED, vm_states.ERROR):
            return True
        try:
            state = self._host.get_guest(instance).get_power_state(self._host)
        except exception.InstanceNotFound:
            return True
        if state == power_state.SHUTDOWN and instance.task_state is None:
            self._emit_event(virtevent.LifecycleEvent(
                uuid, virtevent.EVENT_LIFECYCLE_STOPPED))
        # Not done while the guest is still powering off, and while another
        # task has the server: Nova drops an event that comes in between.
        return False

    def restore(self, uuid, vm_state):
        """Take an ERROR back that Nova is about to set a server to.

        :param vm_state: the state before that
        """
        self._restoring[uuid] = vm_state

    def _restored(self, uuid, vm_state):
        """Take the ERROR back. Returns whether there is nothing more to do."""
        try:
            instance = objects.Instance.get_by_uuid(
                nova.context.get_admin_context(), uuid)
        except exception.InstanceNotFound:
            return True
        if instance.task_state is not None:
            # Nova is not done with it yet.
            return False
        if instance.vm_state == vm_states.ERROR:
            instance.vm_state = vm_state
            instance.save(expected_task_state=[None])
        return True

    def forget(self, uuid):
        """A server starts anew: what it has reported before is over."""
        with self._lock:
            self._ending.discard(uuid)
            self._seen.pop(uuid, None)


def save(instance, values):
    """Bring the metadata of a server up to date.

    :param values: as :meth:`guest_status.Status.metadata` gives them
    """
    metadata = dict(instance.metadata)
    for key, value in values.items():
        if value is None:
            metadata.pop(key, None)
        else:
            metadata[key] = value
    if metadata != instance.metadata:
        instance.metadata = metadata
        instance.save()
