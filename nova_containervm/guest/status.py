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

LINE_MAX = 1024
READ_MAX = 64 * 1024

# Server metadata values are cut at 255 characters by Nova's database.
TEXT_MAX = 255

HEALTH = ('starting', 'healthy', 'unhealthy')


@dataclasses.dataclass
class Status:
    """The state of a container, as far as its guest has reported it.

    ``final`` says that the guest powers off and reports no more.
    """

    state: str = ''
    exit_code: int | None = None
    error: str = ''
    restarts: int = 0
    started_at: str = ''
    health: str = ''
    oom_killed: bool = False
    final: bool = False

    def metadata(self) -> dict[str, str | None]:
        """As server metadata. None stands for a key that is to go."""
        code = None if self.exit_code is None else str(self.exit_code)
        error = self.error or (
            'killed: out of memory' if self.oom_killed else None)
        return {
            'containervm_state': self.state or None,
            'containervm_exit_code': code,
            'containervm_error': error,
            'containervm_restarts': str(self.restarts),
            'containervm_started_at': self.started_at or None,
            'containervm_health': self.health or None,
        }


METADATA_KEYS = frozenset(Status().metadata())


def parse(data: bytes) -> Status:
    """Read the reports of one boot.

    Lines that are no reports are skipped: the guest's kernel or a tenant may
    have written anything.
    """
    status = Status()
    for line in data[:READ_MAX].split(b'\n'):
        if not 0 < len(line) <= LINE_MAX:
            continue
        try:
            report = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(report, dict) and report.get('v') == 1:
            _apply(status, report)
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
    return ''.join(c if c.isprintable() else '?' for c in value)[:TEXT_MAX]


def _time(report):
    value = report.get('at')
    if type(value) not in (int, float) or not 0 <= value < 1 << 33:
        return ''
    return datetime.datetime.fromtimestamp(
        value, datetime.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')


def _booted(status, report):
    status.state = 'booting'


def _running(status, report):
    status.state = 'running'
    status.started_at = _time(report)
    status.exit_code = None
    status.oom_killed = False
    status.restarts = _number(report, 'restarts', 0, 1 << 31) or 0


def _restarting(status, report):
    status.state = 'restarting'
    status.restarts = _number(report, 'restarts', 0, 1 << 31) or 0


def _exited(status, report):
    code = _number(report, 'code', 0, 255)
    if code is None:
        return
    status.state = 'exited'
    status.exit_code = code
    status.health = ''
    status.oom_killed = report.get('oom') is True
    status.final = report.get('final') is True


def _health(status, report):
    if report.get('status') in HEALTH:
        status.health = report['status']


def _failed(status, report):
    status.state = 'failed'
    status.exit_code = 125
    status.error = ('%s: %s' % (_text(report, 'stage') or 'guest',
                                _text(report, 'reason')))[:TEXT_MAX]
    status.final = True


_EVENTS: dict[str, ty.Callable[[Status, dict], None]] = {
    'booted': _booted,
    'running': _running,
    'restarting': _restarting,
    'exited': _exited,
    'health': _health,
    'failed': _failed,
}


def _apply(status, report):
    event = report.get('event')
    if isinstance(event, str) and event in _EVENTS:
        _EVENTS[event](status, report)
