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

"""The compiled profile against what libseccomp makes of the same profile."""

import base64
import ctypes
import ctypes.util
import struct
import tempfile
import unittest

import ddt

from nova_containervm.guest import seccomp_filter
from nova_containervm.guest import spec
from tests.unit.guest import test_seccomp

X86_64, I386, ARM = 0xc000003e, 0x40000003, 0x40000028
ARCHES = {'SCMP_ARCH_X86_64': X86_64, 'SCMP_ARCH_X86': I386}
ALLOW = 0x7fff0000
#: of seccomp_rule_add_array(): comparisons
OPS = {'SCMP_CMP_EQ': 4, 'SCMP_CMP_MASKED_EQ': 7}

MASK = 0xffffffffffffffff
VALUES = sorted({0, 1, 2, 16, 38, 40, 0x20008, 0xffffffff, 1 << 32,
                 (1 << 32) + 38, MASK} | {1 << bit for bit in range(33)})


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = [('arg', ctypes.c_uint), ('op', ctypes.c_int),
                ('datum_a', ctypes.c_uint64), ('datum_b', ctypes.c_uint64)]


def libseccomp():
    name = ctypes.util.find_library('seccomp')
    if name is None:
        return None
    found = ctypes.CDLL(name)
    found.seccomp_init.restype = ctypes.c_void_p
    return found


def oracle(profile):
    """What crun has libseccomp make of the profile."""
    library = libseccomp()
    filter_ = ctypes.c_void_p(library.seccomp_init(ALLOW))
    for name in profile['architectures']:
        library.seccomp_arch_add(filter_, ctypes.c_uint32(ARCHES[name]))
    for rule in profile['syscalls']:
        comparisons = [
            Comparison(arg['index'], OPS[arg['op']], arg['value'],
                       arg.get('valueTwo', 0))
            for arg in rule.get('args', ())]
        for name in rule['names']:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                continue
            result = library.seccomp_rule_add_array(
                filter_, ctypes.c_uint32(0x50000 | rule['errnoRet']), number,
                len(comparisons),
                (Comparison * len(comparisons))(*comparisons))
            assert result == 0, (name, result)
    with tempfile.TemporaryFile() as out:
        assert library.seccomp_export_bpf(filter_, out.fileno()) == 0
        library.seccomp_release(filter_)
        out.seek(0)
        return out.read()


def run(program, arch, number, args=()):
    """Run a program as the kernel does; return what it decides."""
    code = list(struct.iter_unpack('=HBBI', program))
    data = struct.pack('=IIQ6Q', number & 0xffffffff, arch, 0,
                       *[*args, *[0] * 6][:6])
    accumulator, at = 0, 0
    while True:
        instruction, hit, miss, value = code[at]
        at += 1
        if instruction == 0x20:
            accumulator, = struct.unpack_from('=I', data, value)
        elif instruction == 0x54:
            accumulator &= value
        elif instruction == 0x05:
            at += value
        elif instruction == 0x06:
            return value
        else:
            true = {0x15: accumulator == value, 0x25: accumulator > value,
                    0x35: accumulator >= value,
                    0x45: bool(accumulator & value)}[instruction]
            at += hit if true else miss


def compiled(profile):
    return base64.b64decode(seccomp_filter.build(profile))


@ddt.ddt
class FilterTest(unittest.TestCase):

    @unittest.skipIf(libseccomp() is None, 'no libseccomp')
    @ddt.data((), ('SYS_ADMIN',), ('SYS_TIME', 'BPF', 'SYS_BOOT'))
    def test_as_libseccomp(self, added):
        profile = test_seccomp.profile(*added)
        ours, theirs = compiled(profile), oracle(profile)
        conditional = {number for names in (
            rule['names'] for rule in profile['syscalls'] if 'args' in rule)
            for name in names for number in seccomp_filter._NUMBERS[name]}
        different = []
        for arch, bits in ((X86_64, 64), (I386, 32), (ARM, 32)):
            for number in (*range(600), 0x40000000, 0x40000001, 0x7fffffff,
                           -2, -1):
                cases = [()]
                if number in conditional:
                    cases = [args for value in VALUES if value < 1 << bits
                             for args in ((value,), (MASK, value))]
                different += [
                    (hex(arch), number, args) for args in cases
                    if run(ours, arch, number, args) !=
                    run(theirs, arch, number, args)]
        self.assertEqual([], different)

    @unittest.skipIf(libseccomp() is None, 'no libseccomp')
    def test_numbers(self):
        resolve = libseccomp().seccomp_syscall_resolve_name_arch
        for name, numbers in seccomp_filter._NUMBERS.items():
            expected = [resolve(ctypes.c_uint32(arch), name.encode())
                        for arch in (X86_64, I386)]
            if name == 'socket':
                expected[1] = 359  # there it is a way of socketcall, too
            self.assertEqual(
                [None if number < 0 else number for number in expected],
                list(numbers), name)

    def test_refused(self):
        program = compiled(test_seccomp.profile())
        self.assertEqual(0x50001, run(program, X86_64, 165))   # mount
        self.assertEqual(0x50001, run(program, I386, 21))
        self.assertEqual(0x50026, run(program, X86_64, 435))   # clone3
        self.assertEqual(ALLOW, run(program, X86_64, 21))      # access
        self.assertEqual(0, run(program, ARM, 0))

    def test_other_architectures(self):
        self.assertIsNone(seccomp_filter.build(
            test_seccomp.profile(architecture='arm64')))
        self.assertIsNone(seccomp_filter.build({}))

    def test_spec(self):
        self.assertNotIn('annotations', spec.build(
            test_seccomp.made(privileged=True)))
        built = spec.build(test_seccomp.made())
        self.assertEqual(
            seccomp_filter.build(built['linux']['seccomp']),
            built['annotations']['run.oci.seccomp_bpf_data'])

    def test_a_call_that_is_not_in_the_table(self):
        self.assertRaises(KeyError, seccomp_filter.build, {
            'architectures': ['SCMP_ARCH_X86_64'],
            'syscalls': [{'names': ['new'], 'errnoRet': 1}]})
