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

"""config.json under the runtime it is made for, on this host.

Needs root, crun, a static busybox, and a kernel that lets a mount namespace
have its own cgroup2 mount; without them there is nothing to be seen here.
"""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import ddt

from nova_containervm.guest import container
from nova_containervm.guest import spec
from tests.unit.guest import test_contract

APPLETS = ('sh', 'cat', 'id', 'ls', 'grep', 'tr', 'stat', 'touch', 'pwd',
           'env', 'hostname', 'sleep',
           'unshare', 'chroot', 'echo', 'awk', 'readlink')

# The bundle gets a cgroup2 mount as in a VM, and the host's hierarchy stays.
# Where the tests run in a container, /proc/sys is read-only, and so is sysfs
# as long as it shows the same network namespace.
RUN = """
mount -o remount,bind,rw /proc/sys 2>/dev/null
umount -R -l /sys/fs/cgroup 2>/dev/null
mount -t cgroup2 none /sys/fs/cgroup || exit 77
if [ -z "$2" ]; then exit 0; fi
exec crun --cgroup-manager=disabled --root "$1/state" run -b "$1" "$2"
"""


OWN_CAPABILITIES = (*container.DEFAULT_CAPABILITIES, 'CAP_NET_ADMIN')


@functools.cache
def usable():
    if os.geteuid() != 0 or not all(
            map(shutil.which, ('crun', 'busybox', 'unshare'))):
        return False
    return subprocess.run(['unshare', '-mn', 'sh', '-c', RUN, 'x', '', ''],
                          capture_output=True, check=False).returncode == 0


@ddt.ddt
@unittest.skipUnless(usable(), 'needs root, crun, busybox and cgroup2')
class CrunTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='cvm-crun-'))
        self.addCleanup(shutil.rmtree, self.dir)
        root = self.dir / 'rootfs'
        for name in ('bin', 'etc'):
            (root / name).mkdir(parents=True)
        shutil.copy(shutil.which('busybox'), root / 'bin/busybox')
        for name in APPLETS:
            (root / 'bin' / name).symlink_to('busybox')
        for name in spec.ETC_FILES:
            (self.dir / name).write_text(f'our {name}\n')
        os.chmod(self.dir, 0o755)

    def run_container(self, args, metadata=None, config=None):
        # Hard limits below those of whoever runs the tests.
        metadata = {'containervm_ulimits': 'nofile=512:512 core=0 nproc=512',
                    **(metadata or {})}
        built = test_contract.build(
            {'config': {'Cmd': args, **(config or {})}}, metadata)
        made = json.loads(built.files()['containervm/config.json'])
        for mount in made['mounts']:
            if mount['source'].startswith(spec.GUEST_DIR):
                mount['source'] = str(
                    self.dir / os.path.basename(mount['source']))
        # This host may not have all that a privileged container gets.
        sets = made['process']['capabilities']
        for name, given in sets.items():
            sets[name] = [c for c in given if c in OWN_CAPABILITIES]
        (self.dir / 'config.json').write_text(json.dumps(made))
        return subprocess.run(
            ['unshare', '-mn', 'sh', '-c', RUN, 'test', str(self.dir),
             self.dir.name], capture_output=True, check=False, timeout=60,
            stdin=subprocess.DEVNULL)

    def script(self, text, metadata=None, config=None):
        done = self.run_container(['/bin/sh', '-c', text], metadata, config)
        self.assertEqual(b'', done.stderr)
        return done.stdout.decode()

    def test_identity(self):
        found = self.script('id -u; id -g; id -G; pwd; hostname; echo $$',
                            config={'User': 'www', 'WorkingDir': '/new/dir'})
        self.assertEqual('33\n33\n33 101\n/new/dir\nweb1\n1\n', found)

    def test_environment_and_arguments_survive(self):
        nasty = list(test_contract.NASTY)
        done = self.run_container(
            ['/bin/sh', '-c', 'for a; do printf "%s|" "$a"; done; '
             'echo; env', 'x', *nasty],
            config={'Env': ['Q=\'"$(id)', 'E=']})
        arguments, _, env = done.stdout.decode().rpartition('|\n')
        self.assertEqual('|'.join(nasty), arguments)
        # The shell adds variables of its own, and sorts.
        self.assertLessEqual(
            {'PATH=' + container.DEFAULT_PATH, 'HOSTNAME=web1',
             'Q=\'"$(id)', 'E=', 'HOME=/root'}, set(env.splitlines()))

    @ddt.data(
        ({}, '00000000a80425fb'),
        ({'containervm_cap_drop': 'ALL'}, '0000000000000000'),
        ({'containervm_cap_add': 'NET_ADMIN'}, '00000000a80435fb'))
    @ddt.unpack
    def test_capabilities(self, metadata, expected):
        found = self.script(
            'grep -E "^Cap(Prm|Eff|Bnd|Inh|Amb)" /proc/self/status '
            '| tr -s "\\t" " "', metadata)
        zero = '0' * 16
        self.assertEqual(
            {'CapInh:': zero, 'CapPrm:': expected, 'CapEff:': expected,
             'CapBnd:': expected, 'CapAmb:': zero},
            dict(line.split() for line in found.splitlines()))

    def test_a_user_has_no_capabilities_of_its_own(self):
        found = self.script('grep CapEff /proc/self/status',
                            config={'User': '1000'})
        self.assertEqual('0' * 16, found.split()[1])

    def test_process_state(self):
        found = self.script(
            'grep -E "^(Umask|SigIgn|SigBlk|NoNewPrivs)" /proc/self/status '
            '| tr -s "\\t" " "; cat /proc/self/oom_score_adj')
        self.assertEqual('Umask: 0022\nSigBlk: 0000000000000000\n'
                         'SigIgn: 0000000000000000\nNoNewPrivs: 0\n0\n',
                         found)

    def test_seccomp(self):
        found = self.script(
            'grep Seccomp: /proc/self/status; unshare -u echo bad 2>&1; '
            'hostname x 2>&1; chroot / echo fine')
        self.assertEqual(
            ['Seccomp:', '2'], found.splitlines()[0].split())
        self.assertEqual(
            ['unshare: unshare(0x4000000): Operation not permitted',
             'hostname: sethostname: Operation not permitted', 'fine'],
            found.splitlines()[1:])

    def test_no_seccomp_where_privileged(self):
        self.assertEqual('0', self.script(
            'grep Seccomp: /proc/self/status',
            {'containervm_privileged': 'true'}).split()[1])

    def mounts(self, metadata=None):
        found = self.script('cat /proc/self/mounts', metadata)
        return {line.split()[1]: (line.split()[2],
                                  set(line.split()[3].split(',')))
                for line in found.splitlines()}

    def test_mounts(self):
        found = self.mounts({'containervm_shm_size': '1m',
                             'containervm_tmpfs': '/scratch:exec,size=64k'})
        for path, kind, options in (
                ('/proc', 'proc', {'rw', 'nosuid', 'nodev', 'noexec'}),
                ('/dev', 'tmpfs', {'rw', 'nosuid', 'mode=755',
                                   'size=65536k'}),
                ('/dev/pts', 'devpts', {'rw', 'nosuid', 'noexec', 'gid=5',
                                        'mode=620', 'ptmxmode=666'}),
                ('/dev/shm', 'tmpfs', {'rw', 'nosuid', 'nodev', 'noexec',
                                       'size=1024k'}),
                ('/dev/mqueue', 'mqueue', {'rw', 'nosuid', 'nodev',
                                           'noexec'}),
                ('/sys', 'sysfs', {'ro', 'nosuid', 'nodev', 'noexec'}),
                ('/sys/fs/cgroup', 'cgroup2', {'ro', 'nosuid', 'nodev',
                                               'noexec'}),
                ('/proc/sys', 'proc', {'ro'}),
                ('/scratch', 'tmpfs', {'rw', 'nosuid', 'nodev', 'size=64k'})):
            self.assertEqual(kind, found[path][0])
            self.assertLessEqual(options, found[path][1], path)
        self.assertNotIn('noexec', found['/scratch'][1])

    def test_etc_files(self):
        self.assertEqual(
            'our hosts\nour hostname\nour resolv.conf\n',
            self.script('cd /etc; cat hosts hostname resolv.conf'))

    def test_devices(self):
        found = self.script(
            'ls /dev; stat -c "%a %t:%T" /dev/null /dev/random; '
            'readlink /dev/stdout; readlink /dev/ptmx')
        for name in ('fd', 'full', 'null', 'ptmx', 'random', 'shm', 'stderr',
                     'stdin', 'stdout', 'tty', 'urandom', 'zero'):
            self.assertIn(name, found.split())
        self.assertIn('666 1:3\n666 1:8\n/proc/self/fd/1\npts/ptmx\n', found)

    def test_read_only(self):
        found = self.script(
            'touch /x /etc/hosts 2>/dev/null; pwd; '
            'touch /dev/shm/x /scratch/x && echo writable',
            {'containervm_read_only': 'true',
             'containervm_tmpfs': '/scratch'},
            {'WorkingDir': '/new'})
        self.assertEqual('/new\nwritable\n', found)
        self.assertFalse((self.dir / 'rootfs/x').exists())

    def test_privileged(self):
        found = self.mounts({'containervm_privileged': 'true'})
        self.assertIn('rw', found['/sys'][1])
        self.assertIn('rw', found['/sys/fs/cgroup'][1])
        self.assertFalse([path for path in found
                          if path.startswith('/proc/')])
        # The guest's own one, not one made for the container
        self.assertNotIn('size=65536k', found['/dev'][1])

    def test_limits(self):
        found = self.script(
            'grep "open files" /proc/self/limits',
            {'containervm_ulimits': 'nofile=100:200 core=0 nproc=512'})
        self.assertEqual(['100', '200'], found.split()[3:5])

    def test_kernel_parameters(self):
        found = self.script(
            'cat /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/msg_max',
            {'containervm_sysctls': 'kernel.shmmni=77 fs.mqueue.msg_max=7 '
                                    'vm.swappiness=1'})
        self.assertEqual('77\n7\n', found)

    def test_a_system_init_gets_its_mounts(self):
        root = self.dir / 'rootfs'
        (root / 'sbin').mkdir()
        shutil.copy(root / 'bin/busybox', root / 'sbin/init')
        # As busybox is called init, it takes its word from the arguments.
        (root / 'sbin/init').unlink()
        (root / 'sbin/init').write_text(
            '#!/bin/sh\ncat /proc/self/mounts; echo $container\n')
        (root / 'sbin/init').chmod(0o755)
        done = self.run_container(['/sbin/init'])
        found = {line.split()[1]: line.split()
                 for line in done.stdout.decode().splitlines()[:-1]}
        self.assertEqual('docker', done.stdout.decode().splitlines()[-1])
        for path in ('/run', '/run/lock', '/tmp'):
            self.assertEqual('tmpfs', found[path][2])
        self.assertTrue(found['/sys/fs/cgroup'][3].startswith('rw'))

    @ddt.data((['nothing-here'], b'not found'), (['/etc'], b''))
    @ddt.unpack
    def test_what_cannot_be_run(self, args, words):
        done = self.run_container(args)
        self.assertNotEqual(0, done.returncode)
        self.assertIn(words, done.stderr)
