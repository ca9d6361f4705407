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

"""The grammars of override values: one small pure function each.

A value comes as text (image properties, server metadata) or as what YAML made
of it (the user-data document): text, None, a list or a mapping. Each function
returns the parsed value or raises ValueError whose message is a clause that
says what is wrong and what would be right; the caller adds the key, the value
and the source.
"""

import dataclasses
import json
import posixpath
import re
import shlex

Value = str | None | list['Value'] | dict[str, 'Value']

# Signals have these numbers on every architecture that Nova's libvirt driver
# runs containers on (x86, arm, s390x, ppc64, riscv64).
SIGNALS = {
    'HUP': 1, 'INT': 2, 'QUIT': 3, 'ILL': 4, 'TRAP': 5, 'ABRT': 6, 'IOT': 6,
    'BUS': 7, 'FPE': 8, 'KILL': 9, 'USR1': 10, 'SEGV': 11, 'USR2': 12,
    'PIPE': 13, 'ALRM': 14, 'TERM': 15, 'STKFLT': 16, 'CHLD': 17, 'CLD': 17,
    'CONT': 18, 'STOP': 19, 'TSTP': 20, 'TTIN': 21, 'TTOU': 22, 'URG': 23,
    'XCPU': 24, 'XFSZ': 25, 'VTALRM': 26, 'PROF': 27, 'WINCH': 28, 'IO': 29,
    'POLL': 29, 'PWR': 30, 'SYS': 31,
}
# As glibc sees them; the kernel's own two below are taken by the C library.
_RTMIN, _RTMAX = 34, 64
_REALTIME = re.compile(r'(RTMIN|RTMAX)([+-][0-9]{1,2})?', re.ASCII)

CAPABILITIES = tuple('CAP_' + name for name in (
    'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID '
    'SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW '
    'IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT '
    'SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD '
    'LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG '
    'WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
).split())

RLIMITS = frozenset(
    'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio '
    'rttime sigpending stack'.split())

RESTART_NAMES = ('no', 'on-failure', 'always', 'unless-stopped')

# RLIM_INFINITY
UNLIMITED = 2 ** 64 - 1
_MAX_STOP_TIMEOUT = 24 * 60 * 60

_SIZE = re.compile(
    r'([0-9]{1,20}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}) ?(?:b|([kmgtp])(?:i?b)?)?',
    re.ASCII | re.IGNORECASE)
HOST_NAME_MAX = 64
# Linux, with the NUL at the end; <linux/limits.h>
PATH_MAX = 4096
_HOSTNAME_LABEL = re.compile(r'[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?',
                             re.ASCII)
_SYSCTL = re.compile(r'[a-z][a-z0-9_]*(\.[A-Za-z0-9_:@-]+)+', re.ASCII)
_UUID = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', re.ASCII)
#: Names of a flavor's ephemeral disks
EPHEMERAL = re.compile(r'ephemeral[0-9]{1,2}', re.ASCII)
# What starts like a JSON list of strings is meant as one, so that a mistake
# in it is an error and not an odd command. `[ -e /x ]` is a command.
_JSON_LIST = re.compile(r'\s*\[\s*("|\])')

_TMPFS_FLAGS = frozenset(
    'defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync '
    'mand nomand atime noatime diratime nodiratime relatime norelatime '
    'strictatime nostrictatime private rprivate shared rshared slave rslave '
    'unbindable runbindable'.split())
_TMPFS_DATA = frozenset(
    'size mode uid gid nr_inodes nr_blocks mpol'.split())


@dataclasses.dataclass(frozen=True)
class RestartPolicy:
    """docker's restart policy; ``max_retries`` 0 is without a limit."""

    name: str = 'no'
    max_retries: int = 0


@dataclasses.dataclass(frozen=True)
class Volume:
    """A disk that the container sees at ``path``.

    ``volume_id`` is that of a Cinder volume, or names an ephemeral disk of the
    flavor: ``ephemeral0``; or a directory of the server's own disk, for a
    ``VOLUME`` of the image: ``image0``.
    """

    volume_id: str
    path: str
    read_only: bool = False


def can_be_given(value: str) -> bool:
    """Whether a program can be given a text: as bytes up to a NUL, execve(2).

    JSON and YAML have half surrogate pairs, UTF-8 has not.
    """
    try:
        return b'\0' not in value.encode()
    except UnicodeEncodeError:
        return False


def text(value: Value) -> str:
    """Return text as it is; it may be empty but holds no NUL."""
    if not isinstance(value, str):
        raise ValueError('it must be text')
    if '\0' in value:
        raise ValueError('it must not contain a NUL character')
    return value


def boolean(value: Value) -> bool:
    """true/false, yes/no, on/off, 1/0."""
    word = text(value).strip().lower()
    if word in ('true', 'yes', 'on', '1', 't', 'y'):
        return True
    if word in ('false', 'no', 'off', '0', 'f', 'n'):
        return False
    raise ValueError('it must be true or false')


def command(value: Value) -> list[str]:
    """Return an argument list: JSON, a YAML list, or words as a shell splits.

    Words are split and unquoted, and nothing else: no variables, no globs.
    Empty means an empty list.
    """
    if isinstance(value, str) and not _JSON_LIST.match(value):
        return _words(value)
    items = _json_list(value) if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError('it must be text or a list of arguments')
    return [_element(item) for item in items]


def env(value: Value) -> dict[str, str | None]:
    """Return variables by name; None removes one that the image has.

    Forms: ``A=1 B="x y"``, a list of ``NAME=value``, a mapping (JSON or
    YAML). An entry without ``=``, or with null as its value, removes.
    """
    if isinstance(value, str) and value.lstrip().startswith('{'):
        value = _json(value)
    result: dict[str, str | None] = {}
    if isinstance(value, dict):
        for name, item in value.items():
            result[env_name(name)] = None if item is None else _element(item)
        return result
    for entry in command(value):
        name, equals, content = entry.partition('=')
        result[env_name(name)] = content if equals else None
    return result


def env_name(name: str) -> str:
    """Return the name of a variable if the kernel's form can hold it."""
    if not name or '=' in name or '\0' in name:
        raise ValueError(f'{name!r} cannot be the name of a variable')
    return name


def workdir(value: Value) -> str:
    """Return an absolute, normalised path."""
    return absolute_path(text(value).strip())


def absolute_path(path: str) -> str:
    """Return a path of the container without dots and doubled slashes."""
    if not path.startswith('/'):
        raise ValueError('it must be an absolute path')
    if '\0' in path:
        raise ValueError('it must not contain a NUL character')
    # POSIX leaves exactly two leading slashes to the system; Linux does not.
    path = posixpath.normpath('/' + path.lstrip('/'))
    if len(path.encode('utf-8', 'surrogatepass')) >= PATH_MAX:
        raise ValueError(f'it must be shorter than {PATH_MAX} bytes, the '
                         "kernel's limit of a path")
    return path


def hostname(value: Value) -> str:
    """Return a host name that the kernel and DNS take."""
    name = text(value).strip()
    if len(name) > HOST_NAME_MAX or not all(_HOSTNAME_LABEL.fullmatch(label)
                                 for label in name.split('.')):
        raise ValueError('it must be a host name: letters, digits and '
                         'hyphens, at most 64 characters')
    return name


def short_hostname(name: str) -> str:
    """Return what the kernel takes of a server's host name.

    Nova takes names of 255 characters, Linux of 64 (HOST_NAME_MAX). Of a
    longer one it is the first label, at most 63 of its characters.
    """
    if len(name) <= HOST_NAME_MAX:
        return name
    return name.partition('.')[0][:HOST_NAME_MAX - 1].rstrip('-')


def restart_policy(value: Value) -> RestartPolicy:
    """no | on-failure[:N] | always | unless-stopped."""
    name, colon, number = text(value).strip().partition(':')
    if name not in RESTART_NAMES:
        raise ValueError('it must be one of no, on-failure[:N], always, '
                         'unless-stopped')
    if not colon:
        return RestartPolicy(name)
    if name != 'on-failure':
        raise ValueError('only on-failure takes a number')
    return RestartPolicy(name, _integer(number, 0, 2 ** 31 - 1))


def stop_signal(value: Value) -> int:
    """A signal's number (1 to 64) or name: TERM, SIGTERM, SIGRTMIN+3."""
    word = text(value).strip().upper()
    if word.isascii() and word.isdigit():
        return _integer(word, 1, _RTMAX)
    name = word.removeprefix('SIG')
    if name in SIGNALS:
        return SIGNALS[name]
    match = _REALTIME.fullmatch(name)
    number = -1
    if match:
        number = _RTMIN if match[1] == 'RTMIN' else _RTMAX
        number += int(match[2] or 0)
    if not _RTMIN <= number <= _RTMAX:
        raise ValueError('it must be a signal, as TERM, SIGQUIT, SIGRTMIN+3 '
                         'or 15')
    return number


def stop_timeout(value: Value) -> int:
    """Seconds from 0 to a day."""
    return _integer(text(value).strip(), 0, _MAX_STOP_TIMEOUT)


def size(value: Value) -> int:
    """Return bytes from docker's size form: 67108864, 64m, 1.5GiB, 64MB."""
    match = _SIZE.fullmatch(text(value).strip())
    if match is None:
        raise ValueError('it must be a size, as 64m, 1g or 67108864')
    exponent = ' kmgtp'.index((match[2] or ' ').lower())
    number = int(float(match[1]) * 1024 ** exponent)
    if not 0 < number < 2 ** 63:
        raise ValueError('it must be a size of at least one byte, and below '
                         '8 EiB')
    return number


def capabilities(value: Value) -> tuple[str, ...]:
    """Return names with CAP_ in front, or ALL, in the order given."""
    found: list[str] = []
    for word in _items(value, commas=True):
        name = word.upper()
        if name != 'ALL':
            name = 'CAP_' + name.removeprefix('CAP_')
            if name not in CAPABILITIES:
                raise ValueError(f'there is no capability {word!r}')
        if name not in found:
            found.append(name)
    return tuple(found)


def ulimits(value: Value) -> dict[str, tuple[int, int]]:
    """Return (soft, hard) by name from ``nofile=1024:4096``; -1 is no limit.

    Unlimited is RLIM_INFINITY, as the runtime-spec wants it.
    """
    result: dict[str, tuple[int, int]] = {}
    for name, limits in _pairs(value, commas=True):
        if name not in RLIMITS:
            raise ValueError(f'there is no ulimit {name!r}')
        soft_text, colon, hard_text = limits.partition(':')
        soft = _integer(soft_text, -1, 2 ** 63 - 1)
        hard = _integer(hard_text, -1, 2 ** 63 - 1) if colon else soft
        soft = UNLIMITED if soft == -1 else soft
        hard = UNLIMITED if hard == -1 else hard
        if soft > hard:
            raise ValueError(f'the soft limit of {name} is above the hard one')
        result[name] = (soft, hard)
    return result


def sysctls(value: Value) -> dict[str, str]:
    """Return kernel parameters by their dotted names."""
    result: dict[str, str] = {}
    for name, content in _pairs(value):
        # sysctl(8) takes net/ipv4/ip_forward as well.
        dotted = name if '.' in name else name.replace('/', '.')
        if not _SYSCTL.fullmatch(dotted):
            raise ValueError(f'{name!r} is not the name of a kernel parameter')
        result[dotted] = content
    return result


def tmpfs(value: Value) -> dict[str, tuple[str, ...]]:
    """Return mount options by path from docker's ``/run:rw,size=64m``."""
    result: dict[str, tuple[str, ...]] = {}
    entries = (list(value.items()) if isinstance(value, dict)
               else [_cut(item, ':') for item in _items(value)])
    for path, options in entries:
        listed = tuple(o for o in _element(options or '').split(',') if o)
        for option in listed:
            name, equals, _ = option.partition('=')
            if not (name in _TMPFS_DATA if equals else name in _TMPFS_FLAGS):
                raise ValueError(f'there is no tmpfs option {option!r}')
        target = absolute_path(path)
        if target == '/':
            raise ValueError('a tmpfs cannot be mounted on /')
        result[target] = listed
    return result


def volumes(value: Value) -> tuple[Volume, ...]:
    """Return volumes from ``<volume id>:/path[:ro|rw]``.

    In place of an id, ``ephemeral0`` is the first ephemeral disk.
    """
    result: list[Volume] = []
    for item in _items(value, commas=True):
        volume_id, _, rest = item.partition(':')
        path, _, mode = rest.partition(':')
        if not (_UUID.fullmatch(volume_id.lower()) or
                EPHEMERAL.fullmatch(volume_id)):
            raise ValueError(f'{volume_id!r} is not a volume id')
        if mode not in ('', 'rw', 'ro'):
            raise ValueError(f'{mode!r} is not ro or rw')
        target = absolute_path(path)
        if target == '/':
            raise ValueError('a volume cannot be mounted on /')
        if any(v.path == target for v in result):
            raise ValueError(f'two volumes are mounted on {target}')
        result.append(Volume(volume_id.lower(), target, mode == 'ro'))
    return tuple(result)


def _integer(word: str, low: int, high: int) -> int:
    if re.fullmatch(r'-?[0-9]{1,20}', word, re.ASCII):
        number = int(word)
        if low <= number <= high:
            return number
    raise ValueError(f'it must be a whole number from {low} to {high}')


def _words(value: str) -> list[str]:
    try:
        return shlex.split(text(value))
    except ValueError as exc:
        raise ValueError(f'it cannot be split into words: {exc}') from None


def _json(value: str) -> Value:
    # Numbers stay as they were written: 1.10 is a version, not 1.1.
    def object_of(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
        return dict(pairs)
    try:
        parsed: Value = json.loads(value, parse_int=str, parse_float=str,
                                   parse_constant=str,
                                   object_pairs_hook=object_of)
    except RecursionError:
        raise ValueError('it is nested too deeply') from None
    except ValueError as exc:
        raise ValueError(f'it is not valid JSON: {exc}') from None
    return parsed


def _json_list(value: str) -> list[Value]:
    parsed = _json(value)
    if not isinstance(parsed, list):
        raise ValueError('it must be a JSON list')
    return parsed


def _element(value: Value) -> str:
    if not isinstance(value, str):
        raise ValueError('its elements must be text')
    return text(value)


def _items(value: Value, commas: bool = False) -> list[str]:
    """Split a list of words; with commas, these part them as well."""
    items = command(value)
    if isinstance(value, str) and commas:
        items = [part for item in items for part in item.split(',')]
    return [item.strip() for item in items if item.strip()]


def _cut(item: str, separator: str) -> tuple[str, Value]:
    before, _, after = item.partition(separator)
    return before, after


def _pairs(value: Value, commas: bool = False) -> list[tuple[str, str]]:
    """Return NAME=value entries, from a mapping or from a list of words."""
    if isinstance(value, str) and value.lstrip().startswith('{'):
        value = _json(value)
    if isinstance(value, dict):
        return [(name.strip(), _element(item).strip())
                for name, item in value.items()]
    pairs = []
    for item in _items(value, commas):
        name, equals, content = item.partition('=')
        if not equals:
            raise ValueError(f'{item!r} is not of the form NAME=value')
        pairs.append((name.strip(), content.strip()))
    return pairs
