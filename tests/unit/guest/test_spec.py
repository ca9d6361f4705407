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

import json
import unittest

import ddt

from nova_containervm.guest import container
from nova_containervm.guest import spec
from nova_containervm.guest import users
from nova_containervm.guest import values

UUID = '0f3e2a90-7d0b-4c3e-9a56-1c2d3e4f5a6b'


def build(**kwargs):
    given = {'args': ('sh',), 'env': ('A=1',), 'cwd': '/', 'hostname': 'web1',
             'user': users.ExecUser(0, 0, (0,), '/')}
    return spec.build(container.Container(**{**given, **kwargs}))


def mount_of(config, destination):
    found = [m for m in config['mounts'] if m['destination'] == destination]
    assert len(found) == 1, found
    return found[0]


@ddt.ddt
class SpecTest(unittest.TestCase):

    def test_process(self):
        process = build(
            args=('sh', '-c', 'x'), env=('A=1', 'B=é'), cwd='/srv',
            user=users.ExecUser(1000, 1001, (1001, 7), '/'))['process']
        self.assertEqual(
            {'uid': 1000, 'gid': 1001, 'additionalGids': [1001, 7],
             'umask': 0o022}, process['user'])
        self.assertEqual(
            (['sh', '-c', 'x'], ['A=1', 'B=é'], '/srv', False, False, 0),
            (process['args'], process['env'], process['cwd'],
             process['terminal'], process['noNewPrivileges'],
             process['oomScoreAdj']))

    def test_capabilities_are_neither_inheritable_nor_ambient(self):
        found = build()['process']['capabilities']
        self.assertEqual({'bounding', 'effective', 'permitted'}, set(found))
        self.assertEqual(list(container.DEFAULT_CAPABILITIES),
                         found['bounding'])

    def test_rlimits(self):
        found = build(rlimits={'nofile': (1, 2), 'core': (0, 0)})
        self.assertEqual(
            [{'type': 'RLIMIT_CORE', 'soft': 0, 'hard': 0},
             {'type': 'RLIMIT_NOFILE', 'soft': 1, 'hard': 2}],
            found['process']['rlimits'])

    def test_namespaces(self):
        self.assertEqual(
            ['pid', 'mount', 'uts', 'ipc', 'cgroup'],
            [n['type'] for n in build()['linux']['namespaces']])

    def test_default_mounts(self):
        config = build()
        self.assertEqual(
            ['/proc', '/dev', '/dev/pts', '/sys', '/sys/fs/cgroup',
             '/dev/mqueue', '/dev/shm', '/etc/hosts', '/etc/hostname',
             '/etc/resolv.conf'],
            [m['destination'] for m in config['mounts']])
        self.assertIn('ro', mount_of(config, '/sys')['options'])
        self.assertIn('ro', mount_of(config, '/sys/fs/cgroup')['options'])
        self.assertIn('size=67108864',
                      mount_of(config, '/dev/shm')['options'])
        self.assertEqual(
            {'destination': '/etc/hosts', 'type': 'bind',
             'source': '/run/containervm/etc/hosts',
             'options': ['rbind', 'rprivate']},
            mount_of(config, '/etc/hosts'))

    def test_masked_and_read_only_paths(self):
        linux = build()['linux']
        self.assertIn('/proc/kcore', linux['maskedPaths'])
        self.assertIn('/proc/sys', linux['readonlyPaths'])

    def test_privileged(self):
        config = build(privileged=True, capabilities=values.CAPABILITIES)
        linux = config['linux']
        self.assertNotIn('maskedPaths', linux)
        self.assertNotIn('readonlyPaths', linux)
        self.assertEqual([{'allow': True, 'access': 'rwm'}],
                         linux['resources']['devices'])
        self.assertNotIn('ro', mount_of(config, '/sys')['options'])
        self.assertNotIn('ro', mount_of(config, '/sys/fs/cgroup')['options'])
        self.assertEqual('bind', mount_of(config, '/dev')['type'])

    def test_devices_are_denied_first(self):
        rules = build()['linux']['resources']['devices']
        self.assertEqual({'allow': False, 'access': 'rwm'}, rules[0])
        self.assertTrue(all(r['allow'] and r['type'] == 'c'
                            for r in rules[1:]))

    def test_read_only(self):
        config = build(read_only=True, tmpfs={'/run': ()})
        self.assertTrue(config['root']['readonly'])
        writable = {m['destination'] for m in config['mounts']
                    if 'ro' not in m['options']}
        self.assertEqual({'/proc', '/dev', '/dev/pts', '/dev/shm',
                          '/dev/mqueue', '/run'}, writable)

    @ddt.data(
        ((), ['noexec', 'nosuid', 'nodev', 'rprivate']),
        (('rw', 'exec', 'size=64m'),
         ['nosuid', 'nodev', 'rprivate', 'rw', 'exec', 'size=64m']),
        (('size=1m', 'size=2m'),
         ['noexec', 'nosuid', 'nodev', 'rprivate', 'size=2m']),
        (('ro', 'rw', 'shared', 'defaults'),
         ['noexec', 'nosuid', 'nodev', 'rw', 'shared']),
    )
    @ddt.unpack
    def test_tmpfs(self, given, expected):
        found = mount_of(build(tmpfs={'/x': given}), '/x')
        self.assertEqual(('tmpfs', 'tmpfs', expected),
                         (found['type'], found['source'], found['options']))

    def test_a_requested_mount_replaces_a_default_one(self):
        config = build(tmpfs={'/dev/shm': ('size=1g',)})
        self.assertIn('size=1g', mount_of(config, '/dev/shm')['options'])

    def test_requested_mounts_are_sorted_by_depth(self):
        config = build(
            tmpfs={'/a/b/c': (), '/a': ()},
            volumes=(values.Volume(UUID, '/a/b', True),))
        order = [m['destination'] for m in config['mounts']]
        self.assertLess(order.index('/a'), order.index('/a/b'))
        self.assertLess(order.index('/a/b'), order.index('/a/b/c'))
        self.assertEqual(
            {'destination': '/a/b', 'type': 'bind',
             'source': f'/run/containervm/volumes/{UUID}',
             'options': ['rbind', 'rprivate', 'ro']},
            mount_of(config, '/a/b'))

    def test_init(self):
        config = build(args=('sh', '-c', 'x'), init=True)
        self.assertEqual(['/sbin/docker-init', '--', 'sh', '-c', 'x'],
                         config['process']['args'])
        self.assertIn('ro', mount_of(config, '/sbin/docker-init')['options'])

    def test_system_init(self):
        config = build(args=('/sbin/init',), system_init=True,
                       tmpfs={'/tmp': ('size=5m',)})
        self.assertNotIn('ro', mount_of(config, '/sys/fs/cgroup')['options'])
        self.assertIn('ro', mount_of(config, '/sys')['options'])
        self.assertNotIn('noexec', mount_of(config, '/run')['options'])
        self.assertIn('size=5m', mount_of(config, '/tmp')['options'])
        self.assertIn('noexec', mount_of(config, '/run/lock')['options'])

    def test_sysctls_are_parted(self):
        given = {'net.core.somaxconn': '1', 'kernel.sem': '2',
                 'fs.mqueue.msg_max': '3', 'vm.swappiness': '4',
                 'kernel.shmmax': '5', 'kernel.pid_max': '6'}
        runtime, guest = spec.split_sysctls(given)
        self.assertEqual({'kernel.sem', 'fs.mqueue.msg_max', 'kernel.shmmax'},
                         set(runtime))
        self.assertEqual(given, {**runtime, **guest})
        self.assertEqual(runtime, build(sysctls=given)['linux']['sysctl'])
        self.assertNotIn('sysctl', build()['linux'])

    def test_the_same_container_gives_the_same_spec(self):
        self.assertEqual(json.dumps(build()), json.dumps(build()))
