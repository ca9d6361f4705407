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

"""What servers take of the host's memory.

PSS, of /proc/PID/smaps: what a process shares with others counts in parts.
The page cache of files that QEMU only reads is in no PSS; it is counted by
file, once however many servers read it.
"""

import contextlib
import ctypes
import dataclasses
import mmap
import os
import re
import time

from bench import aio

MB = 1 << 20
_PAGE = mmap.PAGESIZE
_HEADER = re.compile(
    r'^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ *(.*)$')
_SETTLE = 3.0
_libc = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass(frozen=True)
class Pss:
    """Bytes.

    :param total: of all mappings
    :param guest: of the one that is the guest's memory
    :param code: of those that may be executed and written to: what TCG has
        translated. With KVM there are none
    """

    total: int = 0
    guest: int = 0
    code: int = 0

    def __add__(self, other):
        return Pss(self.total + other.total, self.guest + other.guest,
                   self.code + other.code)


def parse(smaps, guest_size):
    """The PSS that a text of /proc/PID/smaps tells.

    :param guest_size: bytes of the guest's memory
    """
    total = guest = code = 0
    size, flags, name = 0, '', ''
    for line in smaps.splitlines():
        if header := _HEADER.match(line):
            begin, end, flags, name = header.groups()
            size = int(end, 16) - int(begin, 16)
        elif line.startswith('Pss:'):
            pss = int(line.split()[1]) << 10
            total += pss
            # virtiofsd maps it, too, in pieces.
            if size == guest_size or name.startswith('/memfd:'):
                guest += pss
            elif flags.startswith('rwx'):
                code += pss
    return Pss(total, guest, code)


def pss(pids, guest_size):
    """The PSS of processes."""
    result = Pss()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f'/proc/{pid}/smaps') as smaps:
                result += parse(smaps.read(), guest_size)
    return result


def settled(pids, guest_size, timeout=300):
    """The PSS of processes, once it has stopped to change.

    Guests that have just started give memory back, and some are not done.
    """
    deadline = time.monotonic() + timeout
    before = pss(pids, guest_size)
    while True:
        time.sleep(_SETTLE)
        now = pss(pids, guest_size)
        if abs(now.total - before.total) < now.total / 100:
            return now
        if time.monotonic() > deadline:
            raise aio.Failed('memory of idle servers has not settled: %d MB '
                             'and then %d MB' % (before.total // MB,
                                                 now.total // MB))
        before = now


@contextlib.contextmanager
def _mapped(path):
    """Address and size of a file's mapping; 0, 0 if it is empty."""
    with open(path, 'rb') as f:
        size = os.fstat(f.fileno()).st_size
        if not size:
            yield 0, 0
            return
        _libc.mmap.restype = ctypes.c_void_p
        address = _libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ,
                             mmap.MAP_SHARED, f.fileno(), ctypes.c_long(0))
        if address == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), 'mmap', str(path))
        try:
            yield address, size
        finally:
            _libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))


def cached(paths):
    """Bytes of files that are in the page cache."""
    pages = 0
    for path in paths:
        with _mapped(path) as (address, size):
            if size:
                seen = (ctypes.c_ubyte * -(-size // _PAGE))()
                if _libc.mincore(ctypes.c_void_p(address),
                                 ctypes.c_size_t(size), seen):
                    raise OSError(ctypes.get_errno(), 'mincore', str(path))
                pages += sum(byte & 1 for byte in bytes(seen))
    return pages * _PAGE


def drop(paths):
    """Take files out of the page cache, as far as nobody maps them."""
    # What is not yet on the disk stays. One by one would take minutes.
    os.sync()
    for path in paths:
        with open(path, 'rb') as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def image_files(machine):
    """Files of the host that a server reads its image from.

    Those of a VM's disk are none: Nova has QEMU open it with O_DIRECT.
    """
    disk = machine.directory / 'disk.rootfs'
    if disk.exists():
        return [disk.resolve()]
    return [path for path in (machine.directory / 'rootfs').rglob('*')
            if path.is_file() and not path.is_symlink()]
