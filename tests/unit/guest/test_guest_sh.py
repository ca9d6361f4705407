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

"""guest.sh under real shells: its functions, and a whole run where possible.

The whole run needs root and mount namespaces; the share is a bind mount there
and powering off is the end of the script.
"""

import json
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import unittest

import ddt

from nova_containervm.guest import cloud
from tests.unit.guest import test_contract

SHELLS = {'dash': ['dash'], 'bash': ['bash', '--posix'],
          'busybox': ['busybox', 'sh']}


def shells():
    return [command for name, command in SHELLS.items() if shutil.which(name)]


class GuestTestCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='cvm-test-'))
        self.addCleanup(shutil.rmtree, self.dir)
        for name, content in cloud.guest_files().items():
            (self.dir / name).write_bytes(content)

    def source(self, shell, script, **kwargs):
        """Run a script that has guest.sh's functions."""
        text = f'. {self.dir}/guest.sh\n{script}\n'
        return subprocess.run(
            [*shell, '-c', text], capture_output=True, check=False,
            env={'PATH': os.environ['PATH'], 'CVM_DIR': str(self.dir)},
            timeout=60, **kwargs)

    def output(self, script, **kwargs):
        """Return what all shells agree the script prints."""
        results = {self.source(shell, script, **kwargs).stdout.decode()
                   for shell in shells()}
        self.assertEqual(1, len(results), results)
        return results.pop()


@ddt.ddt
class CheckEnvTest(GuestTestCase):

    def accepts(self, content):
        (self.dir / 'guest.env').write_bytes(content)
        results = {self.source(shell, 'check_env "$dir/guest.env"').returncode
                   for shell in shells()}
        self.assertEqual(1, len(results))
        return results == {0}

    @ddt.data(b"CVM_A=''\n", b"CVM_A='x'\nCVM_B_0='y z'\n",
              b"CVM_A='$(id) `id` \\ \" ; & |'\n", b"CVM_A='a\n\nb\n'\n",
              b"CVM_A='it'\\''s'\n", b"CVM_A=''\\'''\n",
              b"CVM_A=''\\'''\\'''\n", b"CVM_A='\\'\n", b"CVM_A='#'\n",
              b"CVM_A='\nCVM_B=x\n'\n", b"CVM_A='\xff\xfe'\n")
    def test_accepted(self, content):
        self.assertTrue(self.accepts(content))

    @ddt.data(b'id\n', b'CVM_A=x\n', b'CVM_A=\n', b"A='x'\n", b"cvm_A='x'\n",
              b"CVM_A='x'; id\n", b"CVM_A='x' id\n", b"CVM_A='x'id\n",
              b"CVM_A='x'\\\n", b"CVM_A='x'\\'\n", b"CVM_A='x'''\n",
              b"CVM_A='x\n", b"CVM_A='x'\nid\n", b"CVM_A='x'\n\nid\n",
              b"\n", b" CVM_A='x'\n", b"CVM_A ='x'\n", b"CVM_A='x'\r\n",
              b"PATH='/x'\n", b"CVM_A='a'$(id)'b'\n", b"CVM_A='a'\"b\"\n",
              b"CVM_A='a'\\x'b'\n", b"CVM_A='a'\\''b\n", b"CVM_A+='x'\n",
              b"export CVM_A='x'\n", b"# x\n", b"CVM_='x'\n",
              b"CVM_A=$(id) CVM_B='x'\n", b"CVM_A='a'\nid '\n'\n",
              b"CVM_A='a''b'\n")
    def test_refused(self, content):
        self.assertFalse(self.accepts(content))

    def test_what_the_host_writes(self):
        built = test_contract.build(
            {'config': {'Cmd': ['sh', *test_contract.NASTY],
                        'Env': ['X=' + v for v in test_contract.NASTY]}})
        self.assertTrue(self.accepts(
            built.files()['containervm/guest.env']))


@ddt.ddt
class FunctionsTest(GuestTestCase):

    @ddt.data(
        ('plain', '"plain"'), ('a "b" \\c', '"a \\"b\\" \\\\c"'),
        ('a\nb\tc', '"a b c"'), ('\x1b[31mred', '"[31mred"'), ('', '""'),
        ('\u00e9t\u00e9', '"t"'), ('%s %d', '"%s %d"'), ("it's", '"it\'s"'),
        ('x' * 500, '"' + 'x' * 200 + '"'))
    @ddt.unpack
    def test_json_string(self, text, expected):
        found = self.output('json_string "$(cat)"', input=text.encode())
        self.assertEqual(expected, found)
        json.loads(found)

    @ddt.data(('0', True), ('15', True), ('', False), ('-1', False),
              ('1 ', False), ('a', False), ('1;id', False))
    @ddt.unpack
    def test_is_number(self, text, expected):
        self.assertEqual(str(expected), self.output(
            f"is_number '{text}' && printf True || printf False"))

    def test_back_off(self):
        self.assertEqual(
            '100 200 400 800 1600 3200 6400 12800 25600 51200 60000 60000 '
            '100 200 ',
            self.output('delay=0; for ran in 0 1 2 0 0 0 0 0 0 0 0 9 10 3; '
                        'do next_delay $ran; printf "%s " $delay; done'))

    @ddt.data(
        # policy, max, restarts, code, stopping, launch error, expected
        ('no', 0, 0, 1, '', '', False),
        ('always', 0, 99, 0, '', '', True),
        ('unless-stopped', 0, 99, 3, '', '', True),
        ('on-failure', 0, 99, 1, '', '', True),
        ('on-failure', 0, 0, 0, '', '', False),
        ('on-failure', 2, 1, 1, '', '', True),
        ('on-failure', 2, 2, 1, '', '', False),
        ('always', 0, 0, 1, 'yes', '', False),
        ('always', 0, 0, 127, '', 'no such file', False),
    )
    @ddt.unpack
    def test_wants_restart(self, policy, limit, restarts, code, stopping,
                           error, expected):
        (self.dir / 'launch_error').write_text(error)
        self.assertEqual(str(expected), self.output(
            f'CVM_RESTART={policy} CVM_RESTART_MAX={limit} '
            f"restarts={restarts} code={code} stopping='{stopping}'\n"
            'wants_restart && printf True || printf False'))

    @ddt.data((0, 0, 0), (3, 3, 0), (143, 143, 15), (137, 137, 9),
              (255, 255, 0), (128, 128, 0))
    @ddt.unpack
    def test_report_exit(self, code, shown, signal):
        found = self.output(
            'emit() { printf "%s {%s}" "$1" "$2"; }\n'
            'dmesg() { echo "Killed process 12 (x)"; }\n'
            f'code={code}; report_exit 12 true')
        self.assertEqual('exited', found.split(' ')[0])
        self.assertEqual({'code': shown, 'signal': signal,
                          'oom': signal == 9, 'final': True},
                         json.loads(found.split(' ', 1)[1]))

    @ddt.data(('/a/b', False), ('/a/link', True), ('/a/link/x', True),
              ('/a/none/x', False), ('/', False), ('', False),
              ('/sp ace/x', True))
    @ddt.unpack
    def test_has_link(self, path, expected):
        root = self.dir / 'rootfs'
        (root / 'a/b').mkdir(parents=True)
        (root / 'a/link').symlink_to('/etc')
        (root / 'sp ace').symlink_to('a')
        self.assertEqual(str(expected), self.output(
            f"has_link '{path}' && printf True || printf False"))

    def test_wait_for_outlasts_a_trap(self):
        found = self.output(
            'trap ": trapped" TERM; me=$$\n'
            '(sleep 1; exit 7) & pid=$!\n'
            '(sleep 0.3; kill -TERM $me) &\n'
            'wait_for $pid; printf %s $code')
        self.assertEqual('7', found)

    def test_fail_tells_the_console_and_the_host(self):
        found = self.output(
            'console=/dev/stderr; exec 2>&1\n'
            'emit() { echo "$1 {$2}"; }; power_off() { exit 0; }\n'
            'must rootfs sh -c "echo first; echo \'say \\"no\\"\'; exit 1"\n'
            'echo not reached')
        self.assertEqual(
            'containervm: failed: rootfs: say "no"\n'
            'failed {"stage":"rootfs","reason":"say \\"no\\""}\n', found)

    def test_launch_hands_on_every_argument(self):
        built = test_contract.build({'config': {
            'Cmd': ['sh', *test_contract.NASTY], 'User': 'www',
            'Env': ['X=' + test_contract.NASTY[12]]}})
        (self.dir / 'guest.env').write_bytes(
            built.files()['containervm/guest.env'])
        (self.dir / 'launch.py').write_text(
            'import os, sys\n'
            'os.write(1, b"\\0".join(map(os.fsencode, sys.argv[1:])))\n')
        found = self.output('read_contract; find_python; launch').split('\0')
        self.assertEqual(
            ['run', str(self.dir / 'rootfs'), '/', '33', '33', '33 101',
             '0022', '0', '00000000a80425fb', '3', 'core -1 -1',
             'nofile 1024 524288', 'nproc -1 -1', '4',
             *built.container.env, 'sh', *test_contract.NASTY], found)


def _can_mount():
    if os.geteuid() != 0 or not shutil.which('unshare'):
        return False
    return subprocess.run(['unshare', '-m', 'true'], capture_output=True,
                          check=False).returncode == 0


# Nothing of the host is touched: no console, no power, no sysctl, no modules.
HARNESS = """
. $1/guest.sh
state=$1/state
take_console() { console=$dir/console.log; : >"$console"; }
emit() { printf '{"event":"%s"%s}\\n' "$1" "${2:+,$2}" >>"$dir/events"; }
power_off() { echo off >>"$dir/events"; exit 0; }
apply_sysctls() { :; }
load_modules() { :; }
hostname() { :; }
mount_share() { mkdir -p "$1"; must rootfs mount --bind "$dir/image" "$1"; }
mkdir -p $1/tmp
mount -t tmpfs tmpfs $1/tmp
state=$1/tmp/state
main
"""


@ddt.ddt
@unittest.skipUnless(_can_mount(), 'needs root and mount namespaces')
@unittest.skipUnless(shutil.which('busybox'), 'needs busybox, static')
class WholeRunTest(GuestTestCase):

    def setUp(self):
        super().setUp()
        image = self.dir / 'image'
        for name in ('bin', 'etc', 'run', 'srv'):
            (image / name).mkdir(parents=True)
        shutil.copy(shutil.which('busybox'), image / 'bin/busybox')
        for name in ('sh', 'cat', 'id', 'env', 'ls', 'sleep', 'echo', 'kill',
                     'grep', 'tr', 'readlink', 'touch', 'pwd', 'stat'):
            (image / 'bin' / name).symlink_to('busybox')
        (image / 'etc/resolv.conf').symlink_to('../run/resolv.conf')
        (image / 'bin/noexec').write_text('x')
        os.chmod(self.dir, 0o755)

    def launch(self, args, metadata=None, user='', env=(), shell='dash',
               **kwargs):
        config = {'config': {'Cmd': args, 'User': user, 'Env': list(env),
                             'WorkingDir': kwargs.pop('cwd', '/srv/new')}}
        # Under the limits of whoever runs the tests.
        metadata = {'containervm_ulimits': 'nofile=512:512 core=0 nproc=512',
                    **(metadata or {})}
        built = test_contract.build(
            config, metadata, base_type='cloud', runtime='chroot', **kwargs)
        (self.dir / 'guest.env').write_bytes(
            built.files()['containervm/guest.env'])
        process = subprocess.Popen(
            ['unshare', '-m', '--propagation', 'private', *SHELLS[shell],
             '-c', HARNESS, 'test', str(self.dir)],
            env={'CVM_DIR': str(self.dir), 'LEAKED': 'yes'},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def finish(self, process):
        said, _ = process.communicate(timeout=60)
        events = (self.dir / 'events').read_text().splitlines()
        self.assertEqual('off', events[-1], said)
        return ((self.dir / 'console.log').read_text(),
                [json.loads(line) for line in events[:-1]])

    def run_guest(self, *args, **kwargs):
        return self.finish(self.launch(*args, **kwargs))

    def script(self, text, **kwargs):
        return self.run_guest(['/bin/sh', '-c', text], **kwargs)

    @ddt.data(*SHELLS)
    def test_a_program_to_its_end(self, shell):
        if not shutil.which(shell):
            self.skipTest(f'there is no {shell}')
        console, events = self.script('echo out; echo err >&2; exit 3',
                                      shell=shell)
        self.assertEqual('out\nerr\n', console)
        self.assertEqual(['booted', 'running', 'exited'],
                         [e['event'] for e in events])
        self.assertEqual({'event': 'exited', 'code': 3, 'signal': 0,
                          'oom': False, 'final': True}, events[-1])

    def test_what_the_program_sees(self):
        console, _ = self.script(
            'id -u; id -g; id -G; pwd; tr "\\0" "\\n" </proc/$$/environ; '
            'cat /etc/hostname; cat /etc/resolv.conf; '
            'grep web1 /etc/hosts; '
            'grep -E "^(Umask|SigIgn|SigBlk|CapBnd)" /proc/self/status '
            '| tr "\\t" " "; '
            'cat /proc/self/oom_score_adj; ls /dev; echo hello >/dev/stdout; '
            'stat -c %a /dev/shm; ls /proc/self/fd | grep -v 3',
            user='www', env=['A=x y', 'B=a\nb'])
        self.assertEqual("""\
33
33
33 101
/srv/new
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
HOSTNAME=web1
A=x y
B=a
b
HOME=/var/www
web1
nameserver 8.8.8.8
nameserver 1.1.1.1
10.0.0.5\tweb1
fd00::5\tweb1
Umask: 0022
SigBlk: 0000000000000000
SigIgn: 0000000000000000
CapBnd: 00000000a80425fb
0
core
fd
full
mqueue
null
ptmx
pts
random
shm
stderr
stdin
stdout
tty
urandom
zero
hello
1777
0
1
2
""", console)

    @ddt.data((['nothing-here'], 127), (['/bin/nothing'], 127),
              (['/bin/noexec'], 126), (['/etc'], 126))
    @ddt.unpack
    def test_what_cannot_be_started(self, args, code):
        console, events = self.run_guest(
            args, {'containervm_restart_policy': 'always'})
        self.assertEqual((code, True),
                         (events[-1]['code'], events[-1]['final']))
        self.assertEqual(['booted', 'running', 'failed', 'exited'],
                         [e['event'] for e in events])
        self.assertTrue(events[2]['reason'].startswith(args[0] + ': '))
        self.assertIn('containervm: failed: run: ' + args[0], console)

    def test_a_signal(self):
        _, events = self.script('kill -USR1 $$')
        self.assertEqual((138, 10), (events[-1]['code'],
                                     events[-1]['signal']))

    def test_restarts(self):
        console, events = self.script(
            'echo run; exit 5',
            metadata={'containervm_restart_policy': 'on-failure:2'})
        self.assertEqual('run\n' * 3, console)
        self.assertEqual(
            ['booted', 'running', 'exited', 'restarting', 'running',
             'exited', 'restarting', 'running', 'exited'],
            [e['event'] for e in events])
        self.assertEqual([False, False, True],
                         [e['final'] for e in events
                          if e['event'] == 'exited'])
        self.assertEqual([(100, 1), (200, 2)],
                         [(e['delay_ms'], e['restarts']) for e in events
                          if e['event'] == 'restarting'])

    def stop(self, text, **kwargs):
        process = self.launch(['/bin/sh', '-c', text], **kwargs)
        log = self.dir / 'console.log'
        while not log.exists() or 'ready' not in log.read_text():
            self.assertIsNone(process.poll())
        process.terminate()
        return self.finish(process)

    def test_stop(self):
        console, events = self.stop(
            'trap "echo bye; exit 9" QUIT; echo ready; '
            'while :; do sleep 0.1; done',
            metadata={'containervm_stop_signal': 'SIGQUIT',
                      'containervm_restart_policy': 'always'})
        self.assertEqual('ready\nbye\n', console)
        self.assertEqual((9, True), (events[-1]['code'],
                                     events[-1]['final']))

    def test_stop_of_what_does_not_listen(self):
        _, events = self.stop(
            'trap "" TERM; echo ready; while :; do sleep 0.1; done',
            metadata={'containervm_stop_timeout': '1'})
        self.assertEqual((137, 9), (events[-1]['code'],
                                    events[-1]['signal']))

    def test_what_is_left_behind_is_killed(self):
        console, events = self.script('sleep 1000 & echo done')
        self.assertEqual('done\n', console)
        self.assertEqual(0, events[-1]['code'])

    def test_all_of_a_long_output(self):
        console, _ = self.script(
            'i=0; while [ $i -lt 20000 ]; do echo "line $i"; '
            'i=$((i+1)); done')
        self.assertEqual(''.join(f'line {i}\n' for i in range(20000)),
                         console)

    def test_the_share_stays_as_it_is(self):
        self.script('echo x >/etc/new; rm /bin/cat; touch /run/x')
        image = self.dir / 'image'
        self.assertEqual({'bin', 'etc', 'run', 'srv'},
                         set(os.listdir(image)))
        self.assertFalse((image / 'etc/new').exists())
        self.assertTrue((image / 'bin/cat').is_symlink())

    def test_a_writable_share(self):
        _, events = self.script('echo x >/etc/new; exit 0', writable='share')
        self.assertEqual(0, events[-1]['code'])
        self.assertEqual('x\n', (self.dir / 'image/etc/new').read_text())

    def test_read_only_and_tmpfs(self):
        console, _ = self.script(
            'echo x >/x && echo bad; echo x >/srv/new/x && echo bad; '
            'echo hi >/scratch/x && cat /scratch/x; echo y >/etc/hosts '
            '&& echo bad; exit 0',
            metadata={'containervm_read_only': 'true',
                      'containervm_tmpfs': '/scratch:size=1m,mode=1777'})
        self.assertIn('hi\n', console)
        self.assertNotIn('bad', console)

    def test_links_of_the_image_do_not_leave_it(self):
        image = self.dir / 'image'
        outside = self.dir / 'outside'
        outside.mkdir()
        (image / 'srv/link').symlink_to(outside)
        (image / 'etc/hosts').symlink_to(outside / 'hosts')
        console, _ = self.script(
            f'readlink /srv/link; ls {outside}; grep -c web1 /etc/hosts',
            metadata={'containervm_tmpfs': '/srv/link/deep'})
        self.assertEqual(f'{outside}\ndeep\nhosts\n2\n', console)
        self.assertEqual([], os.listdir(outside))

    def test_file_capabilities(self):
        value = '0100000200200000000000000000000000000000'
        _, events = self.script('exit 0', file_caps=[('/bin/busybox', value)])
        self.assertEqual(0, events[-1]['code'])

    def test_a_failure(self):
        (self.dir / 'image/bin').rename(self.dir / 'image/dev')
        (self.dir / 'image/proc').write_text('a file in the way')
        console, events = self.script('exit 0')
        self.assertIn('containervm: failed: mounts: ', console)
        self.assertEqual(('failed', 'mounts'),
                         (events[-1]['event'], events[-1]['stage']))

    def test_secrets_are_not_left_readable(self):
        self.script('exit 0', metadata={'containervm_env_SECRET': 'x'})
        mode = stat.S_IMODE((self.dir / 'launch_error').stat().st_mode)
        self.assertEqual(0, mode & 0o022)
