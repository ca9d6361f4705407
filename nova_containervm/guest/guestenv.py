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

"""guest.env: the facts of guest.json as assignments that a shell can source.

A value is in single quotes, in which a shell takes everything as it stands; a
quote in it is written ``'\\''``. That is the whole grammar, and the guests
check it before they believe a line.
"""

import collections.abc
import re
import typing

from nova_containervm.guest import errors
from nova_containervm.guest import values

_NAME = re.compile(r'[A-Z][A-Z0-9_]*')

Facts = dict[str, typing.Any]


def quote(value: str) -> str:
    """Return a value in single quotes, for a POSIX shell and for our parser.

    :raises InvalidImageConfig: NUL, or text that has no UTF-8 form
    """
    if not values.can_be_given(value):
        raise errors.InvalidImageConfig(
            f'{errors.shown(value)} is not valid text, or has a NUL character')
    return "'" + value.replace("'", "'\\''") + "'"


def render(facts: Facts) -> bytes:
    """Return guest.env for the object of guest.json.

    :raises InvalidImageConfig: a value that cannot be written
    """
    env = _Assignments()
    env.add('VERSION', facts['version'])
    env.add('INSTANCE', facts['instance'])
    env.add('HOSTNAME', facts['hostname'])
    env.add('DOMAIN', facts['domain'])
    env.add('TRANSPORT', facts['transport'])
    for name, value in facts['rootfs'].items():
        env.add('ROOTFS_' + name.upper(), value)
    env.add('WRITABLE', facts['writable'])
    env.add('RUNTIME', facts['runtime'])
    _process(env, facts['process'])
    env.add('SHM_SIZE', facts['shm_size'])
    env.add_list('TMPFS', [f"{','.join(options)} {path}" for path, options
                           in sorted(facts['tmpfs'].items())])
    env.add('STOP_SIGNAL', facts['stop']['signal'])
    env.add('STOP_TIMEOUT', facts['stop']['timeout'])
    env.add('RESTART', facts['restart']['policy'])
    env.add('RESTART_MAX', facts['restart']['max_retries'])
    env.add_list('SYSCTL', [f'{name}={value}' for name, value
                            in sorted(facts['sysctls'].items())])
    env.add_list('FILECAP', [f"{entry['value']} {entry['path']}"
                             for entry in facts['file_capabilities']])
    _network(env, facts)
    env.add('CHANNEL', facts['channel'])
    env.add('SWAP', int(facts['swap']))
    env.add_list('VOLUME', [
        f"{v['id']} {'ro' if v['read_only'] else 'rw'} {v['path']}"
        for v in facts['volumes']])
    env.add('VOLUME_WAIT', facts['volume_wait'])
    _health(env, facts['health'])
    return env.text().encode('utf-8')


def _process(env: '_Assignments', process: Facts) -> None:
    env.add_list('ARG', process['args'])
    env.add_list('ENV', process['env'])
    env.add('CWD', process['cwd'])
    env.add('UID', process['uid'])
    env.add('GID', process['gid'])
    env.add('GROUPS', ' '.join(map(str, process['groups'])))
    env.add('UMASK', process['umask'])
    env.add('TTY', int(process['tty']))
    env.add('READONLY', int(process['read_only']))
    env.add('INIT', int(process['init']))
    env.add('PRIVILEGED', int(process['privileged']))
    env.add('CGROUP_WRITABLE', int(process['cgroup_writable']))
    bits = sum(1 << values.CAPABILITIES.index(name)
               for name in process['capabilities'])
    env.add('CAPS', f'{bits:016x}')
    env.add_list('RLIMIT', [f'{name} {soft} {hard}' for name, (soft, hard)
                            in sorted(process['rlimits'].items())])


def _network(env: '_Assignments', facts: Facts) -> None:
    env.add('NICC', len(facts['nics']))
    for index, nic in enumerate(facts['nics']):
        for name, value in nic_values(nic).items():
            env.add(f'NIC_{index}_{name}', value)
    env.add('DNS', ' '.join(facts['dns']))
    env.add('SEARCH', ' '.join(facts['search']))


def nic_values(nic: Facts) -> dict[str, str]:
    """An interface of guest.json as the values of its variables."""
    return {
        'MAC': nic['mac'],
        'MTU': str(nic['mtu'] or ''),
        'ADDRS': ' '.join(nic['addresses']),
        'ROUTES': ' '.join(f"{r['destination']},{r['gateway']}"
                           for r in nic['routes']),
        'DHCP': ' '.join(nic['dhcp']),
    }


def _health(env: '_Assignments', health: Facts | None) -> None:
    if health is None:
        env.add_list('HEALTH', ())
        return
    env.add_list('HEALTH', health['command'])
    for name in ('interval_ms', 'timeout_ms', 'start_period_ms',
                 'start_interval_ms', 'retries'):
        env.add('HEALTH_' + name.upper(), health[name])


class _Assignments:
    """The lines of guest.env."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, value: object) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(name)
        self._lines.append(f'CVM_{name}={quote(str(value))}\n')

    def add_list(self, name: str,
                 items: collections.abc.Sequence[str]) -> None:
        self.add(name + 'C', len(items))
        for index, item in enumerate(items):
            self.add(f'{name}_{index}', item)

    def text(self) -> str:
        return ''.join(self._lines)
