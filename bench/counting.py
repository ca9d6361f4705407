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

"""What the guest makes TCG do, counted: a figure without noise.

The CPU time of an emulated boot is that of translating the guest's code, most
of which runs once, rather than of running it. So the number of instructions
that were translated says what a change to the guest is worth, also on a
machine so busy that no clock does.
"""

import pathlib
import struct
import subprocess

from bench import bare
from bench import program
from bench import qemu

_SOURCE = pathlib.Path(__file__).with_name('counting.c')


def build(work):
    """Compile the plugin in directory ``work``; return its path."""
    path = pathlib.Path(work) / 'counting.so'
    subprocess.run(['gcc', '-O2', '-Wall', '-Wextra', '-Werror', '-shared',
                    '-fPIC', '-o', path, _SOURCE], check=True)
    return path


def count(plugin, argv, work):
    """Run QEMU to the first line.

    :returns: instructions of the guest, (translated, run)
    """
    result = pathlib.Path(work) / 'counted'
    qemu.time_to_line([*argv, '-plugin', f'file={plugin},out={result}'],
                      program.MARKER)
    return struct.unpack('=QQ', result.read_bytes())


def guest(machine, plugin):
    """Lines of text: the machine's boot, and the same without our guest."""
    initrd = machine.work / 'bare.cpio'
    initrd.write_bytes(bare.initramfs())
    counts = []
    for each in (None, initrd):
        machine.fresh()
        counts.append(count(plugin, machine.argv(each), machine.work))
    counts.append(tuple(a - b for a, b in zip(*counts)))
    for name, (translated, ran) in zip(
            ('all', 'an initramfs that only prints the line', 'our guest'),
            counts):
        yield '%9d translated %8.1f M run   %s' % (
            translated, ran / 1e6, name)
