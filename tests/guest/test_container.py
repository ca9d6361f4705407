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

"""What a container sees and how it ends, for each runtime: a table.

Every scenario is a boot of its own. The console must hold exactly what the
container has written, nothing else.
"""

import dataclasses
import re
import typing

import pytest

from tests.guest import contract as contracts

BOTH = ('crun', 'chroot')
ALL = ('crun', 'runc', 'chroot')
OCI = ('crun', 'runc')


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One container: how it is started, and what must come of it."""

    name: str
    args: tuple
    console: str = ''
    code: int = 0
    signal: int = 0
    contract: typing.Mapping = dataclasses.field(default_factory=dict)
    # Only for scenarios that do not start: a pattern of the failure's reason.
    reason: str = ''
    runtimes: tuple = BOTH


def shell(script):
    return ('sh', '-c', script)


SCENARIOS = (
    Scenario('hello', ('echo', 'hello'), 'hello\n'),
    Scenario('exit-3', shell('echo out; echo err >&2; exit 3'),
             'out\nerr\n', code=3, runtimes=ALL),
    Scenario('exit-255', shell('exit 255'), code=255),
    Scenario('killed-by-signal', ('segfault',), code=139, signal=11,
             runtimes=ALL),
    Scenario('own-pid-is-1', shell('echo $$'), '1\n'),
    Scenario('bytes-unmangled',
             shell(r"printf 'a\nb\r\n\t\001\377\000z'"),
             'a\nb\r\n\t\x01\udcff\0z'),
    Scenario('arguments',
             ('printf', '<%s>\n', "it's", 'two words', 'new\nline', '', '"q"',
              '$HOME', '\\', 'käse'),
             "<it's>\n<two words>\n<new\nline>\n<>\n<\"q\">\n<$HOME>\n<\\>\n"
             '<käse>\n'),
    Scenario('environment', ('env',),
             'PATH=/bin\nHOSTNAME=web1\nHOME=/\nA=it\'s\nB=two\nlines=x\n',
             contract={'ENV': ('HOME=/', "A=it's", 'B=two\nlines=x')}),
    Scenario('user-and-groups',
             shell('id -u; id -g; id -G; touch /home/app/mine; '
                   'stat -c %u:%g /home/app/mine; cat /etc/secret'),
             "1000\n1000\n1000 2000 3000\n1000:1000\n"
             "cat: can't open '/etc/secret': Permission denied\n", code=1,
             contract={'UID': 1000, 'GID': 1000,
                       'GROUPS': '1000 2000 3000'}, runtimes=ALL),
    Scenario('user-without-name', shell('id -u; id -g'), '4242\n0\n',
             contract={'UID': 4242}),
    Scenario('stdout-reopened-by-user',
             shell('echo a > /dev/stdout; echo b > /dev/stderr; '
                   'echo c > /proc/self/fd/1'), 'a\nb\nc\n',
             contract={'UID': 1000, 'GID': 1000}, runtimes=ALL),
    Scenario('workdir', ('pwd',), '/home/app\n',
             contract={'CWD': '/home/app'}),
    Scenario('workdir-is-made', shell('pwd; stat -c %u:%a .'),
             '/srv/new/dir\n0:755\n', contract={'CWD': '/srv/new/dir'},
             runtimes=ALL),
    Scenario('umask', shell('umask; touch /tmp/f; stat -c %a /tmp/f'),
             '0027\n640\n', contract={'UMASK': '0027'}),
    Scenario('hostname', shell('hostname; cat /etc/hostname'),
             'web1\nweb1\n'),
    Scenario('stdin-is-empty', shell('cat; echo end'), 'end\n'),
    Scenario('signal-mask-is-empty',
             ('grep', '-E', 'Sig(Blk|Ign)', '/proc/self/status'),
             'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n'),
    Scenario('no-stray-descriptors', shell('ls /proc/$$/fd | wc -l'), '3\n'),
    Scenario('capabilities',
             shell('grep -E "Cap(Eff|Bnd)" /proc/self/status'),
             'CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n'),
    Scenario('capabilities-of-user',
             shell('grep CapEff /proc/self/status'),
             'CapEff:\t0000000000000000\n',
             contract={'UID': 1000}),
    Scenario('devices-and-shm',
             shell('stat -c "%a %F" /dev/null /dev/shm /dev/pts/ptmx; '
                   'readlink /dev/stdout; df -m /dev/shm | tail -1 | '
                   "tr -s ' ' | head -c 6; echo; echo x >/dev/null; "
                   'dd if=/dev/zero bs=1 count=1 2>/dev/null | wc -c'),
             '666 character special file\n1777 directory\n'
             '666 character special file\n/proc/self/fd/1\nshm 64\n1\n',
             runtimes=OCI),
    # Without a runtime the file system is of its own name.
    Scenario('devices-and-shm-of-chroot',
             shell('stat -c "%a %F" /dev/null /dev/shm /dev/pts/ptmx; '
                   'readlink /dev/stdout; df -m /dev/shm | tail -1 | '
                   "tr -s ' ' | head -c 8; echo; echo x >/dev/null; "
                   'dd if=/dev/zero bs=1 count=1 2>/dev/null | wc -c'),
             '666 character special file\n1777 directory\n'
             '666 character special file\n/proc/self/fd/1\ntmpfs 64\n1\n',
             runtimes=('chroot',)),
    Scenario('tmpfs-and-shm-size',
             shell('grep -E " /(dev/shm|data/t) " /proc/mounts | '
                   'tr " " "\\n" | grep -E "^(/|rw)"'),
             '/dev/shm\nrw,nosuid,nodev,noexec,relatime,size=1024k,inode64\n'
             '/data/t\nrw,nosuid,relatime,size=512k,mode=700,inode64\n',
             contract={'SHM_SIZE': 1 << 20,
                       'TMPFS': ['nosuid,mode=700,size=512k /data/t']},
             runtimes=ALL),
    Scenario('limits', shell('ulimit -n; ulimit -Hn; ulimit -c'),
             '512\n1024\nunlimited\n',
             contract={'RLIMIT': ['nofile 512 1024', 'core -1 -1']},
             runtimes=ALL),
    Scenario('privileged',
             shell('ls -d /dev/fd /dev/stdout /dev/vda; grep CapEff '
                   '/proc/self/status | grep -c 1ffffffffff; '
                   'echo 10 > /proc/sys/vm/swappiness && echo rw'),
             '/dev/fd\n/dev/stdout\n/dev/vda\n1\nrw\n',
             contract=contracts.PRIVILEGED, runtimes=ALL),
    Scenario('masked-and-read-only',
             shell('cat /proc/kcore | wc -c; ls /sys/firmware | wc -l; '
                   'echo 1 2>/dev/null >/proc/sys/vm/swappiness || echo ro; '
                   'mkdir /sys/x 2>/dev/null || echo ro'),
             '0\n0\nro\nro\n', runtimes=ALL),
    Scenario('read-only-root',
             shell('touch /x 2>/dev/null || echo ro; touch /dev/shm/x '
                   '&& echo shm; cat /etc/hostname'),
             'ro\nshm\nweb1\n', contract={'READONLY': 1}, runtimes=ALL),
    Scenario('docker-init',
             shell('grep PPid /proc/$$/status; sh -c "sleep 0.1 &"; '
                   'sleep 0.3; grep -l State:.Z /proc/*/status | wc -l; '
                   'exit 7'),
             'PPid:\t1\n0\n', code=7, contract={'INIT': 1}, runtimes=ALL),
    Scenario('init-layer',
             shell('test -e /.dockerenv && echo env; readlink /etc/mtab; '
                   'cat /image-file; ls /etc/resolv.conf'),
             'env\n/proc/mounts\nfrom the image\n/etc/resolv.conf\n'),
    Scenario('init-is-not-reachable',
             shell('ls -d /run/containervm /proc/1/root/run/containervm '
                   '2>/dev/null | wc -l; ls /dev/vd* /dev/vport* '
                   '2>/dev/null | wc -l'), '0\n0\n'),
    Scenario('devices-of-the-vm-are-closed',
             shell('for d in /sys/class/block/vd*/dev '
                   '/sys/class/virtio-ports/*/dev; do '
                   'IFS=: read major minor < $d; '
                   'case $d in *block*) t=b;; *) t=c;; esac; '
                   'rm -f /tmp/d; mknod /tmp/d $t $major $minor || echo no; '
                   'head -c 1 /tmp/d 2>/dev/null && echo read; '
                   'echo x 2>/dev/null > /tmp/d && echo written; done; '
                   'ls -A /sys/kernel/debug /sys/kernel/tracing | '
                   'grep "^[^/]"; cat /proc/sys/kernel/modules_disabled'),
             '1\n', runtimes=ALL),
    Scenario('script', ('/bin/script', 'a', 'b c'), 'script: a b c\n'),
    Scenario('relative-to-workdir', ('./script', 'x'), 'script: x\n',
             contract={'CWD': '/bin'}),
    Scenario('not-found', ('no-such-program',), code=127,
             reason='not found', runtimes=ALL),
    Scenario('path-not-found', ('/no/such/program',), code=127,
             reason='o such file'),
    Scenario('not-executable', ('/bin/not-executable',), code=126,
             # The latter of crun 1.21
             reason='ermission denied|is not executable', runtimes=ALL),
    Scenario('directory', ('/etc',), code=126, reason='', runtimes=ALL),
    Scenario('no-interpreter', ('/bin/lost-script',), code=127,
             reason='o such file', runtimes=ALL),
    Scenario('not-a-program', ('/bin/not-a-program',), code=126,
             reason='xec format error', runtimes=ALL),
    Scenario('code-1-is-not-126', ('false',), code=1),
)


# What runtime chroot does with code of its own, and what differs between crun
# and runc. Else the standard run has but the first runtime.
OF_RUNTIME = (
    'exit-3', 'killed-by-signal', 'user-and-groups', 'limits', 'capabilities',
    'stdin-is-empty', 'no-stray-descriptors', 'read-only-root', 'docker-init',
    'devices-of-the-vm-are-closed', 'not-found', 'not-executable')


def cases():
    for scenario in SCENARIOS:
        for i, runtime in enumerate(scenario.runtimes):
            standard = not i or scenario.name in OF_RUNTIME
            yield pytest.param(
                scenario, runtime, id='%s-%s' % (scenario.name, runtime),
                marks=() if standard else pytest.mark.slow)


@pytest.mark.parametrize('scenario, runtime', cases())
def test_container(make_vm, scenario, runtime):
    vm = make_vm(scenario.args, runtime=runtime, contract=scenario.contract)
    vm.run()
    console = vm.console_bytes().decode('utf-8', 'surrogateescape')
    end = vm.event('exited')
    assert end is not None, console
    if scenario.code in (126, 127):
        failed = vm.event('failed')
        assert failed['stage'] == 'run'
        assert re.search(scenario.reason, failed['reason'])
        # Found out by the init, or by the runtime once it had let go.
        assert console in (f'containervm: failed: run: {failed["reason"]}\r\n',
                           f'{failed["reason"]}\n', failed['reason'])
    else:
        assert console == scenario.console
        assert [e['event'] for e in vm.events()] == [
            'booted', 'running', 'exited']
    assert (end['code'], end['signal'], end['oom'], end['final']) == (
        scenario.code, scenario.signal, False, True)
