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

import unittest

import ddt

from nova_containervm.guest import container
from nova_containervm.guest import seccomp
from nova_containervm.guest import users
from nova_containervm.guest import values

# Flags and arguments as in the kernel's headers.
CLONE_VM, CLONE_NEWUSER, CLONE_NEWNET = 0x100, 0x10000000, 0x40000000
AF_UNIX, AF_INET6, AF_NETLINK, AF_ALG, AF_QIPCRTR, AF_VSOCK = (
    1, 10, 16, 38, 42, 40)


def profile(*added, **kwargs):
    capabilities = container.DEFAULT_CAPABILITIES + tuple(
        'CAP_' + name for name in added)
    return seccomp.profile(container.Container(
        args=('sh',), env=(), cwd='/', hostname='h',
        user=users.ExecUser(0, 0, (0,), '/'),
        **{'capabilities': capabilities, **kwargs}))


def verdict(found, name, *args):
    """Return the errno a call gets, 0 for one that goes through."""
    for rule in found['syscalls']:
        if name not in rule['names']:
            continue
        matches = True
        for arg in rule.get('args', ()):
            given = args[arg['index']]
            if arg['op'] == 'SCMP_CMP_EQ':
                matches = given == arg['value']
            else:
                matches = given & arg['value'] == arg['valueTwo']
        if matches:
            return rule['errnoRet']
    return 0


@ddt.ddt
class ProfileTest(unittest.TestCase):

    def test_privileged(self):
        self.assertIsNone(profile(privileged=True))

    def test_a_call_is_denied_once_without_conditions(self):
        plain = [name for rule in profile()['syscalls']
                 if 'args' not in rule for name in rule['names']]
        self.assertEqual(len(plain), len(set(plain)))

    @ddt.data(
        ('read', (), 0), ('execve', (), 0), ('ptrace', (), 0),
        ('chroot', (), 0), ('mknod', (), 0), ('keyctl', (), 1),
        ('mount', (), 1), ('umount2', (), 1), ('reboot', (), 1),
        ('init_module', (), 1), ('bpf', (), 1), ('unshare', (), 1),
        ('settimeofday', (), 1), ('io_uring_setup', (), 1),
        ('clone', (CLONE_VM,), 0), ('clone', (CLONE_NEWUSER,), 1),
        ('clone', (CLONE_VM | CLONE_NEWNET,), 1), ('clone3', (), 38),
        ('socket', (AF_UNIX,), 0), ('socket', (AF_INET6,), 0),
        ('socket', (AF_NETLINK,), 0), ('socket', (AF_QIPCRTR,), 0),
        ('socket', (AF_ALG,), 1), ('socket', (AF_VSOCK,), 1),
        ('personality', (0,), 0), ('personality', (0x8,), 0),
        ('personality', (0x20000,), 0), ('personality', (0x20008,), 0),
        ('personality', (0xffffffff,), 0), ('personality', (0x40000,), 1),
        ('personality', (0x400000,), 1), ('personality', (0x6,), 1),
    )
    @ddt.unpack
    def test_default(self, name, args, expected):
        self.assertEqual(expected, verdict(profile(), name, *args))

    @ddt.data(
        ('SYS_ADMIN', ('mount', 'setns', 'unshare', 'bpf', 'clone3',
                       'syslog', 'perf_event_open'), ('reboot', 'keyctl')),
        ('BPF', ('bpf',), ('mount',)),
        ('SYSLOG', ('syslog',), ('mount',)),
        ('SYS_BOOT', ('reboot',), ('mount',)),
        ('SYS_TIME', ('settimeofday', 'clock_settime'), ('mount',)),
        ('SYS_PTRACE', ('kcmp', 'pidfd_getfd'), ('mount',)),
    )
    @ddt.unpack
    def test_what_a_capability_brings(self, name, allowed, denied):
        found = profile(name)
        self.assertEqual(
            ([0] * len(allowed), [1] * len(denied)),
            ([verdict(found, call) for call in allowed],
             [verdict(found, call) for call in denied]))

    def test_namespaces_with_their_capability(self):
        self.assertEqual(
            0, verdict(profile('SYS_ADMIN'), 'clone', CLONE_NEWUSER))

    def test_what_goes_without_its_capability(self):
        self.assertEqual(1, verdict(profile(capabilities=()), 'chroot'))

    @ddt.data(('amd64', ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']),
              ('arm64', ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']),
              ('mystery', None))
    @ddt.unpack
    def test_architectures(self, name, expected):
        self.assertEqual(
            expected, profile(architecture=name).get('architectures'))

    def test_the_flags_of_clone_are_elsewhere_on_s390x(self):
        found = profile(architecture='s390x')
        self.assertEqual((1, 0), (verdict(found, 'clone', 0, CLONE_NEWUSER),
                                  verdict(found, 'clone', CLONE_NEWUSER, 0)))

    def test_all_capabilities_are_known(self):
        for names in seccomp._WITH_CAPABILITY:
            for name in names:
                self.assertIn('CAP_' + name, values.CAPABILITIES)
