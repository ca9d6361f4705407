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
"""Commands whose output goes to a program that ends before they do."""

import functools
import os
import select
import signal
import sys


def reader_may_leave(main):
    """Have a command end without words when nobody reads its output.

    As in ``nova-containervm-store list | head -n 3``. Another pipe that
    breaks stays an error.

    :param main: function that returns the command's exit status
    """
    @functools.wraps(main)
    def wrapper(argv=None):
        try:
            status = main(argv)
            sys.stdout.flush()
        except BrokenPipeError:
            if not _left(sys.stdout.fileno()):
                raise
            # Python flushes it once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            # What a shell shows of a program that SIGPIPE has ended
            return 128 + signal.SIGPIPE
        return status
    return wrapper


def _left(fd):
    """Whether the reading end of a pipe is closed (poll(2), POLLERR)."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & select.POLLERR for _fd, events in poll.poll(0))
