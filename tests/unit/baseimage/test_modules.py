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

"""Order and slimming of kernel modules, with modules made by the compiler."""

import lzma
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from nova_containervm.baseimage import elf
from nova_containervm.baseimage import errors
from nova_containervm.baseimage import ftrace
from nova_containervm.baseimage import initrd
from nova_containervm.baseimage import modules

_SOURCE = '''
#define INFO(name, text) \\
    static const char name[] __attribute__((section(".modinfo"), used)) = text
INFO(license, "license=GPL");
INFO(depends, "depends=%s");
static const char btf[] __attribute__((section(".BTF"), used)) = "types";
extern int other(void);
static int helper(int x) { return other() + x; }
int init_module(void) { return helper(1); }
'''


def make(path, depends=''):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(['gcc', '-c', '-O0', '-x', 'c', '-', '-o', path],
                   input=(_SOURCE % depends).encode(), check=True)


@unittest.skipUnless(shutil.which('gcc'), 'no C compiler')
class ModulesTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)
        for name, depends in {
                'virtio_ring': '', 'virtio': '',
                'virtio-pci': 'virtio,virtio_ring',
                'fs/9p': '9pnet,netfs', 'net/9pnet': 'netfs',
                'net/netfs': 'built-in', 'a': 'b', 'b': 'a',
                'broken': 'no_such'}.items():
            make(self.root / f'kernel/{name}.ko', depends)
        (self.root / 'modules.builtin').write_text(
            'kernel/lib/built-in.ko\n')
        self.tree = modules.ModuleTree(self.root)

    def test_dependencies_first(self):
        self.assertEqual(
            ['virtio', 'virtio_ring', 'virtio_pci', 'netfs', '9pnet', '9p'],
            self.tree.order(['virtio_pci', '9p', 'virtio', 'built_in']))

    def test_either_spelling(self):
        self.assertEqual(self.tree.order(['virtio-pci']),
                         self.tree.order(['virtio_pci']))

    def test_errors(self):
        with self.assertRaisesRegex(errors.BuildError, 'no module nosuch'):
            self.tree.order(['nosuch'])
        with self.assertRaisesRegex(errors.BuildError, 'no module no_such'):
            self.tree.order(['broken'])
        with self.assertRaisesRegex(errors.BuildError, 'a > b > a'):
            self.tree.order(['a'])

    def test_compressed_module(self):
        path = self.root / 'kernel/virtio.ko'
        data = path.read_bytes()
        path.with_suffix('.ko.xz').write_bytes(lzma.compress(data))
        path.unlink()
        tree = modules.ModuleTree(self.root)
        self.assertEqual(data, tree.content('virtio'))

    @unittest.skipUnless(shutil.which('objcopy'), 'no objcopy')
    def test_slim(self):
        signed = self.tree.content('virtio') + b'signature ~Module\n'
        data = modules.slim(signed, self.root)
        info = elf.Elf(data)
        self.assertEqual(b'', info.section('.BTF'))
        self.assertIn(b'license=GPL\0', info.section('.modinfo'))
        self.assertNotIn(b'helper', data)
        self.assertIn(b'init_module', data)
        self.assertIn(b'other', data)
        self.assertNotIn(b'signature', data)
        self.assertEqual(data, modules.slim(signed, self.root))

    @unittest.skipUnless(shutil.which('objcopy'), 'no objcopy')
    def test_slim_disarms_the_tracer(self):
        """No call of it is left, no list of them, and all the rest is."""
        path = self.root / 'traced.ko'
        subprocess.run(
            ['gcc', '-c', '-O2', '-pg', '-mfentry', '-mrecord-mcount',
             '-fcf-protection=none', '-fno-pic', '-x', 'c', '-', '-o', path],
            input=(_SOURCE % '').encode(), check=True)

        def relocations(data):
            path.write_bytes(data)
            return subprocess.run(
                ['objdump', '-dr', path], capture_output=True, text=True,
                check=True).stdout

        before = path.read_bytes()
        self.assertIn('__fentry__', relocations(before))
        self.assertNotEqual(b'', elf.Elf(before).section('__mcount_loc'))
        after = modules.slim(before, self.root)
        found = relocations(after)
        self.assertNotIn('fentry', found)
        self.assertEqual(1, found.count('nopl   0x0(%rax,%rax,1)'), found)
        self.assertEqual(1, len(re.findall(r'R_X86_64_\w+\tother', found)))
        self.assertEqual(b'', elf.Elf(after).section('__mcount_loc'))

    def test_disarm_of_something_else(self):
        """A relocation that is not of a call is not written over."""
        path = self.root / 'traced.ko'
        subprocess.run(
            ['gcc', '-c', '-x', 'c', '-', '-o', path], check=True,
            input=b'extern void __fentry__(void);'
                  b'void (*pointer)(void) = __fentry__;')
        with self.assertRaisesRegex(errors.BuildError, 'no call of __fentry'):
            ftrace.disarm(path.read_bytes())

    def test_groups_name_each_module_once(self):
        for group, names in initrd.MODULE_GROUPS.items():
            self.assertEqual(len(names), len(set(names)), group)
