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

"""Extraction of the uncompressed kernel."""

import bz2
import gzip
import lzma
import struct
import unittest

import zstandard

from nova_containervm.baseimage import elf
from nova_containervm.baseimage import errors
from nova_containervm.baseimage import kernel

PVH_NOTE = struct.pack('<III', 4, 4, 18) + b'Xen\0' + bytes(4)
OTHER_NOTE = struct.pack('<III', 4, 2, 1) + b'GNU\0' + b'xx\0\0'


def vmlinux(notes=OTHER_NOTE + PVH_NOTE, tail=bytes(3 * 4096)):
    """A kernel-like ELF: one segment that ends in zeros, a .notes section."""
    names = b'\0.notes\0.shstrtab\0'
    text = (b'kernel text' + notes).ljust(8192, b'\x90') + tail
    start = 4096
    segment = struct.pack('<IIQQQQQQ', elf.PT_LOAD, 7, start, 0x1000000,
                          0x1000000, len(text), len(text), 4096)
    names_at = start + len(text)
    table_at = names_at + len(names)
    sections = bytes(64)
    for name, kind, offset, size in (
            (1, 7, start + 11, len(notes)), (8, 3, names_at, len(names))):
        sections += struct.pack('<IIQQQQIIQQ', name, kind, 0, 0, offset,
                                size, 0, 0, 1, 0)
    header = struct.pack(
        '<16sHHIQQQIHHHHHH', b'\x7fELF\x02\x01\x01'.ljust(16, b'\0'), 2, 62,
        1, 0x1000000, 64, table_at, 0, 64, 56, 1, 64, 3, 2)
    return (header + segment).ljust(start, b'\0') + text + names + sections


def bzimage(image, compress=lzma.compress, version=0x20f, size=None):
    payload = compress(image) + struct.pack(
        '<I', len(image) if size is None else size)
    setup = bytearray(5 * 512)
    setup[0x1f1] = 4
    setup[0x202:0x206] = b'HdrS'
    struct.pack_into('<H', setup, 0x206, version)
    struct.pack_into('<II', setup, 0x248, 64, len(payload))
    return bytes(setup) + bytes(64) + payload + b'after the payload'


class KernelTest(unittest.TestCase):

    def test_compressions(self):
        image = vmlinux()
        expected = kernel.trim_segments(image)
        for compress in (lzma.compress, gzip.compress, bz2.compress,
                         zstandard.compress):
            with self.subTest(compress.__module__):
                self.assertEqual(
                    expected,
                    kernel.extract_vmlinux(bzimage(image, compress)))

    def test_errors(self):
        good = bzimage(vmlinux())
        damaged = bytearray(good)
        damaged[5 * 512 + 64 + 40] ^= 0xff
        cases = {
            'not an x86 bzImage': b'MZ' + bytes(1000),
            'is too old': bzimage(vmlinux(), version=0x207),
            'truncated': good[:2700],
            'unknown compression, magic': bzimage(vmlinux(), lambda i: i),
            'expected': bzimage(vmlinux(), size=17),
            'no PVH entry point': bzimage(vmlinux(notes=OTHER_NOTE)),
            'Corrupt|corrupt': bytes(damaged),
        }
        for message, image in cases.items():
            with self.subTest(message):
                with self.assertRaisesRegex(errors.BuildError, message):
                    kernel.extract_vmlinux(image)

    def test_trailing_zeros_are_left_to_the_loader(self):
        image = vmlinux(tail=b'x' + bytes(5 * 4096))
        out = kernel.trim_segments(image)
        segment = elf.Elf(out).segments[0]
        self.assertEqual(3 * 4096, segment[5])
        self.assertEqual(elf.Elf(image).segments[0][6], segment[6])
        self.assertEqual(image[4096:4096 + segment[5]], out[4096:])

    def test_nothing_to_trim(self):
        image = vmlinux(tail=b'x' * 4096)
        self.assertEqual(image, kernel.trim_segments(image))
