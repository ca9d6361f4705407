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

"""The command ``bench/transports``."""

import argparse
import contextlib
import dataclasses
import functools
import os
import pathlib
import subprocess
import sys
import tempfile

from openstack import exceptions

from bench import aio
from bench import figures_transports
from bench import guests
from bench import matrix

FIGURES = {
    'line': figures_transports.first_line,
    'http': figures_transports.http,
    'files': figures_transports.files,
    'memory': figures_transports.idle_memory,
    'prepare': figures_transports.prepare,
}
FLAVOR = 'c1.small'

NOTES = (
    'Ratios are those of block to the column that the goal names: of speeds '
    'where the goal is ">=".',
    'vm: Debian 12 with systemd, udev, dbus, cron, ssh, networkd and the '
    'kernel of linux-image-amd64, booted with its initramfs by kernel and '
    'ramdisk (no firmware, no boot loader, no cloud-init), with the same '
    'software and files on an ext4 with a journal, in a qcow2.',
    'CPU time is that of QEMU and virtiofsd on the host, all threads.',
)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much there is to do.

    :param servers: counts of idle servers, ascending
    :param requests: of HTTP, in one measurement
    :param create: files
    :param sync: writes with fsync
    :param transactions: of each of pgbench's clients
    """

    servers: tuple = (1, 5, 10)
    requests: int = 1000
    create: int = 5000
    sync: int = 200
    transactions: int = 100


QUICK = Sizes((1, 2), 200, 500, 20, 10)


class Context:
    """What the figures share.

    :param work: directory for scratch files
    :param progress: called with one line of text
    """

    def __init__(self, options, work, progress):
        self.runs = options.runs or (1 if options.quick else 3)
        self.kinds = options.kinds
        self.sizes = dataclasses.replace(
            QUICK if options.quick else Sizes(),
            **({'servers': options.servers} if options.servers else {}))
        self.work = pathlib.Path(work)
        self.progress = progress
        self.stack = contextlib.ExitStack()

    @functools.cached_property
    def cloud(self):
        """The all-in-one. The host is in the servers' network."""
        return self.stack.enter_context(aio.Cloud(FLAVOR, 'public'))

    @functools.cached_property
    def guest_size(self):
        """Bytes of a server's memory."""
        return self.cloud.sdk.compute.find_flavor(FLAVOR).ram << 20

    @functools.cached_property
    def docker(self):
        """Path of the docker image."""
        return guests.archive('bench')

    @functools.cached_property
    def vm(self):
        """Paths of the VM's disk, kernel and ramdisk."""
        return guests.vm_files(guests.archive('bench-vm'),
                               self.cloud.directory / 'images')

    @functools.cached_property
    def guests(self):
        """What makes servers, each with its image in the store already."""
        made = guests.Guests(self.cloud, self.docker, self.vm)
        self.stack.enter_context(guests.all_transports())
        for kind in self.kinds:
            self.progress(f'a first server: {kind}')
            with made.machine(kind, 'idle') as machine:
                self.cloud.wait(machine.server, 'ACTIVE')
        return made


def _counts(text):
    counts = tuple(int(word) for word in text.split(','))
    if sorted(set(counts)) != list(counts) or counts[0] < 1:
        raise ValueError(text)
    return counts


def _kinds(text):
    kinds = tuple(text.split(','))
    if not set(kinds) <= set(guests.KINDS):
        raise ValueError(text)
    return kinds


def parser():
    """The arguments."""
    result = argparse.ArgumentParser(
        prog='bench/transports', description='Compare the transports with '
        'each other and with an ordinary VM of the same software, on the '
        'all-in-one that tools/aio has started. Changes the settings of '
        'nova-compute meanwhile.')
    result.add_argument('figure', nargs='*', choices=[[], *FIGURES],
                        metavar='NAME', help='one of %s; default: all' %
                        ', '.join(FIGURES))
    result.add_argument('--runs', type=int, metavar='N',
                        help='rounds of each measurement (default: 3)')
    result.add_argument('--kinds', type=_kinds, default=guests.KINDS,
                        metavar='A,B', help='of %s; default: all' %
                        ', '.join(guests.KINDS))
    result.add_argument('--servers', type=_counts, metavar='N,N',
                        help='how many idle servers (default: 1,5,10)')
    result.add_argument('--quick', action='store_true',
                        help='one round, and little to do: shows that it '
                        'works, and no figures to be relied on')
    result.add_argument('--json', action='store_true',
                        help='print JSON in place of the table')
    result.add_argument('--quiet', action='store_true',
                        help='no progress on standard error')
    return result


def main(arguments=None):
    """Run the figures.

    :returns: exit status, 1 if a goal is missed, 2 if a figure has failed
    """
    options = parser().parse_args(arguments)

    def progress(line):
        if not options.quiet:
            print(line, file=sys.stderr, flush=True)

    rows, failed = [], False
    # Not below /tmp, which may be memory
    with tempfile.TemporaryDirectory(prefix='containervm-bench-',
                                     dir='/var/tmp') as work:
        os.chmod(work, 0o755)
        context = Context(options, work, progress)
        with context.stack:
            for name in options.figure or FIGURES:
                progress(f'== {name}')
                try:
                    rows += FIGURES[name](context)
                except (aio.Failed, subprocess.CalledProcessError,
                        exceptions.SDKException) as e:
                    # What the others have measured took its time.
                    print(f'{name} has failed: {e}', file=sys.stderr)
                    failed = True
                except KeyboardInterrupt:
                    print(f'{name} was interrupted', file=sys.stderr)
                    failed = True
                    break
    if options.json:
        print(matrix.as_json(rows, NOTES))
    else:
        print(matrix.table(rows, options.kinds, NOTES))
    if failed:
        return 2
    return 1 if any(row.met(row.ratio) is False for row in rows) else 0
