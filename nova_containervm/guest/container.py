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

"""One container, fully decided: the image's config with the overrides on it.

This is where docker's rules for combining the two live. What comes out knows
nothing of images any more, and every runtime of the contract is fed from it.
"""

import collections.abc
import dataclasses
import typing

from nova_containervm.guest import errors
from nova_containervm.guest import overrides as overrides_lib
from nova_containervm.guest import users
from nova_containervm.guest import values

DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
DEFAULT_SHM_BYTES = 64 * 1024 * 1024
DEFAULT_STOP_TIMEOUT = 10
# What systemd's sysinit understands as "power off".
_SIGRTMIN_3 = 37

DEFAULT_CAPABILITIES = tuple('CAP_' + name for name in (
    'CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'MKNOD', 'NET_RAW', 'SETGID',
    'SETUID', 'SETFCAP', 'SETPCAP', 'NET_BIND_SERVICE', 'SYS_CHROOT', 'KILL',
    'AUDIT_WRITE'))

# RLIM_INFINITY
UNLIMITED = values.UNLIMITED
# docker sets none and hands on its own service's. These are what a current
# docker has under systemd; the bare kernel's (nofile 1024:4096, nproc by
# memory) break servers that work under docker.
DEFAULT_RLIMITS = {
    'core': (UNLIMITED, UNLIMITED),
    'nofile': (1024, 524288),
    'nproc': (UNLIMITED, UNLIMITED),
}

# The first two are docker's. The third is a host's business under docker, and
# here the VM is the host: Elasticsearch and others refuse the kernel's value.
DEFAULT_SYSCTLS = {
    'net.ipv4.ip_unprivileged_port_start': '0',
    'net.ipv4.ping_group_range': '0 2147483647',
    'vm.max_map_count': '262144',
}

# Parameters by which a process can have the kernel run a program outside the
# container. They are for who may do that anyway.
_PRIVILEGED_SYSCTLS = frozenset((
    'kernel.core_pattern', 'kernel.hotplug', 'kernel.modprobe',
    'kernel.poweroff_cmd', 'kernel.usermodehelper.bset',
    'kernel.usermodehelper.inheritable'))

# What a distribution's own init expects to be empty and writable.
SYSTEM_INIT_TMPFS = {
    '/run': ('nosuid', 'nodev', 'mode=755'),
    '/run/lock': ('nosuid', 'nodev', 'noexec', 'mode=1777', 'size=5242880'),
    '/tmp': ('nosuid', 'nodev', 'mode=1777'),
}

_SYSTEM_INITS = frozenset((
    '/sbin/init', '/usr/sbin/init', '/bin/init', '/usr/local/sbin/init'))


# HEALTHCHECK durations are in nanoseconds; this is one millisecond.
_NANOSECONDS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Health:
    """The image's HEALTHCHECK: a command and when to run it, in ms.

    ``retries`` failures in a row make it unhealthy; those before
    ``start_period`` is over do not count.
    """

    command: tuple[str, ...]
    interval_ms: int = 30000
    timeout_ms: int = 30000
    start_period_ms: int = 0
    start_interval_ms: int = 5000
    retries: int = 3


@dataclasses.dataclass(frozen=True)
class Container:
    """What runs, as whom, where and with what rights.

    ``env`` is complete and in docker's order. ``groups`` includes ``gid``.
    ``system_init``: the program is an operating system's own init, which
    needs a few mounts that docker does not make.
    """

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: users.ExecUser
    hostname: str
    tty: bool = False
    read_only: bool = False
    privileged: bool = False
    init: bool = False
    system_init: bool = False
    capabilities: tuple[str, ...] = DEFAULT_CAPABILITIES
    rlimits: dict[str, tuple[int, int]] = dataclasses.field(
        default_factory=lambda: dict(DEFAULT_RLIMITS))
    sysctls: dict[str, str] = dataclasses.field(
        default_factory=lambda: dict(DEFAULT_SYSCTLS))
    shm_size: int = DEFAULT_SHM_BYTES
    tmpfs: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    volumes: tuple[values.Volume, ...] = ()
    stop_signal: int = values.SIGNALS['TERM']
    stop_timeout: int = DEFAULT_STOP_TIMEOUT
    restart: values.RestartPolicy = values.RestartPolicy()
    umask: int = 0o022
    architecture: str = 'amd64'
    health: Health | None = None


def resolve(image_config: collections.abc.Mapping[str, typing.Any],
            overrides: overrides_lib.Overrides, *, hostname: str,
            passwd: bytes = b'', group: bytes = b'',
            image_volumes: bool = False) -> Container:
    """Apply the overrides to an image's config.

    :param image_config: the docker or OCI image config, whole
    :param hostname: the server's, used where no override gives one
    :param passwd: the image's /etc/passwd, empty if it has none
    :param group: the image's /etc/group, empty if it has none
    :param image_volumes: a ``VOLUME`` of the image is to be one
    :raises InvalidImageConfig: the image does not say how to run it
    :raises InvalidOverride: an override that this image cannot take
    """
    config = image_config.get('config')
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise errors.InvalidImageConfig("The image's config is not an object")

    args = _arguments(config, overrides)
    user = _user(config, overrides, passwd, group)
    name = overrides.hostname or values.short_hostname(hostname)
    tty = bool(overrides.tty)
    privileged = bool(overrides.privileged)
    system_init = _is_system_init(args)
    return Container(
        args=args,
        env=_environment(config, overrides, name, tty, user.home,
                         system_init),
        cwd=_cwd(config, overrides),
        user=user,
        hostname=name,
        tty=tty,
        read_only=bool(overrides.read_only),
        privileged=privileged,
        # A real init reaps its own orphans.
        init=bool(overrides.init) and not system_init,
        system_init=system_init,
        capabilities=_capabilities(overrides, privileged),
        rlimits={**DEFAULT_RLIMITS, **(overrides.ulimits or {})},
        sysctls=_sysctls(overrides, privileged),
        shm_size=overrides.shm_size or DEFAULT_SHM_BYTES,
        tmpfs=dict(overrides.tmpfs or {}),
        volumes=(overrides.volumes or ()) + (
            _image_volumes(config, overrides, system_init)
            if image_volumes else ()),
        stop_signal=_stop_signal(config, overrides, system_init),
        stop_timeout=(DEFAULT_STOP_TIMEOUT if overrides.stop_timeout is None
                      else overrides.stop_timeout),
        restart=overrides.restart_policy or values.RestartPolicy(),
        architecture=str(image_config.get('architecture') or 'amd64'),
        health=_health(config),
    )


def _arguments(config: dict[str, typing.Any],
               overrides: overrides_lib.Overrides) -> tuple[str, ...]:
    entrypoint = _strings(config, 'Entrypoint')
    command = _strings(config, 'Cmd')
    if overrides.entrypoint is not None:
        # `--entrypoint ""` means none.
        entrypoint = [] if overrides.entrypoint == [''] else (
            overrides.entrypoint)
        command = []
    if overrides.command:
        command = overrides.command
    args = tuple(entrypoint + command)
    if not args:
        raise errors.InvalidImageConfig(
            'No command: the image has neither an entrypoint nor a command '
            'of its own; give one in the property containervm_command')
    if not args[0]:
        raise errors.InvalidImageConfig(
            'The command is empty: its first word is the empty string')
    return args


def _user(config: dict[str, typing.Any], overrides: overrides_lib.Overrides,
          passwd: bytes, group: bytes) -> users.ExecUser:
    if overrides.user:
        try:
            return users.resolve(overrides.user.strip(), passwd, group)
        except errors.InvalidImageConfig as exc:
            raise overrides.origins['user'].invalid(str(exc)) from None
    return users.resolve(_string(config, 'User'), passwd, group)


def _environment(config: dict[str, typing.Any],
                 overrides: overrides_lib.Overrides, hostname: str, tty: bool,
                 home: str, system_init: bool) -> tuple[str, ...]:
    """Build the environment in the order in which docker builds it."""
    env: dict[str, str | None] = {'PATH': DEFAULT_PATH, 'HOSTNAME': hostname}
    if tty:
        env['TERM'] = 'xterm'
    if system_init:
        # systemd looks for this to know that it is in a container.
        env['container'] = 'docker'
    given = dict(overrides.env or {})
    for entry in _strings(config, 'Env'):
        name, equals, value = entry.partition('=')
        if name not in given:
            given[name] = value if equals else None
    env.update(given)
    # docker leaves HOME to the runtime, which sets it where it is unset or
    # empty; doing it here makes all runtimes agree.
    if not env.get('HOME'):
        env.pop('HOME', None)
        env['HOME'] = home
    return tuple(f'{name}={value}' for name, value in env.items()
                 if value is not None)


def _cwd(config: dict[str, typing.Any],
         overrides: overrides_lib.Overrides) -> str:
    if overrides.workdir:
        return overrides.workdir
    path = _string(config, 'WorkingDir')
    try:
        # Old builders wrote relative ones, always relative to the root.
        return values.absolute_path('/' + path)
    except ValueError as exc:
        raise errors.InvalidImageConfig(
            f"WorkingDir of the image's config: {exc}") from None


def _capabilities(overrides: overrides_lib.Overrides,
                  privileged: bool) -> tuple[str, ...]:
    if privileged:
        return values.CAPABILITIES
    add = overrides.cap_add or ()
    drop = overrides.cap_drop or ()
    if 'ALL' in add:
        return tuple(c for c in values.CAPABILITIES if c not in drop)
    kept = () if 'ALL' in drop else tuple(
        c for c in DEFAULT_CAPABILITIES if c not in drop)
    return kept + tuple(c for c in add if c not in kept)


def _sysctls(overrides: overrides_lib.Overrides,
             privileged: bool) -> dict[str, str]:
    given = overrides.sysctls or {}
    if not privileged:
        for name in given:
            if name in _PRIVILEGED_SYSCTLS:
                raise overrides.origins['sysctls'].invalid(
                    f'{name} is for privileged containers')
    return {**DEFAULT_SYSCTLS, **given}


def _stop_signal(config: dict[str, typing.Any],
                 overrides: overrides_lib.Overrides,
                 system_init: bool) -> int:
    if overrides.stop_signal is not None:
        return overrides.stop_signal
    default = _SIGRTMIN_3 if system_init else values.SIGNALS['TERM']
    word = _string(config, 'StopSignal')
    if not word:
        return default
    try:
        return values.stop_signal(word)
    except ValueError:
        # docker, too, stops an image with a bad STOPSIGNAL by the default.
        return default


def _image_volumes(config: dict[str, typing.Any],
                   overrides: overrides_lib.Overrides,
                   system_init: bool) -> tuple[values.Volume, ...]:
    """Read VOLUME; what is mounted at the same path replaces it."""
    given = config.get('Volumes')
    if given is None:
        return ()
    if not isinstance(given, dict):
        raise errors.InvalidImageConfig(
            "Volumes of the image's config is not an object: "
            f'{errors.shown(given)}')
    try:
        paths = {values.absolute_path('/' + path) for path in given}
    except ValueError as exc:
        raise errors.InvalidImageConfig(
            f'A VOLUME of the image: {exc}') from None
    if '/' in paths:
        raise errors.InvalidImageConfig(
            "A VOLUME of the image is '/', its whole root filesystem")
    paths -= {volume.path for volume in overrides.volumes or ()}
    paths -= set(overrides.tmpfs or ())
    if system_init:
        paths -= set(SYSTEM_INIT_TMPFS)
    return tuple(values.Volume(f'image{number}', path)
                 for number, path in enumerate(sorted(
                     path for path in paths if not _is_the_systems(path))))


def _is_the_systems(path: str) -> bool:
    """Whether something else than the image's files is there anyway."""
    return path.startswith(('/proc/', '/sys/', '/dev/')) or path in (
        '/proc', '/sys', '/dev', '/etc/hosts', '/etc/hostname',
        '/etc/resolv.conf')


def _health(config: dict[str, typing.Any]) -> Health | None:
    """Read HEALTHCHECK; one that docker would not run is none."""
    check = config.get('Healthcheck')
    if not isinstance(check, dict):
        return None
    kind, *command = _strings(check, 'Test') or ['NONE']
    if kind == 'CMD-SHELL':
        shell = _strings(config, 'Shell') or ['/bin/sh', '-c']
        command = [*shell, *command[:1]]
    elif kind != 'CMD':
        return None
    if not command:
        return None

    def given(key: str, unit: int, default: int) -> int:
        value = check.get(key)
        if not isinstance(value, int) or value < unit:
            return default
        return min(value // unit, 2 ** 31 - 1)

    return Health(
        command=tuple(command),
        interval_ms=given('Interval', _NANOSECONDS, Health.interval_ms),
        timeout_ms=given('Timeout', _NANOSECONDS, Health.timeout_ms),
        start_period_ms=given('StartPeriod', _NANOSECONDS,
                              Health.start_period_ms),
        start_interval_ms=given('StartInterval', _NANOSECONDS,
                                Health.start_interval_ms),
        retries=given('Retries', 1, Health.retries))


def _is_system_init(args: tuple[str, ...]) -> bool:
    return args[0] in _SYSTEM_INITS or args[0].rpartition('/')[2] == 'systemd'


def _string(config: dict[str, typing.Any], key: str) -> str:
    value = config.get(key)
    if value is None:
        return ''
    if not isinstance(value, str):
        raise errors.InvalidImageConfig(
            f"{key} of the image's config is not a string: "
            f'{errors.shown(value)}')
    return value


def _strings(config: dict[str, typing.Any], key: str) -> list[str]:
    value = config.get(key)
    if value is None:
        return []
    # docker's own type for Cmd and Entrypoint takes a single string, too.
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(
            isinstance(item, str) for item in value):
        raise errors.InvalidImageConfig(
            f"{key} of the image's config is not a list of strings: "
            f'{errors.shown(value)}')
    for item in value:
        if not values.can_be_given(item):
            raise errors.InvalidImageConfig(
                f"{key} of the image's config has text that no program can "
                f'be given, with a NUL character or half a surrogate pair: '
                f'{errors.shown(item)}')
    return value
