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

"""``bench/boot.py``: the boot figure without OpenStack, and its profile."""

import argparse
import statistics
import sys
import tempfile

from bench import bare
from bench import container
from bench import counting
from bench import figures_boot
from bench import pairs
from bench import program
from bench import qemu
from bench import report

LIMIT_INIT = 0.4
_DEBUG = 'containervm: debug: '


def measure(options, work):
    """The figure, once for each base image."""
    def timed(machine):
        def run():
            machine.fresh()
            return qemu.time_to_line(machine.argv(), program.MARKER)
        return run

    results = []
    for i, name in enumerate([options.image, *options.also]):
        machine = container.Container(
            f'{work}/{i}', name, runtime=options.runtime, cpu=options.cpu,
            boot=options.boot, accel=options.accel, append=options.append,
            ports=options.ports)
        references = [
            figures_boot.timed_bare(machine.work, machine.kernel, cmdline,
                                    cpu=options.cpu, accel=options.accel)
            for cmdline in (bare.CMDLINE, machine.cmdline)]
        results.append(figures_boot.against_bare(
            timed(machine), *references, options.runs, None,
            f'{name}, against a bare kernel', name))
        if options.boot == 'kernel':
            results.append(guest_init(machine, timed(machine), options.runs,
                                      name))
    return results


def guest_init(machine, ours, runs, name):
    """Figure: CPU time of all that is ours in the guest.

    The reference has the same machine and devices, so that what is left is
    the guest's init, its modules, and the runtime.
    """
    initrd = machine.work / 'bare.cpio'
    initrd.write_bytes(bare.initramfs())

    def plain():
        machine.fresh()
        return qemu.time_to_line(machine.argv(initrd), program.MARKER)

    a, b = map(pairs.cpu, pairs.interleave(runs, ours, plain))
    rest = statistics.median(b)
    return report.Result(
        'guest-init', f'{name}, guest init and runtime',
        [each - rest for each in a], None, LIMIT_INIT, unit='CPU s',
        note='the same machine, devices and kernel with an initramfs that '
             'only prints the line is taken away (%.2f CPU s)' % rest)


def profile(options, work):
    """Where the guest's time goes: CPU time between lines of its trace."""
    runs = []
    for i in range(options.runs):
        machine = container.Container(
            f'{work}/{i}', options.image, runtime=options.runtime,
            cpu=options.cpu, boot=options.boot, accel=options.accel,
            ports=options.ports,
            append='containervm.debug ' + options.append)
        machine.fresh()
        transcript = []
        qemu.time_to_line(machine.argv(), program.MARKER,
                          transcript=transcript)
        runs.append(transcript)
    print('CPU s   since the line before   line (minimum of %d runs)' %
          len(runs))
    for k, (_sample, line) in enumerate(runs[0]):
        at = min(run[k][0].cpu for run in runs)
        took = min(run[k][0].cpu - (run[k - 1][0].cpu if k else 0)
                   for run in runs)
        print('%.3f   +%.3f   %s' % (at, took, line.removeprefix(_DEBUG)))
    median = statistics.median(run[-1][0].cpu for run in runs)
    print('median of all: %.3f CPU s' % median)


def count(options, work):
    """What the guest makes the emulator do."""
    plugin = counting.build(work)
    for i, name in enumerate([options.image, *options.also]):
        machine = container.Container(
            f'{work}/{i}', name, runtime=options.runtime, cpu=options.cpu,
            append=options.append, ports=options.ports)
        print(name)
        for line in counting.guest(machine, plugin):
            print('  ' + line)


def main(arguments=None):
    """Run it; status 1 if the goal is missed."""
    parser = argparse.ArgumentParser(
        prog='bench/boot.py', description='Time from the start of QEMU to '
        "the container's first line, without OpenStack: a base VM image, a "
        'contract made here, and the devices of a container server.')
    parser.add_argument('image', metavar='DIR', help='base VM image, minimal')
    parser.add_argument('also', nargs='*', metavar='DIR',
                        help='more, to be compared')
    parser.add_argument('--runs', type=int, default=7, metavar='N')
    parser.add_argument('--profile', action='store_true',
                        help='say where the time goes (containervm.debug)')
    parser.add_argument('--count', action='store_true',
                        help="count the guest's instructions instead, which "
                             'is exact (TCG; needs gcc)')
    parser.add_argument('--runtime', choices=('crun', 'chroot'),
                        default='crun')
    parser.add_argument('--boot', choices=('kernel', 'disk'),
                        default='kernel')
    parser.add_argument('--accel', default='tcg', help='of QEMU')
    parser.add_argument('--cpu', default='qemu64', help='model, of QEMU')
    parser.add_argument('--ports', type=int, default=container.SPARE_PORTS,
                        help='free PCI Express ports (default: %(default)s)')
    parser.add_argument('--append', default='', metavar='PARAMETERS',
                        help='more for the kernel command line')
    parser.add_argument('--json', action='store_true')
    options = parser.parse_args(arguments)
    # Not below /tmp, which may be memory: disks are opened with O_DIRECT
    with tempfile.TemporaryDirectory(prefix='containervm-bench-',
                                     dir='/var/tmp') as work:
        if options.profile:
            profile(options, work)
            return 0
        if options.count:
            count(options, work)
            return 0
        results = measure(options, work)
    if options.json:
        print(report.as_json(results))
    else:
        print(report.table(results))
    return 0 if all(r.met for r in results) else 1


if __name__ == '__main__':
    sys.exit(main())
