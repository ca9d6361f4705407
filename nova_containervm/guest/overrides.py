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

"""What the user changes about a docker image's config, and where it stands.

Sources, lowest to highest: Glance image properties ``containervm_<name>``,
server metadata ``containervm_<name>``, and a user-data document whose first
line is ``#containervm`` (YAML, names without the prefix). The names are those
of ``docker run`` and Zun; OPTIONS is the whole list.

A higher source replaces a value of a lower one; mappings (variables, limits,
kernel parameters, tmpfs mounts) are merged by name. An entrypoint clears the
command of everything below it, as in docker.
"""

import collections.abc
import dataclasses
import difflib
import re
import typing

import yaml

from nova_containervm.guest import errors
from nova_containervm.guest import values

PREFIX = 'containervm_'
USER_DATA_MARK = b'#containervm'

IMAGE = 'the image properties'
METADATA = 'the server metadata'
USER_DATA = 'the user-data document'

# Nova keeps image properties in system_metadata and cuts them there.
_SYSTEM_METADATA_CHARS = 255
# Nova's own limit is 64 KiB of base64.
_USER_DATA_BYTES = 64 * 1024
_YAML_DEPTH = 8
_YAML_NODES = 5000

# Keys that are no overrides: those that the driver writes itself, the one that
# picks an image out of an archive with several, and what the host decides by.
IGNORED = frozenset((
    'state', 'exit_code', 'error', 'restarts', 'started_at', 'health', 'ref',
    'rootfs_transport'))

_ENV_SINGLE = 'env_'


@dataclasses.dataclass(frozen=True)
class Option:
    """One override: its name, its grammar, and what it changes.

    ``applies`` is the place in the contract, for the reader of this table.
    ``merged``: values of several sources are merged by name.
    """

    name: str
    parse: collections.abc.Callable[[typing.Any], typing.Any]
    applies: str
    merged: bool = False


OPTIONS: dict[str, Option] = {option.name: option for option in (
    Option('command', values.command, 'process.args'),
    Option('entrypoint', values.command, 'process.args'),
    Option('env', values.env, 'process.env', merged=True),
    Option('user', values.text, 'process.user'),
    Option('workdir', values.workdir, 'process.cwd'),
    Option('hostname', values.hostname, 'hostname'),
    Option('restart_policy', values.restart_policy, 'guest: restart'),
    Option('stop_signal', values.stop_signal, 'guest: stop'),
    Option('stop_timeout', values.stop_timeout, 'guest: stop'),
    Option('tty', values.boolean, 'process.terminal, TERM'),
    Option('read_only', values.boolean, 'root.readonly'),
    Option('privileged', values.boolean,
           'capabilities, seccomp, masked paths, /sys, /dev'),
    Option('cap_add', values.capabilities, 'process.capabilities'),
    Option('cap_drop', values.capabilities, 'process.capabilities'),
    Option('shm_size', values.size, 'mount /dev/shm'),
    Option('ulimits', values.ulimits, 'process.rlimits', merged=True),
    Option('sysctls', values.sysctls, 'linux.sysctl, guest: sysctls',
           merged=True),
    Option('tmpfs', values.tmpfs, 'mounts', merged=True),
    Option('volumes', values.volumes, 'mounts'),
    Option('init', values.boolean, 'process.args'),
)}


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where an override was read: for messages about its value."""

    key: str
    value: object
    source: str

    def invalid(self, reason: str) -> errors.InvalidOverride:
        """Return the error that this value cannot be used, and why."""
        return errors.InvalidOverride(self.key, self.value, self.source,
                                      reason)


@dataclasses.dataclass
class Overrides:
    """The overrides of one server, parsed and merged. None: not given."""

    command: list[str] | None = None
    entrypoint: list[str] | None = None
    env: dict[str, str | None] | None = None
    user: str | None = None
    workdir: str | None = None
    hostname: str | None = None
    restart_policy: values.RestartPolicy | None = None
    stop_signal: int | None = None
    stop_timeout: int | None = None
    tty: bool | None = None
    read_only: bool | None = None
    privileged: bool | None = None
    cap_add: tuple[str, ...] | None = None
    cap_drop: tuple[str, ...] | None = None
    shm_size: int | None = None
    ulimits: dict[str, tuple[int, int]] | None = None
    sysctls: dict[str, str] | None = None
    tmpfs: dict[str, tuple[str, ...]] | None = None
    volumes: tuple[values.Volume, ...] | None = None
    init: bool | None = None
    origins: dict[str, Origin] = dataclasses.field(default_factory=dict)

    def names(self) -> list[str]:
        """Return the names of what is overridden, sorted; for logs."""
        return sorted(self.origins)


def parse(image: collections.abc.Mapping[str, str] | None = None,
          metadata: collections.abc.Mapping[str, str] | None = None,
          user_data: bytes | None = None) -> Overrides:
    """Read all sources and merge them.

    :param image: Glance image properties, or an instance's system_metadata as
        it is (``image_containervm_<name>``); other keys are no concern
    :param metadata: the server's metadata; other keys are no concern
    :param user_data: the decoded user-data, of whatever kind
    :raises InvalidOverride: naming the key, the value and the source
    """
    result = Overrides()
    for source, given in ((IMAGE, _image_keys(image or {})),
                          (METADATA, _own_keys(metadata or {})),
                          (USER_DATA, _document(user_data))):
        _merge(result, _parse_source(source, given))
    return result


def _own_keys(given: collections.abc.Mapping[str, str]
              ) -> dict[str, values.Value]:
    return {key: value for key, value in given.items()
            if key.startswith(PREFIX)}


def _image_keys(given: collections.abc.Mapping[str, str]
                ) -> dict[str, values.Value]:
    own = _own_keys({key.removeprefix('image_'): value
                     for key, value in given.items()})
    for key, value in own.items():
        if len(str(value)) == _SYSTEM_METADATA_CHARS:
            raise errors.InvalidOverride(
                key, value, IMAGE,
                f'Nova cuts image properties at {_SYSTEM_METADATA_CHARS} '
                f'characters and this one may have been longer; give it in a '
                f'#containervm user-data document')
    return own


def _parse_source(source: str, given: dict[str, values.Value]) -> Overrides:
    """Parse one source. ``env_NAME`` is stronger than ``env`` beside it."""
    result = Overrides()
    singles: dict[str, str | None] = {}
    for key in sorted(given):
        value = given[key]
        name = key.removeprefix(PREFIX)
        if name in IGNORED:
            continue
        origin = Origin(key, value, source)
        try:
            if name.startswith(_ENV_SINGLE):
                variable = values.env_name(name.removeprefix(_ENV_SINGLE))
                singles[variable] = (None if value is None
                                     else values.text(value))
                continue
            if name not in OPTIONS:
                raise errors.UnknownOverride(key, value, source,
                                             _nearest(key, name))
            setattr(result, name, OPTIONS[name].parse(value))
        except errors.InvalidOverride:
            raise
        except ValueError as exc:
            raise origin.invalid(str(exc)) from None
        result.origins[name] = origin
    if singles:
        result.env = {**(result.env or {}), **singles}
        result.origins.setdefault('env', Origin('env', singles, source))
    return result


def _merge(lower: Overrides, higher: Overrides) -> None:
    if higher.entrypoint is not None:
        # docker clears the image's Cmd; what stands below a source is the
        # image as far as that source is concerned.
        lower.command = None
        lower.origins.pop('command', None)
    for name, option in OPTIONS.items():
        value = getattr(higher, name)
        if value is None:
            continue
        if option.merged:
            value = {**(getattr(lower, name) or {}), **value}
        setattr(lower, name, value)
        lower.origins[name] = higher.origins[name]


def _nearest(key: str, name: str) -> str | None:
    close = difflib.get_close_matches(name, OPTIONS, n=1)
    if not close:
        return None
    return PREFIX + close[0] if key.startswith(PREFIX) else close[0]


class _TextLoader(yaml.SafeLoader):
    """YAML whose scalars stay text, within bounds.

    ``DEBUG: yes``, ``VERSION: 1.10`` and ``MODE: 0755`` are what the user
    wrote, not True, 1.1 and 493. Anchors are refused: a few lines of them
    can stand for gigabytes.
    """

    # Of its own, and empty: PyYAML would add to a copy of SafeLoader's.
    yaml_implicit_resolvers = {}

    def __init__(self, stream: typing.Any) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: typing.Any, index: typing.Any
                     ) -> typing.Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError('anchors and aliases are not supported')
        self._depth += 1
        self._nodes += 1
        if self._depth > _YAML_DEPTH or self._nodes > _YAML_NODES:
            raise yaml.YAMLError('it is nested too deeply or too large')
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: typing.Any, deep: bool = False
                          ) -> typing.Any:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.YAMLError(
                        f'{errors.shown(key.value)} is given twice')
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_TextLoader.add_implicit_resolver(
    'tag:yaml.org,2002:null',
    re.compile(r'^(?:~|null|Null|NULL|)$'), ['~', 'n', 'N', ''])


def _document(user_data: bytes | None) -> dict[str, values.Value]:
    """Read a ``#containervm`` document; other user-data is the user's."""
    if not user_data:
        return {}
    first_line = user_data.split(b'\n', 1)[0].strip()
    if first_line != USER_DATA_MARK:
        return {}
    if len(user_data) > _USER_DATA_BYTES:
        raise _bad_document(f'it is longer than {_USER_DATA_BYTES} bytes')
    loader = None
    try:
        loader = _TextLoader(user_data.decode('utf-8'))
        loaded = loader.get_single_data()
    except UnicodeDecodeError:
        raise _bad_document('it is not UTF-8 text') from None
    except RecursionError:
        raise _bad_document('it is nested too deeply') from None
    except yaml.YAMLError as exc:
        raise _bad_document(' '.join(str(exc).split())) from None
    finally:
        if loader is not None:
            loader.dispose()
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise _bad_document('it must be a mapping of names to values')
    _check_shape(loaded)
    return loaded


def _check_shape(value: object) -> None:
    """Refuse what an explicit YAML tag can smuggle in: sets, dates, bytes."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise _bad_document(f'{errors.shown(key)} is not a name')
            _check_shape(item)
    elif isinstance(value, list):
        for item in value:
            _check_shape(item)
    elif value is not None and not isinstance(value, str):
        raise _bad_document(f'{errors.shown(value)} is neither text, a list '
                            f'nor a mapping')


def _bad_document(reason: str) -> errors.InvalidOverride:
    return errors.InvalidDocument(USER_DATA_MARK.decode(), USER_DATA, reason)
