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

"""Reads the few things the builder wants to know about ELF files.

Little-endian 64-bit files only: what an amd64 guest runs.
"""

import struct

from nova_containervm.baseimage import errors

PT_LOAD = 1
PT_DYNAMIC = 2
PT_INTERP = 3
_SHT_NOBITS = 8
_DT_NEEDED = 1
_DT_STRTAB = 5

_EHDR = struct.Struct('<16sHHIQQQIHHHHHH')
_PHDR = struct.Struct('<IIQQQQQQ')
_SHDR = struct.Struct('<IIQQQQIIQQ')


class Elf:
    """An ELF file held in memory.

    :param data: the whole file.
    :param name: what to call it in errors.
    :raises BuildError: not a little-endian ELF64 file, or cut short.
    """

    def __init__(self, data, name='file'):
        self.data = data
        self.name = name
        if data[:6] != b'\x7fELF\x02\x01':
            raise errors.BuildError(f'{name}: not a 64-bit ELF file')
        try:
            header = _EHDR.unpack_from(data)
            self.phoff, self.shoff = header[5], header[6]
            phentsize, phnum, shentsize, shnum = header[9:13]
            self._shstrndx = header[13]
            self.segments = [
                _PHDR.unpack_from(data, self.phoff + i * phentsize)
                for i in range(phnum)]
            self._sections = [
                _SHDR.unpack_from(data, self.shoff + i * shentsize)
                for i in range(shnum)]
        except struct.error:
            raise errors.BuildError(f'{name}: truncated ELF file') from None
        self.phentsize = phentsize

    def section(self, name):
        """Content of the section called *name*; b'' if there is none."""
        if not self._sections:
            return b''
        names = self._sections[self._shstrndx]
        for sec in self._sections:
            if self._string(names[4] + sec[0]) == name:
                if sec[1] == _SHT_NOBITS:
                    return b''
                return self.data[sec[4]:sec[4] + sec[5]]
        return b''

    def interpreter(self):
        """Path of the dynamic loader, or None for a static program."""
        for seg in self.segments:
            if seg[0] == PT_INTERP:
                return self._string(seg[2])
        return None

    def needed(self):
        """Names of the shared libraries the file asks for, in its order."""
        entries = []
        for seg in self.segments:
            if seg[0] == PT_DYNAMIC:
                raw = self.data[seg[2]:seg[2] + seg[5]]
                entries = list(struct.iter_unpack('<QQ', raw))
        strtab = next((v for tag, v in entries if tag == _DT_STRTAB), None)
        if strtab is None:
            return []
        base = self._file_offset(strtab)
        return [self._string(base + v)
                for tag, v in entries if tag == _DT_NEEDED]

    def _file_offset(self, address):
        for seg in self.segments:
            if seg[0] == PT_LOAD and seg[3] <= address < seg[3] + seg[5]:
                return address - seg[3] + seg[2]
        raise errors.BuildError(
            f'{self.name}: address {address:#x} is in no segment')

    def _string(self, offset):
        end = self.data.index(b'\0', offset)
        return self.data[offset:end].decode('ascii', 'replace')
