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

"""Who a container runs as: docker's user grammar against an image's files.

The rules are those of ``docker run --user`` (moby/sys/user, GetExecUser):

* ``user``, ``uid``, ``user:group``, ``uid:gid`` and the mixed forms;
* a number is always an id and never a name, even where a user of that name
  exists; an unknown number is taken as it is, with group 0;
* an unknown name is an error;
* supplementary groups come from the group file, and only where the group is
  not given explicitly;
* the first matching line wins; numbers in the files that cannot be parsed
  count as 0.
"""

import collections.abc
import dataclasses
import re

from nova_containervm.guest import errors

# moby keeps ids in the range of a signed 32-bit number on every platform.
MAX_ID = 2 ** 31 - 1

_NUMBER = re.compile(r'[+-]?[0-9]+', re.ASCII)


@dataclasses.dataclass(frozen=True)
class ExecUser:
    """The numeric identity of a container's first process.

    ``groups`` starts with ``gid``, as docker's ``additionalGids`` do, and is
    what setgroups(2) gets.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


@dataclasses.dataclass(frozen=True)
class _Passwd:
    name: str
    uid: int
    gid: int
    home: str


@dataclasses.dataclass(frozen=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def resolve(spec: str, passwd: bytes, group: bytes) -> ExecUser:
    """Resolve a user specification to numbers.

    :param spec: docker's USER, e.g. ``www-data:1000``; empty for root
    :param passwd: the image's /etc/passwd, empty if it has none
    :param group: the image's /etc/group, empty if it has none
    :raises InvalidImageConfig: an unknown name, or a number out of range
    """
    user_arg, _, rest = spec.partition(':')
    group_arg = rest.partition(':')[0]
    uid_arg = _numeric(user_arg)
    gid_arg = _numeric(group_arg)
    entries = list(_passwd_entries(passwd))

    uid, gid, name = 0, 0, ''
    if user_arg == '' or uid_arg is not None:
        wanted = uid_arg or 0
        entry = next((e for e in entries if e.uid == wanted), None)
        uid = wanted
    else:
        entry = next((e for e in entries if e.name == user_arg), None)
        if entry is None:
            raise errors.InvalidImageConfig(
                f'The image has no user {errors.shown(user_arg)} in its '
                f'/etc/passwd')
    if entry is not None:
        uid, gid, name = entry.uid, entry.gid, entry.name

    supplementary: list[int] = []
    if group_arg:
        gid = _explicit_group(group_arg, gid_arg, group)
    elif name:
        supplementary = [g.gid for g in _group_entries(group)
                         if name in g.members]
    for number in (uid, gid, *supplementary):
        if not 0 <= number <= MAX_ID:
            raise errors.InvalidImageConfig(_out_of_range(number))
    return ExecUser(uid=uid, gid=gid, groups=(gid, *supplementary),
                    home=_home(entries, uid))


def _explicit_group(arg: str, number: int | None, group: bytes) -> int:
    if number is not None:
        return number
    for entry in _group_entries(group):
        if entry.name == arg:
            return entry.gid
    raise errors.InvalidImageConfig(
        f'The image has no group {errors.shown(arg)} in its /etc/group')


def _home(entries: list[_Passwd], uid: int) -> str:
    # The runtime, not docker, sets HOME, and it looks only at the number.
    for entry in entries:
        if entry.uid == uid:
            return entry.home or '/'
    return '/'


def _numeric(arg: str) -> int | None:
    if not _NUMBER.fullmatch(arg):
        return None
    # A number of thousands of digits is out of range long before int() minds.
    number = int(arg) if len(arg) <= 12 else MAX_ID + 1
    if not 0 <= number <= MAX_ID:
        raise errors.InvalidImageConfig(_out_of_range(arg))
    return number


def _out_of_range(number: object) -> str:
    return (f'The user or group id {errors.shown(number)} is not in the range '
            f'0 to {MAX_ID}')


def _lenient_int(text: str) -> int:
    if _NUMBER.fullmatch(text) and len(text) <= 20:
        return int(text)
    return 0


def _lines(data: bytes) -> collections.abc.Iterator[list[str]]:
    for raw in data.split(b'\n'):
        line = raw.decode('utf-8', 'surrogateescape').strip()
        if line:
            yield line.split(':')


def _field(fields: list[str], index: int) -> str:
    return fields[index] if len(fields) > index else ''


def _passwd_entries(data: bytes) -> collections.abc.Iterator[_Passwd]:
    for fields in _lines(data):
        yield _Passwd(name=fields[0], uid=_lenient_int(_field(fields, 2)),
                      gid=_lenient_int(_field(fields, 3)),
                      home=_field(fields, 5))


def _group_entries(data: bytes) -> collections.abc.Iterator[_Group]:
    for fields in _lines(data):
        # Unlike in the passwd file, moby skips comments here.
        if fields[0].startswith('#'):
            continue
        members = _field(fields, 3)
        yield _Group(name=fields[0], gid=_lenient_int(_field(fields, 2)),
                     members=tuple(members.split(',')) if members else ())
