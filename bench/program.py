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

"""The program that all boots are timed with: prints a line, then waits.

A static ELF file of some hundred bytes, put together here so that the same
bytes are the /init of the bare reference and the command of the container,
and so that no compiler is needed.
"""

import struct

MARKER = b'the first line'

_LINE = MARKER + b'\n'
_BASE = 0x400000
_HEADERS = 64 + 56

# x86-64 system calls
_WRITE, _PAUSE = 1, 34


def elf():
    """The program's bytes (x86-64 Linux)."""
    code_size = 40
    text = _BASE + _HEADERS + code_size
    code = (
        b'\xb8' + struct.pack('<I', _WRITE) +             # mov eax, write
        b'\xbf' + struct.pack('<I', 1) +                  # mov edi, 1
        b'\x48\xbe' + struct.pack('<Q', text) +           # mov rsi, text
        b'\xba' + struct.pack('<I', len(_LINE)) +         # mov edx, length
        b'\x0f\x05' +                                     # syscall
        b'\xb8' + struct.pack('<I', _PAUSE) +             # again: mov eax,
        b'\x0f\x05' +                                     # pause; syscall
        b'\xeb\xf7')                                      # jmp again
    assert len(code) <= code_size
    code = code.ljust(code_size, b'\xcc') + _LINE
    size = _HEADERS + len(code)
    header = struct.pack(
        '<16sHHIQQQIHHHHHH', b'\x7fELF\x02\x01\x01', 2, 62, 1,
        _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack('<IIQQQQQQ', 1, 5, 0, _BASE, _BASE, size, size,
                          0x1000)
    return header + segment + code
