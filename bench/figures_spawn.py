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

"""Figure: what spawn() of a container server takes.

From nova-compute's log (debug). Begin: the compute manager's line "Start
spawning the instance on the hypervisor.", the last before it calls spawn().
End: the time that the lifecycle event "Started" of libvirt carries, that is,
the domain exists and QEMU runs. What comes after, Neutron's word that the
port is wired and the wait for it, is the same for both.
"""

import datetime
import re
import time

from bench import aio
from bench import pairs
from bench import report

LIMIT = 1.3

_BEGIN = re.compile(
    r'^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) .*\[instance: (\S+)\] '
    r'Start spawning the instance on the hypervisor')
_STARTED = re.compile(
    r'Emitting event <LifecycleEvent: ([\d.]+), (\S+) => Started>')


def spawn_seconds(log, instance):
    """Seconds from spawn() to the start of the domain, from log lines.

    :returns: None if the lines are not all there
    """
    begin = end = None
    for line in log.splitlines():
        if (match := _BEGIN.search(line)) and match[2] == instance:
            begin = datetime.datetime.strptime(
                match[1], '%Y-%m-%d %H:%M:%S.%f').timestamp()
        if (match := _STARTED.search(line)) and match[2] == instance:
            end = end or float(match[1])
    return None if begin is None or end is None else end - begin


def _measure(cloud, image):
    path = cloud.log_file('nova-compute')

    def measure():
        offset = path.stat().st_size
        server = cloud.create(image)
        deadline = time.monotonic() + 20
        seconds = None
        while seconds is None and time.monotonic() < deadline:
            with open(path, errors='replace') as f:
                f.seek(offset)
                seconds = spawn_seconds(f.read(), server.id)
        cloud.delete(server)
        if seconds is None:
            raise aio.Failed('the log of nova-compute has no begin and end '
                             'of spawn() for %s; it needs debug = true'
                             % server.id)
        return seconds
    return measure


def spawn(context):
    """``spawn``: both images in the host's stores before the first round."""
    cloud = context.cloud
    ours = _measure(cloud, context.docker_image())
    plain = _measure(cloud, cloud.upload(
        cloud.base / 'minimal' / 'base.qcow2', 'bare', 'qcow2'))
    ours()
    plain()
    a, b = pairs.interleave(context.runs, ours, plain,
                            progress=context.progress)
    return report.Result(
        'spawn', 'spawn() to domain started, against a plain qcow2', a, b,
        LIMIT, note='times from the log of nova-compute; same flavor and '
        'network; both images cached')
