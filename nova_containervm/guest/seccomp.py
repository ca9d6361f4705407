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

"""The system calls that a container may not make: docker's defaults.

docker lists the 370 calls that it allows. This profile lists the 70 that this
leaves out and allows the rest, to the same effect: a table that can be read,
and that the runtime compiles in a third of the time at every start. The two
differ in a few long obsolete calls of 32-bit programs, and in calls newer than
docker's list: the guest's kernel decides on those.

As in docker, a capability brings the calls that it is for, a privileged
container has no profile, and this is a second line of defence: the first is
that the container has no right to do these things, the last is the VM.
"""

import collections.abc
import typing

from nova_containervm.guest import container as container_lib

Rule = dict[str, typing.Any]

_EPERM = 1
_ENOSYS = 38

# By the names of Go, as image configs have them. 32-bit programs run, too.
_ARCHITECTURES = {
    'amd64': ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
    'arm64': ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
    'ppc64le': ['SCMP_ARCH_PPC64LE'],
    'riscv64': ['SCMP_ARCH_RISCV64'],
    's390x': ['SCMP_ARCH_S390X', 'SCMP_ARCH_S390'],
}

_NEVER = (
    # the kernel's key rings are not part of any namespace
    'add_key', 'keyctl', 'request_key',
    # memory of others, and of NUMA nodes
    'migrate_pages', 'move_pages', 'userfaultfd',
    # other ways to make system calls
    'io_uring_enter', 'io_uring_register', 'io_uring_setup',
    # the machine as a whole
    'kexec_file_load', 'kexec_load', 'pivot_root', 'swapoff', 'swapon',
    # what is obsolete, and was never audited
    '_sysctl', 'create_module', 'get_kernel_syms', 'nfsservctl',
    'query_module', 'sysfs', 'uselib', 'ustat', 'vm86', 'vm86old',
)

# Calls by the capabilities of which any one brings them.
_WITH_CAPABILITY = {
    ('SYS_ADMIN',): (
        'fanotify_init', 'fsconfig', 'fsmount', 'fsopen', 'fspick',
        'lookup_dcookie', 'mount', 'mount_setattr', 'move_mount', 'open_tree',
        'quotactl', 'quotactl_fd', 'setdomainname', 'sethostname', 'setns',
        'umount', 'umount2', 'unshare'),
    ('SYS_ADMIN', 'BPF'): ('bpf',),
    ('SYS_ADMIN', 'PERFMON'): ('perf_event_open',),
    ('SYS_ADMIN', 'SYSLOG'): ('syslog',),
    ('DAC_READ_SEARCH',): ('open_by_handle_at',),
    ('SYS_BOOT',): ('reboot',),
    ('SYS_CHROOT',): ('chroot',),
    ('SYS_MODULE',): ('delete_module', 'finit_module', 'init_module'),
    ('SYS_NICE',): ('get_mempolicy', 'mbind', 'set_mempolicy',
                    'set_mempolicy_home_node'),
    ('SYS_PACCT',): ('acct',),
    ('SYS_PTRACE',): ('kcmp', 'pidfd_getfd', 'process_madvise'),
    ('SYS_RAWIO',): ('ioperm', 'iopl'),
    ('SYS_TIME',): ('clock_settime', 'clock_settime64', 'settimeofday',
                    'stime'),
    ('SYS_TTY_CONFIG',): ('vhangup',),
}

# CLONE_NEW{CGROUP,UTS,IPC,USER,PID,NET} and CLONE_NEWNS.
_CLONE_NAMESPACES = (1 << 17, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29,
                     1 << 30)

# AF_ALG (kernel crypto) and AF_VSOCK (the hypervisor).
_SOCKET_FAMILIES = (38, 40)

# personality(2): all but PER_LINUX32 (bit 3) and UNAME26 (bit 17).
_PERSONALITY_BITS = (0, 1, 2, 4, 5, 6, 7, 18, 20, 21, 22, 23, 24, 25, 26, 27)
_PERSONALITY_QUERY_BIT = 31


def profile(container: container_lib.Container
            ) -> dict[str, typing.Any] | None:
    """Return linux.seccomp of the runtime-spec, None for no filter."""
    if container.privileged:
        return None
    owned = set(container.capabilities)
    denied = [*_NEVER]
    for names, calls in _WITH_CAPABILITY.items():
        if not owned & {'CAP_' + name for name in names}:
            denied += calls
    rules = [_rule(sorted(denied))]
    if 'CAP_SYS_ADMIN' not in owned:
        flags = 1 if container.architecture == 's390x' else 0
        rules += [_masked('clone', flags, bit, bit)
                  for bit in _CLONE_NAMESPACES]
        # Its flags are behind a pointer. ENOSYS makes the C library use
        # clone instead.
        rules.append(_rule(['clone3'], errno=_ENOSYS))
    rules += [
        _rule(['socket'], args=[{'index': 0, 'value': family,
                                 'op': 'SCMP_CMP_EQ'}])
        for family in _SOCKET_FAMILIES]
    # A rule has one comparison of an argument. 0xffffffff, which asks and
    # changes nothing, is told apart by a bit that nothing else has.
    query = 1 << _PERSONALITY_QUERY_BIT
    rules += [_masked('personality', 0, 1 << bit | query, 1 << bit)
              for bit in _PERSONALITY_BITS]
    result: dict[str, typing.Any] = {
        'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': rules}
    architectures = _ARCHITECTURES.get(container.architecture)
    if architectures:
        result['architectures'] = architectures
    return result


def _rule(names: collections.abc.Sequence[str], errno: int = _EPERM,
          args: list[dict[str, typing.Any]] | None = None) -> Rule:
    rule: Rule = {'names': list(names), 'action': 'SCMP_ACT_ERRNO',
                  'errnoRet': errno}
    if args:
        rule['args'] = args
    return rule


def _masked(name: str, index: int, mask: int, value: int) -> Rule:
    """Deny NAME where the bits of MASK in an argument are VALUE."""
    return _rule([name], args=[{'index': index, 'value': mask,
                                'valueTwo': value,
                                'op': 'SCMP_CMP_MASKED_EQ'}])
