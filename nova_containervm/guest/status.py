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

"""What a guest reports of its container, and what of it is believed.

The guest writes one JSON object a line to a virtio-serial port, which libvirt
writes to a file. A tenant controls every byte of it. So it is bounded, parsed
strictly, and only ever turned into metadata of the tenant's own server.
"""

import dataclasses
import datetime
import json
import typing as ty

LINE_MAX = 4096
READ_MAX = 64 * 1024

# Server metadata values are cut at 255 characters by Nova's database.
TEXT_MAX = 255

HEALTH = ('starting', 'healthy', 'unhealthy')

ALL = ('state', 'exit_code', 'error', 'restarts', 'started_at', 'health')


@dataclasses.dataclass
class Status:
    """The state of a container, as far as its guest has reported it.

    ``final`` says that the guest powers off and reports no more. ``known``
    has the names of what the reports at hand tell, None for all: those of a
    long run are not read from their start.
    """

    state: str = ''
    exit_code: int | None = None
    error: str = ''
    restarts: int = 0
    started_at: str = ''
    health: str = ''
    health_output: str = ''
    oom_killed: bool = False
    final: bool = False
    known: set[str] | None = None

    def metadata(self) -> dict[str, str | None]:
        """As server metadata. None stands for a key that is to go.

        What is not known has no entry.
        """
        values = {
            'state': self.state or None,
            'exit_code': (None if self.exit_code is None
                          else str(self.exit_code)),
            'error': self._error(),
            'restarts': str(self.restarts),
            'started_at': self.started_at or None,
            'health': self.health or None,
        }
        return {'containervm_' + name: value
                for name, value in values.items()
                if self.known is None or name in self.known or
                (name == 'error' and value)}

    def _error(self) -> str | None:
        if self.error:
            return self.error
        if self.oom_killed:
            return 'killed: out of memory'
        if self.health == 'unhealthy' and self.health_output:
            return ('health check: ' + self.health_output)[:TEXT_MAX]
        return None


METADATA_KEYS = frozenset('containervm_' + name for name in ALL)


def parse(data: bytes) -> Status:
    """Read the reports of one boot, or the last `READ_MAX` bytes of them.

    Lines that are no reports are skipped: the guest's kernel or a tenant may
    have written anything.
    """
    lines = data[-READ_MAX:].split(b'\n')
    status = Status()
    if len(data) >= READ_MAX:
        # The start is missing, and the first line is what is left of one.
        status.known = set()
        del lines[0]
    for line in lines:
        if not 0 < len(line) <= LINE_MAX:
            continue
        try:
            report = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(report, dict) and report.get('v') == 1:
            status = _apply(status, report)
    return status


def _number(report, key, low, high):
    value = report.get(key)
    if type(value) is int and low <= value <= high:
        return value
    return None


def _text(report, key):
    value = report.get(key)
    if not isinstance(value, str):
        return ''
    # What a program writes ends with a newline.
    return ''.join(c if c.isprintable() else '?'
                   for c in value.strip())[:TEXT_MAX]


def _time(report):
    value = report.get('at')
    if type(value) not in (int, float) or not 0 <= value < 1 << 33:
        return ''
    return datetime.datetime.fromtimestamp(
        value, datetime.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')


# Each returns what STATUS becomes by a report: STATUS itself if the report
# makes no sense.


def _booted(status, report):
    return Status(state='booting')


def _running(status, report):
    return Status(state='running', started_at=_time(report),
                  restarts=_number(report, 'restarts', 0, 1 << 31) or 0,
                  known=status.known)


def _restarting(status, report):
    return dataclasses.replace(
        status, state='restarting',
        restarts=_number(report, 'restarts', 0, 1 << 31) or 0)


def _exited(status, report):
    code = _number(report, 'code', 0, 255)
    if code is None:
        return status
    return dataclasses.replace(
        status, state='exited', exit_code=code, health='',
        oom_killed=report.get('oom') is True,
        final=report.get('final') is True)


def _health(status, report):
    if report.get('status') not in HEALTH:
        return status
    return dataclasses.replace(status, health=report['status'],
                               health_output=_text(report, 'output'))


def _failed(status, report):
    error = '%s: %s' % (_text(report, 'stage') or 'guest',
                        _text(report, 'reason'))
    return dataclasses.replace(status, state='failed', exit_code=125,
                               error=error[:TEXT_MAX], final=True)


# What each event does, and the names of what it tells.
_EVENTS: dict[str, tuple[ty.Callable[[Status, dict], Status], set[str]]] = {
    'booted': (_booted, set(ALL)),
    'running': (_running, set(ALL)),
    'restarting': (_restarting, {'state', 'restarts'}),
    'exited': (_exited, {'state', 'exit_code', 'health'}),
    'health': (_health, {'health', 'error'}),
    'failed': (_failed, {'state', 'exit_code', 'error'}),
}


def _apply(status, report):
    event = report.get('event')
    if not isinstance(event, str) or event not in _EVENTS:
        return status
    apply, told = _EVENTS[event]
    result = apply(status, report)
    if result.known is not None and result is not status:
        result.known = result.known | told
    return result
