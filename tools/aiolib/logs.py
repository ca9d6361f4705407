# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What a service has logged since a moment.

The supervisor renames a log that has grown long and begins a new one: an
offset alone would then point beyond the new one's end.
"""

import os
import typing


class Mark(typing.NamedTuple):
    """A place in a log.

    :param inode: of the file; 0 if there was none
    :param offset: in bytes
    """

    inode: int = 0
    offset: int = 0


def mark(path):
    """Return the Mark of a log's end."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Mark()
    return Mark(status.st_ino, status.st_size)


def since(path, begin=None, most=None):
    """Return what a log has got since a Mark, and '' if there is no log.

    :param path: of the log; the one before it is beside it, with ``.1``
    :param begin: the Mark; None: all of it
    :param most: bytes of its end that are enough; None: all
    """
    data = _read(path, begin, most)
    if data is None:
        # It is another file now: what came before is in the one before, or
        # nowhere any more.
        before = _read(f'{path}.1', begin, most)
        if before is None:
            before = _read(f'{path}.1', None, most)
        data = (before or b'') + (_read(path, None, most) or b'')
    return data[-most if most else 0:].decode(errors='replace')


def _read(path, begin, most):
    """Read a file from a Mark on; None if it is another file, or none."""
    try:
        with open(path, 'rb') as f:
            status = os.fstat(f.fileno())
            offset = 0
            if begin and begin.inode:
                # The number of a file that is gone may be given anew.
                if status.st_ino != begin.inode or \
                        status.st_size < begin.offset:
                    return None
                offset = begin.offset
            # Whoever waits for a service asks for its end all the time.
            f.seek(max(offset, status.st_size - most) if most else offset)
            return f.read()
    except FileNotFoundError:
        return None
