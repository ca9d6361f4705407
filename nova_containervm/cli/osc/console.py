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

"""Following a container's output, which is its server's console log."""

import sys
import time

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from nova_containervm.cli.osc import base

# docker's exit status for what is docker's own fault, here Nova's
FAILED = 125

# So many characters must be found again in a log that has been cut.
_OVERLAP = 100
# Seconds from SHUTOFF until the guest's last report must be there.
_REPORT_TIMEOUT = 10


def read(sdk, server):
    """The console log as it is now; empty if there is none yet."""
    try:
        answer = sdk.compute.get_server_console_output(server.id)
    except (sdk_exceptions.ConflictException,
            sdk_exceptions.NotFoundException):
        return ''
    return (answer or {}).get('output') or ''


def added(before, now):
    """What a log has gained since it was last looked at.

    Nova gives out the end of a log only, and logs are rotated.

    :returns: the new text, and whether something between is lost
    """
    if now.startswith(before):
        return now[len(before):], False
    # The log has lost its beginning: its first whole line is where?
    rest = now[now.find('\n') + 1:]
    head = rest[:_OVERLAP]
    at = before.find(head) if len(head) == _OVERLAP else -1
    while at >= 0:
        if rest.startswith(before[at:]):
            return rest[len(before) - at:], False
        at = before.find(head, at + 1)
    return now, True


def last_lines(text, count):
    """The last lines of a text; all of them if *count* is None."""
    if count is None:
        return text
    return ''.join(text.splitlines(keepends=True)[-count:] if count else ())


class Follower:
    """Prints what a container writes, until it ends.

    :param sdk: an openstacksdk connection
    :param out: where to print to
    :param lines: begin with so many of the lines that are there, or with all
    """

    def __init__(self, sdk, out=None, lines=None):
        self._sdk = sdk
        self._out = out or sys.stdout
        self._lines = lines
        self._seen = ''

    def print_new(self, server):
        """Print what has come since the last call."""
        now = read(self._sdk, server)
        # Empty: there is none yet, or it begins anew at this moment.
        if not now:
            return
        text, lost = added(self._seen, now)
        if not self._seen:
            text = last_lines(text, self._lines)
        if lost:
            print('[some output is lost]', file=sys.stderr)
        self._seen = now
        self._out.write(text.replace('\r\n', '\n'))
        self._out.flush()

    def follow(self, server):
        """Print until the server has ended; return it as it is then.

        :raises CommandError: it is deleted meanwhile
        """
        while True:
            server = base.look(self._sdk, server)
            self.print_new(server)
            if base.ended(server):
                return server
            time.sleep(base.INTERVAL)


def exit_code(sdk, server):
    """The exit status of a container whose server has ended.

    As docker's: 125 if it could not be run at all.
    """
    if server.status == 'ERROR':
        print(base.fault(server), file=sys.stderr)
        return FAILED
    try:
        # The report may come a moment later than the state.
        server = base.wait(
            sdk, server,
            lambda s: base.state(s, 'state') in ('exited', 'failed'),
            timeout=_REPORT_TIMEOUT)
    except exceptions.CommandError:
        print('Server %s has ended without a word on its container: it was '
              'powered off, or its machine failed.' % server.name,
              file=sys.stderr)
        return FAILED
    error = base.state(server, 'error')
    if error:
        print('containervm: %s' % error, file=sys.stderr)
    code = base.state(server, 'exit_code')
    return int(code) if code and code.isdigit() else FAILED
