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

"""docker run's options, as overrides of a server or an image.

Each becomes a value in the grammar of nova_containervm.guest.values, so what
is checked here is checked by the very code that the compute host uses.
"""

import argparse
import base64
import os
import shlex

from osc_lib import exceptions
import yaml

from nova_containervm.guest import errors
from nova_containervm.guest import overrides

PREFIX = overrides.PREFIX

# Of Nova's API, for a value of server metadata.
_METADATA_CHARS = 255
# Nova cuts image properties there, so that one of this length is in doubt.
_PROPERTY_CHARS = 254
_USER_DATA_CHARS = 65535


def add_options(parser):
    """Add docker run's options of the container itself."""
    group = parser.add_argument_group(
        'container', "as docker run has them; what is not given is the "
        "image's")

    def add(*flags, **kwargs):
        group.add_argument(*flags, **kwargs)

    add('-e', '--env', action='append', metavar='NAME[=VALUE]',
        help='set a variable; without a value, to what it is here, and '
             'remove it if it is not set here (repeatable)')
    add('--env-file', action='append', metavar='FILE',
        help='read variables from a file, one a line (repeatable)')
    add('--entrypoint', metavar='PROGRAM',
        help="replace the image's entrypoint, and clear its command; an "
             'empty text means none')
    add('-u', '--user', metavar='USER[:GROUP]', help='names or numbers')
    add('-w', '--workdir', metavar='PATH', help='working directory')
    add('--hostname', metavar='NAME', help="default: the server's name")
    add('--restart', metavar='POLICY',
        help='no, on-failure[:N], always or unless-stopped')
    add('--stop-signal', metavar='SIGNAL', help='name or number')
    add('--stop-timeout', metavar='SECONDS',
        help='from the stop signal to SIGKILL')
    add('-t', '--tty', action='store_true',
        help='standard output is a terminal')
    add('--read-only', action='store_true',
        help='the root filesystem cannot be written to')
    add('--tmpfs', action='append', metavar='PATH[:OPTIONS]',
        help='mount a filesystem in memory (repeatable)')
    add('--shm-size', metavar='SIZE', help='of /dev/shm, as 64m')
    add('--privileged', action='store_true',
        help="all of the machine's devices and capabilities")
    add('--cap-add', action='append', metavar='CAPABILITY',
        help='repeatable')
    add('--cap-drop', action='append', metavar='CAPABILITY',
        help='repeatable')
    add('--ulimit', action='append', metavar='NAME=SOFT[:HARD]',
        help='repeatable')
    add('--sysctl', action='append', metavar='NAME=VALUE',
        help='repeatable')
    add('--init', action='store_true',
        help='run an init process that reaps orphans')


def add_property(parser, what):
    """Add --property, whose values are *what*'s."""
    parser.add_argument(
        '--property', action=KeyValue, dest='properties', default={},
        metavar='KEY=VALUE', help='a property of the %s (repeatable)' % what)


class KeyValue(argparse.Action):
    """KEY=VALUE arguments, gathered in a dict."""

    def __call__(self, parser, namespace, values, option_string=None):
        key, equals, value = values.partition('=')
        if not key or not equals:
            raise argparse.ArgumentError(
                self, '%r is not of the form KEY=VALUE' % values)
        gathered = dict(getattr(namespace, self.dest) or {})
        gathered[key] = value
        setattr(namespace, self.dest, gathered)


def given(args, command=(), volumes=()):
    """The overrides that arguments ask for.

    :param args: parsed by a parser of :func:`add_options`
    :param command: words
    :param volumes: ``<volume id>:/path[:ro]``
    :returns: texts by the names of overrides.OPTIONS
    """
    result = {}

    def put(name, value):
        if value is not None:
            result[name] = value

    def put_words(name, words):
        if words:
            result[name] = shlex.join(words)

    put_words('command', command)
    if args.entrypoint is not None:
        # One word, whatever is in it, as docker has it.
        put_words('entrypoint', [args.entrypoint])
    put_words('env', _env(args))
    for name in ('user', 'workdir', 'hostname', 'stop_signal',
                 'stop_timeout', 'shm_size'):
        put(name, getattr(args, name))
    put('restart_policy', args.restart)
    for name in ('tty', 'read_only', 'privileged', 'init'):
        if getattr(args, name):
            result[name] = 'true'
    put_words('tmpfs', args.tmpfs)
    put_words('cap_add', args.cap_add)
    put_words('cap_drop', args.cap_drop)
    put_words('ulimits', args.ulimit)
    put_words('sysctls', args.sysctl)
    put_words('volumes', volumes)
    return result


def _env(args):
    """Entries NAME=value and NAME, each name once; the last one holds."""
    entries = []
    for path in args.env_file or ():
        entries += _env_file(path)
    entries += args.env or ()
    found = {}
    for entry in entries:
        name, equals, value = entry.partition('=')
        if not equals and name in os.environ:
            equals, value = '=', os.environ[name]
        found[name] = name + equals + value
    return list(found.values())


def _env_file(path):
    try:
        with open(path, encoding='utf-8') as f:
            lines = [line.lstrip() for line in f.read().splitlines()]
    except (OSError, UnicodeDecodeError) as exc:
        raise exceptions.CommandError('%s: %s' % (path, exc))
    return [line for line in lines if line and not line.startswith('#')]


def for_server(given_overrides):
    """Where a server gets its overrides.

    Server metadata shows them to whoever looks at the server; but a value may
    have 255 characters only. If one is longer, all go into a user-data
    document: parted, an entrypoint of the one would clear a command of the
    other.

    :param given_overrides: as :func:`given` returns them
    :returns: metadata, and user-data (bytes) or None
    :raises CommandError: they do not fit there either
    """
    if all(len(v) <= _METADATA_CHARS for v in given_overrides.values()):
        return {PREFIX + name: value
                for name, value in given_overrides.items()}, None
    document = overrides.USER_DATA_MARK + b'\n' + yaml.safe_dump(
        given_overrides, default_style='"', allow_unicode=True).encode()
    if len(base64.b64encode(document)) > _USER_DATA_CHARS:
        raise exceptions.CommandError(
            'Variables, command and other options are %d bytes, more than '
            'user-data can hold.' % len(document))
    return {}, document


def for_image(given_overrides):
    """The image properties of overrides.

    :raises CommandError: a value is too long for one
    """
    for name, value in given_overrides.items():
        if len(value) > _PROPERTY_CHARS:
            raise exceptions.CommandError(
                'The value of %s%s has %d characters; an image property of '
                "Nova's may have %d. Give it with each server instead." % (
                    PREFIX, name, len(value), _PROPERTY_CHARS))
    return {PREFIX + name: value for name, value in given_overrides.items()}


def check(image=None, metadata=None, user_data=None):
    """Parse overrides as the compute host will.

    :raises CommandError: it would refuse them
    """
    try:
        return overrides.parse(image, metadata, user_data)
    except errors.InvalidOverride as exc:
        raise exceptions.CommandError(str(exc))
