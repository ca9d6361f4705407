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

"""Servers that are just being started, and what Nova is told of them."""

import contextlib

from nova.compute import power_state
from nova.virt import hardware
from nova.virt.libvirt import utils as libvirt_utils

from nova_containervm import watcher


class Startups:
    """The servers of this host that Nova waits for.

    One that ends before Nova has seen it run counts as started all the same.
    """

    def __init__(self):
        self._awaited: set[str] = set()
        self._starting: set[str] = set()

    @contextlib.contextmanager
    def starting(self, instance):
        """Around what starts a server and waits for it. See :meth:`info`."""
        self._awaited.add(instance.uuid)
        try:
            yield
        finally:
            self._awaited.discard(instance.uuid)
            self._starting.discard(instance.uuid)

    def launched(self, instance):
        """From now on Nova waits until it sees the server run."""
        if instance.uuid in self._awaited:
            self._starting.add(instance.uuid)

    def is_starting(self, instance) -> bool:
        """Whether a server of ours is just being started."""
        return instance.uuid in self._starting

    def info(self, instance, info):
        """Correct the state of a server that is just being started.

        LibvirtDriver waits without end until it sees the server run; a
        container may have ended before it looks.

        :param info: an InstanceInfo
        """
        if info.state == power_state.SHUTDOWN and _has_run(instance):
            return hardware.InstanceInfo(state=power_state.RUNNING,
                                         internal_id=info.internal_id)
        return info


def _has_run(instance):
    path = watcher.status_path(libvirt_utils.get_instance_path(instance))
    try:
        return bool(watcher.read_status(path).state)
    except OSError:
        return False
