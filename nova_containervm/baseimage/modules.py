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

"""Picks kernel modules and puts them in an order that insmod can follow.

The init has no modprobe: it gets a list. A module's dependencies come from
its own .modinfo section, which is where depmod's modules.dep comes from too,
so that a package can be used as it is unpacked, without running depmod.
"""

import lzma
import pathlib

from nova_containervm.baseimage import elf
from nova_containervm.baseimage import errors
from nova_containervm.baseimage import ftrace
from nova_containervm.baseimage import tools

# What a module in the image does without. The kernel works on each of these
# at load time, for nobody: 0.3 s of a boot under TCG in all.
#   .BTF             types for BPF programs that trace modules
#   .orc_unwind*     for the stack traces of oopses (sorted while loading)
#   _ftrace_events   the module's trace events (a directory in tracefs each)
#   __mcount_loc     calls of the function tracer, which the kernel makes
#                    no-ops of, after a look at the name of each function that
#                    has one: a quadratic search. `ftrace.disarm` does it here
#   .static_call_sites  makes calls direct, one patched instruction at a time;
#                    without it they go through the kernel's trampolines
# Symbols that relocation does not use go too, and with them the signature,
# whose check is half of what loading takes. It proves nothing here: the
# modules lie in the same file as the init that asks for them, and the driver
# checks that file against the manifest.
DROPPED_SECTIONS = ('.BTF', '.orc_unwind', '.orc_unwind_ip',
                    '_ftrace_events', '__mcount_loc', '.static_call_sites')


def slim(data, work):
    """Return the module *data* without what `DROPPED_SECTIONS` names.

    :param work: directory for temporary files.
    """
    path = pathlib.Path(work) / 'module.ko'
    path.write_bytes(ftrace.disarm(data))
    options = []
    for section in DROPPED_SECTIONS:
        options += [f'--remove-section={section}',
                    f'--remove-section=.rela{section}']
    tools.run(['objcopy', '--strip-unneeded', *options, path])
    return path.read_bytes()


class ModuleTree:
    """The modules of one kernel.

    :param root: directory lib/modules/<version>.
    """

    def __init__(self, root):
        root = pathlib.Path(root)
        self._files = {}
        for path in sorted(root.rglob('*.ko*')):
            self._files[normal_name(path.name.partition('.ko')[0])] = path
        builtin = root / 'modules.builtin'
        self._builtin = set()
        if builtin.exists():
            self._builtin = {
                normal_name(pathlib.PurePath(line).stem)
                for line in builtin.read_text().split()}
        self._cache = {}

    def order(self, names):
        """Return *names* and all they depend on, dependencies first.

        Built-in modules are left out.

        :returns: list of normalised module names, each once.
        :raises BuildError: a module, or a dependency, does not exist.
        """
        result = []
        for name in names:
            self._visit(normal_name(name), result, ())
        return result

    def _visit(self, name, result, parents):
        if name in result or name in self._builtin:
            return
        if name in parents:
            raise errors.BuildError(
                'kernel modules depend on each other: %s'
                % ' > '.join(parents + (name,)))
        for needed in self.info(name).get('depends', '').split(','):
            if needed:
                self._visit(normal_name(needed), result, parents + (name,))
        result.append(name)

    def info(self, name):
        """The .modinfo of module *name* as a dict (last value wins)."""
        raw = elf.Elf(self.content(name), name).section('.modinfo')
        pairs = (item.partition(b'=') for item in raw.split(b'\0') if item)
        return {key.decode(): value.decode('utf-8', 'replace')
                for key, _sep, value in pairs}

    def content(self, name):
        """The module's uncompressed bytes."""
        name = normal_name(name)
        if name not in self._cache:
            path = self._files.get(name)
            if path is None:
                raise errors.BuildError(f'the kernel has no module {name}')
            data = path.read_bytes()
            if path.suffix == '.xz':
                data = lzma.decompress(data)
            elif path.suffix != '.ko':
                raise errors.BuildError(
                    f'{path.name}: unknown module compression')
            self._cache[name] = data
        return self._cache[name]


def normal_name(name):
    """Module name as the kernel has it: '-' and '_' are the same letter."""
    return name.replace('-', '_')
