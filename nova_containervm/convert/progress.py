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

"""A progress bar, where somebody looks at one."""

import sys
import time

_WIDTH = 30
_PERIOD = 0.1


class Progress:
    """Shows the steps of a job, one below the other.

    :param stream: a text file; nothing is shown where it is no terminal
    """

    def __init__(self, stream=None):
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty()
        self._name: str | None = None
        self._last = 0.0

    def step(self, name):
        """Begin a step; the one before it is done.

        :returns: function(share of it that is done, from 0 to 1)
        """
        self.end()
        self._name = name
        self._last = 0.0

        def report(share):
            now = time.monotonic()
            if self._shown and now - self._last >= _PERIOD:
                self._last = now
                self._draw(share)

        report(0)
        return report

    def end(self):
        """The last step is done."""
        if self._name is not None and self._shown:
            self._draw(1)
            self._stream.write('\n')
        self._name = None

    def abandon(self):
        """It has failed: what follows begins on a line of its own."""
        if self._name is not None and self._shown:
            self._stream.write('\n')
        self._name = None

    def _draw(self, share):
        done = int(_WIDTH * share)
        self._stream.write('\r%-16s [%s%s] %3d %%' % (
            self._name, '#' * done, '.' * (_WIDTH - done), 100 * share))
        self._stream.flush()

    def reading(self, source, size):
        """Pieces of a file, as they are read.

        :param size: of the file in bytes, 0 if that is not known
        """
        report = self.step('Reading')
        taken = 0
        while chunk := source.read(1 << 18):
            taken += len(chunk)
            report(taken / size if size else 0)
            yield chunk
