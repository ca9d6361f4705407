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

"""Starts a QEMU and times it to a line on its serial console.

Wall time runs from just before the process is made to when the line's last
byte is read. CPU time is the process's own, all threads, at that moment:
under TCG it is the whole work of host and guest, and other load on the
machine hardly moves it.
"""

import dataclasses
import os
import pathlib
import select
import subprocess
import time

PROGRAM = 'qemu-system-x86_64'


class NoLine(Exception):
    """The guest did not print the line; the text says what it did print."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """One measurement, in seconds."""

    wall: float
    cpu: float

    def __str__(self):
        return f'{self.wall:.2f} s ({self.cpu:.2f} s CPU)'


def cpu_clock(pid):
    """The clock of a process's CPU time (CPUCLOCK_SCHED of all threads)."""
    return (~pid << 3) | 2


def time_to_line(argv, marker, *, timeout=300, transcript=None, user=None):
    """Run QEMU until its standard output shows ``marker``, then kill it.

    :param argv: command line whose serial port is ``-serial stdio`` or a
        ``-chardev stdio``
    :param marker: bytes that the line has
    :param timeout: seconds
    :param transcript: list that gets ``(Sample, line)`` of the console
    :param user: (uid, gid) to run as; None is our own
    :returns: a :class:`Sample`
    :raises NoLine: QEMU ended, or the time is over
    """
    options = {}
    if user:
        options = {'user': user[0], 'group': user[1], 'extra_groups': []}
    begin = time.monotonic()
    # pylint: disable=consider-using-with
    process = subprocess.Popen(
        [str(a) for a in argv], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    try:
        return _watch(process, marker, begin, timeout, transcript)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _watch(process, marker, begin, timeout, transcript):
    output = b''
    line_start = 0
    descriptor = process.stdout.fileno()
    while True:
        left = begin + timeout - time.monotonic()
        ready = select.select([descriptor], [], [], max(left, 0))[0]
        chunk = os.read(descriptor, 65536) if ready else b''
        now = time.monotonic()
        if not chunk:
            raise NoLine('no line with %r after %.0f s; last output:\n%s' % (
                marker.decode(), now - begin,
                output[-3000:].decode(errors='replace')))
        output += chunk
        if transcript is not None:
            while (end := output.find(b'\n', line_start)) >= 0:
                transcript.append((_now(process, now - begin), output[
                    line_start:end].decode(errors='replace').rstrip('\r')))
                line_start = end + 1
        at = output.find(marker)
        if at >= 0 and output.find(b'\n', at) >= 0:
            return _now(process, now - begin)


def _now(process, wall):
    return Sample(wall, time.clock_gettime(cpu_clock(process.pid)))


def make_overlay(path, backing, backing_format, size):
    """Make a fresh qcow2 over ``backing``; ``size`` in bytes or None."""
    pathlib.Path(path).unlink(missing_ok=True)
    subprocess.run(
        ['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', backing_format,
         '-b', str(backing), str(path)] + ([str(size)] if size else []),
        check=True)
    return path
