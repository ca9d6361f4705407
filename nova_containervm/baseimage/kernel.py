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

"""Gets an uncompressed kernel out of a distribution's vmlinuz.

A bzImage unpacks itself inside the guest, where that costs seconds under
TCG. The ELF file it carries has a PVH entry point (an ELF note), which QEMU
and libvirt's <kernel> can start directly: unpacking once, at image build
time, takes that work out of every boot.

Format: Documentation/x86/boot.rst of the kernel, "The Real-Mode Kernel
Header"; the fields used are setup_sects, header, version, payload_offset
and payload_length.
"""

import bz2
import lzma
import struct
import zlib

from nova_containervm.baseimage import elf
from nova_containervm.baseimage import errors
from nova_containervm.baseimage import tools

_SETUP_SECTS = 0x1f1
_HEADER_MAGIC = 0x202
_BOOT_VERSION = 0x206
_PAYLOAD = 0x248
_NOTE_PVH = 18  # XEN_ELFNOTE_PHYS32_ENTRY


def _external(program):
    def unpack(payload):
        return tools.run([program, '-d', '-c', '-q'], data=payload)
    return unpack


# Magic number of each compression the kernel's build system offers. Debian
# uses xz for its generic kernel 6.1, zstd for 6.12. The payload ends with the
# unpacked size in 4 bytes, which is no part of the stream: the decompressor
# objects used here ignore what follows.
_FORMATS = (
    (b'\xfd7zXZ\0', lambda p: lzma.LZMADecompressor().decompress(p)),
    (b'\x1f\x8b', lambda p: zlib.decompressobj(31).decompress(p)),
    (b'BZh', lambda p: bz2.BZ2Decompressor().decompress(p)),
    (b'\x28\xb5\x2f\xfd', lambda p: _external('zstd')(p[:-4])),
    (b'\x02\x21\x4c\x18', lambda p: _external('lz4')(p[:-4])),
)


def extract_vmlinux(vmlinuz):
    """Return the ELF kernel inside the bzImage *vmlinuz* (bytes to bytes).

    :raises BuildError: not a bzImage, an unknown compression, a damaged
        stream, or a kernel without a PVH entry point.
    """
    if vmlinuz[_HEADER_MAGIC:_HEADER_MAGIC + 4] != b'HdrS':
        raise errors.BuildError('vmlinuz: not an x86 bzImage')
    version, = struct.unpack_from('<H', vmlinuz, _BOOT_VERSION)
    if version < 0x208:  # the first protocol with payload_offset
        raise errors.BuildError(
            f'vmlinuz: boot protocol {version:#x} is too old')
    setup = (vmlinuz[_SETUP_SECTS] or 4) + 1
    offset, length = struct.unpack_from('<II', vmlinuz, _PAYLOAD)
    start = setup * 512 + offset
    payload = vmlinuz[start:start + length]
    if len(payload) != length or length < 8:
        raise errors.BuildError('vmlinuz: truncated')
    unpack = next((function for magic, function in _FORMATS
                   if payload.startswith(magic)), None)
    if unpack is None:
        raise errors.BuildError(
            'vmlinuz: unknown compression, magic %s' % payload[:6].hex())
    try:
        image = unpack(payload)
    except (lzma.LZMAError, zlib.error, OSError) as exc:
        raise errors.BuildError(f'vmlinuz: {exc}') from exc
    size, = struct.unpack('<I', payload[-4:])
    if len(image) != size:
        raise errors.BuildError(
            f'vmlinuz: unpacks to {len(image)} bytes, {size} expected')
    if not has_pvh_entry(image):
        raise errors.BuildError(
            'vmlinuz: the kernel has no PVH entry point (CONFIG_PVH)')
    return trim_segments(image)


def has_pvh_entry(image):
    """Whether the ELF kernel *image* can be started by the PVH protocol."""
    notes = elf.Elf(image, 'vmlinux').section('.notes')
    offset = 0
    while offset + 12 <= len(notes):
        namesz, descsz, kind = struct.unpack_from('<III', notes, offset)
        name = notes[offset + 12:offset + 12 + namesz]
        if name == b'Xen\0' and kind == _NOTE_PVH:
            return True
        offset += 12 + (namesz + 3) // 4 * 4 + (descsz + 3) // 4 * 4
    return False


def trim_segments(image):
    """Drop the zeros that end the last segment, and the section headers.

    The kernel's linker script makes .bss part of the file (the decompressor
    wants it so): over 20 MB of zeros, which QEMU would read, keep in memory
    for every VM, and copy at each start. p_filesz < p_memsz says the same.
    Section headers lie behind it and nobody needs them at run time.
    """
    info = elf.Elf(image, 'vmlinux')
    loads = [(i, seg) for i, seg in enumerate(info.segments)
             if seg[0] == elf.PT_LOAD]
    index, last = max(loads, key=lambda item: item[1][2])
    start, filesz = last[2], last[5]
    used = len(image[start:start + filesz].rstrip(b'\0'))
    used = (used + 4095) // 4096 * 4096
    if used >= filesz:
        return image
    out = bytearray(image[:start + used])
    struct.pack_into('<Q', out, info.phoff + index * info.phentsize + 32, used)
    struct.pack_into('<Q', out, 40, 0)       # e_shoff
    struct.pack_into('<HH', out, 60, 0, 0)   # e_shnum, e_shstrndx
    return bytes(out)
