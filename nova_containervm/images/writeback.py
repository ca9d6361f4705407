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

"""Large files on their way to the disk while the next ones are unpacked.

What makes them durable is confine.sync_filesystem() in the end; it has less
to wait for then. Errors of the disk are for it to find, too: nothing here
asks for them.
"""

import ctypes
import os
import queue
import threading

#: Bytes from which on a file is worth it.
WORTH = 64 * 1024
#: Files that may be waiting; further ones are left to the end.
_MOST = 64
#: SYNC_FILE_RANGE_WRITE: begin, and do not wait.
_WRITE = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64,
                                  ctypes.c_int64, ctypes.c_uint]


class Writeback(threading.Thread):
    """Begins to write files, and closes them."""

    def __init__(self):
        super().__init__(daemon=True)
        self._space = threading.Semaphore(_MOST)
        self._queue = queue.SimpleQueue()

    def take(self, fd):
        """Take over the descriptor of a file that is complete."""
        if self._space.acquire(blocking=False):
            self._queue.put(fd)
        else:
            os.close(fd)

    def run(self):
        """In the thread."""
        while (fd := self._queue.get()) is not None:
            _libc.sync_file_range(fd, 0, 0, _WRITE)
            os.close(fd)
            self._space.release()

    def finish(self):
        """Wait until there is nothing left to do; then it is over."""
        self._queue.put(None)
        self.join()
