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

"""Takes the function tracer's calls out of a kernel module.

Each function begins with a call of ``__fentry__``, in 5 bytes. A kernel that
loads the module writes a no-op over each; here that is done once, with the
very bytes that the kernel takes (arch/x86/include/asm/nops.h).
"""

import struct

from nova_containervm.baseimage import errors

_SYMBOL = b'__fentry__'
_CALL = 0xe8
_NOP = bytes.fromhex('0f1f440000')
_SHT_RELA = 4
_RELATIVE = (2, 4)  # R_X86_64_PC32, R_X86_64_PLT32

_SECTION = struct.Struct('<IIQQQQIIQQ')
_SYM = struct.Struct('<IBBHQQ')
_RELA = struct.Struct('<QQq')
_SHOFF, _SHNUM = 40, 60


def disarm(data):
    """Return the module *data* with no-ops for the tracer's calls.

    The relocations of the calls go: what the caller does to the file must
    make room for no others (objcopy writes the sections anew).

    :raises BuildError: a relocation is of none of the known forms.
    """
    image = bytearray(data)
    offset, = struct.unpack_from('<Q', image, _SHOFF)
    count, = struct.unpack_from('<H', image, _SHNUM)
    headers = [_SECTION.unpack_from(image, offset + i * _SECTION.size)
               for i in range(count)]
    for number, header in enumerate(headers):
        if header[1] == _SHT_RELA:
            size = _disarm_section(image, headers, header)
            struct.pack_into('<Q', image,
                             offset + number * _SECTION.size + 32, size)
    return bytes(image)


def _disarm_section(image, headers, header):
    """Do it for one section of relocations; return its new size."""
    start, size = header[4], header[5]
    symbols = headers[header[6]]
    names = headers[symbols[6]][4]
    code = headers[header[7]][4]
    kept = bytearray()
    for offset, info, addend in _RELA.iter_unpack(
            bytes(image[start:start + size])):
        if _name(image, symbols[4], names, info >> 32) != _SYMBOL:
            kept += _RELA.pack(offset, info, addend)
            continue
        call = code + offset - 1
        if info & 0xffffffff not in _RELATIVE or image[call] != _CALL:
            raise errors.BuildError(
                f'kernel module: no call of {_SYMBOL.decode()} at '
                f'{offset:#x}')
        image[call:call + len(_NOP)] = _NOP
    image[start:start + len(kept)] = kept
    return len(kept)


def _name(image, symbols, names, number):
    start = names + _SYM.unpack_from(image, symbols + number * _SYM.size)[0]
    return image[start:image.index(0, start)]
