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

"""A seccomp profile, compiled: the program that the kernel runs.

crun has libseccomp compile the profile at each start of each container, in
the guest; with this it is done once, on the host: a hundredth of a second of
a start without KVM. What it
says is what libseccomp would (tests/unit/guest/test_seccomp_filter.py asks
that). Where this module does not know an architecture, crun compiles as ever.
"""

import base64
import struct
import typing

#: of crun; other runtimes read linux.seccomp
ANNOTATION = 'run.oci.seccomp_bpf_data'

# Name, number on x86_64, number on i386; "-" where there is none.
_TABLE = """
    _sysctl 156 149, acct 163 51, add_key 248 286, bpf 321 357,
    chroot 161 61, clock_settime 227 264, clock_settime64 - 404,
    clone 56 120, clone3 435 435, create_module 174 127,
    delete_module 176 129, fanotify_init 300 338, finit_module 313 350,
    fsconfig 431 431, fsmount 432 432, fsopen 430 430, fspick 433 433,
    get_kernel_syms 177 130, get_mempolicy 239 275, init_module 175 128,
    io_uring_enter 426 426, io_uring_register 427 427,
    io_uring_setup 425 425, ioperm 173 101, iopl 172 110, kcmp 312 349,
    kexec_file_load 320 -, kexec_load 246 283, keyctl 250 288,
    lookup_dcookie 212 253, mbind 237 274, migrate_pages 256 294,
    mount 165 21, mount_setattr 442 442, move_mount 429 429,
    move_pages 279 317, nfsservctl 180 169, open_by_handle_at 304 342,
    open_tree 428 428, perf_event_open 298 336, personality 135 136,
    pidfd_getfd 438 438, pivot_root 155 217, process_madvise 440 440,
    query_module 178 167, quotactl 179 131, quotactl_fd 443 443,
    reboot 169 88, request_key 249 287, set_mempolicy 238 276,
    set_mempolicy_home_node 450 450, setdomainname 171 121,
    sethostname 170 74, setns 308 346, settimeofday 164 79, socket 41 359,
    stime - 25, swapoff 168 115, swapon 167 87, sysfs 139 135,
    syslog 103 103, umount - 22, umount2 166 52, unshare 272 310,
    uselib 134 86, userfaultfd 323 374, ustat 136 62, vhangup 153 111,
    vm86 - 166, vm86old - 113
"""



def _numbers() -> dict[str, tuple[int | None, ...]]:
    found = {}
    for entry in _TABLE.replace('\n', ' ').split(','):
        name, *numbers = entry.split()
        found[name] = tuple(None if number == '-' else int(number)
                            for number in numbers)
    return found


_NUMBERS = _numbers()

_AUDIT_ARCHES = {'SCMP_ARCH_X86_64': (0xc000003e, 0),
                 'SCMP_ARCH_X86': (0x40000003, 1)}
_X86_64 = 'SCMP_ARCH_X86_64'
# Numbers from here on are x32's, which no profile has.
_X32 = 0x40000000

# Instructions of the kernel's linux/bpf_common.h, and struct seccomp_data.
_INSTRUCTION = struct.Struct('=HBBI')
_LOAD, _JUMP, _EQUAL, _AT_LEAST, _AND, _RETURN = (
    0x20, 0x05, 0x15, 0x35, 0x54, 0x06)
_NUMBER_AT, _ARCH_AT, _ARGS_AT = 0, 4, 16
_ALLOW, _ERRNO, _KILL = 0x7fff0000, 0x00050000, 0x00000000


class _Program:
    """Instructions in the making, with jumps to what comes later."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []

    def add(self, code: int, value: int = 0, hit: int = 0,
            miss: int = 0) -> int:
        """Add an instruction; return its number."""
        self._code.append((code, hit, miss, value & 0xffffffff))
        return len(self._code) - 1

    def _distance(self, at: int) -> int:
        return len(self._code) - at - 1

    def jump_here(self, at: int) -> None:
        """Have the jump *at* go on here."""
        self._code[at] = (_JUMP, 0, 0, self._distance(at))

    def hit_here(self, at: int) -> None:
        """Have the comparison *at* go on here if it is true."""
        code, _hit, miss, value = self._code[at]
        self._code[at] = (code, self._distance(at), miss, value)

    def miss_here(self, at: int) -> None:
        """Have the comparison *at* go on here if it is false."""
        code, hit, _miss, value = self._code[at]
        self._code[at] = (code, hit, self._distance(at), value)

    def encode(self) -> bytes:
        """The program.

        :raises struct.error: a jump is longer than an instruction can say
        """
        return b''.join(_INSTRUCTION.pack(*each) for each in self._code)


def build(profile: dict[str, typing.Any]) -> str | None:
    """Return a profile of `seccomp.profile` as the value of `ANNOTATION`.

    None if it is for an architecture that is not known here.

    :raises KeyError: it has a call that is not in the table
    """
    arches = profile.get('architectures', ())
    if _X86_64 not in arches or any(a not in _AUDIT_ARCHES for a in arches):
        return None
    program = _Program()
    program.add(_LOAD, _ARCH_AT)
    for name in arches:
        audit, column = _AUDIT_ARCHES[name]
        program.add(_EQUAL, audit, hit=1)
        over = program.add(_JUMP)
        program.add(_LOAD, _NUMBER_AT)
        if name == _X86_64:
            program.add(_AT_LEAST, _X32, miss=2)
            # a tracer's way to say "skip this call"
            program.add(_EQUAL, -1, hit=1)
            program.add(_RETURN, _KILL)
        _section(program, profile['syscalls'], column)
        program.jump_here(over)
    program.add(_RETURN, _KILL)
    return base64.b64encode(program.encode()).decode()


def _section(program: _Program, rules: list[dict[str, typing.Any]],
             column: int) -> None:
    """The rules for one architecture; the number has been loaded."""
    plain: dict[int, list[int]] = {}
    by_number: dict[int, list[dict[str, typing.Any]]] = {}
    for rule in rules:
        for name in rule['names']:
            number = _NUMBERS[name][column]
            if number is None:
                continue
            if 'args' in rule:
                by_number.setdefault(number, []).append(rule)
            else:
                plain.setdefault(rule['errnoRet'], []).append(
                    program.add(_EQUAL, number))
    for number, conditions in by_number.items():
        other = program.add(_EQUAL, number)
        for rule in conditions:
            _condition(program, rule)
        program.add(_RETURN, _ALLOW)
        program.miss_here(other)
    program.add(_RETURN, _ALLOW)
    for errno, branches in plain.items():
        for at in branches:
            program.hit_here(at)
        program.add(_RETURN, _ERRNO | errno)


def _condition(program: _Program, rule: dict[str, typing.Any]) -> None:
    """Refuse if the one comparison that a rule has is true."""
    arg, = rule['args']
    value = mask = arg['value']
    if arg['op'] == 'SCMP_CMP_EQ':
        mask = 0xffffffffffffffff
    else:
        value = arg['valueTwo']
    branches = []
    for shift in (32, 0):
        part = mask >> shift & 0xffffffff
        if part:
            program.add(_LOAD, _ARGS_AT + 8 * arg['index'] + shift // 8)
            if part != 0xffffffff:
                program.add(_AND, part)
            branches.append(program.add(_EQUAL, value >> shift))
    program.add(_RETURN, _ERRNO | rule['errnoRet'])
    for at in branches:
        program.miss_here(at)
