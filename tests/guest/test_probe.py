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

"""What a container sees of itself, compared with what docker makes.

One program prints some 450 facts. It runs in a container of ours, made by
all of the host's code and the guest's, and in one that docker has described
(oracle.py). The two may differ only where doc/source/user/differences.rst says
so.
"""

import pathlib
import re
import subprocess

import pytest

from nova_containervm.guest import contract
from tests.guest import oracle
from tests.guest import rootfs as rootfs_lib
from tests.guest import vm as vm_lib

SOURCE = pathlib.Path(__file__).with_name('probe') / 'probe.c'
DOCUMENT = (pathlib.Path(__file__).resolve().parents[2] /
            'doc/source/user/differences.rst')
ARGS = ('probe', 'a', 'b c')

# The overrides that stand for the options of `docker run` of each variant.
VARIANTS = {
    'default': {},
    'user': {'user': 'app:extra'},
    'read-only': {'read_only': 'true', 'tmpfs': '/run:size=1m'},
    'privileged': {'privileged': 'true'},
    'tty': {'tty': 'true'},
    'caps': {'cap_add': 'SYS_ADMIN,NET_ADMIN', 'cap_drop': 'CHOWN',
             'shm_size': '1m', 'ulimits': 'nofile=100:200',
             'sysctls': 'kernel.msgmax=9000'},
}
CASES = [('default', 'crun')] + [
    pytest.param(variant, runtime, marks=pytest.mark.slow)
    for variant, runtime in [
        ('user', 'crun'), ('read-only', 'crun'), ('privileged', 'crun'),
        ('tty', 'crun'), ('caps', 'crun'), ('default', 'runc'),
        ('default', 'chroot'), ('user', 'chroot')]]

# Facts that may differ, by heading of the document. Those of a variant or a
# runtime are for that one only.
EXPLAINED = {
    'Network': [
        r'/etc/(hosts|resolv\.conf)', r'ns\.net\..*', r'interfaces',
        r'sysctl\.net/core/rmem_max'],
    'Limits': [r'limit\.(core|nofile|nproc)', r'call\.rlimit\.raise'],
    'Kernel parameters': [r'sysctl\.(vm/max_map_count|'
                          r'kernel/modules_disabled)'],
    'Masked files': [r'masked\./proc/interrupts',
                     r'mount\./proc/interrupts(\..*)?', r'mounts'],
    'Root filesystem': [r'mount\./\.super', r'image\.rename\.dir',
                        r'mount\./etc/.*\.(source|super)',
                        # The name of the source says nothing in a devtmpfs.
                        r'mount\./proc/[a-z_]*\.source',
                        r'sysctl\.fs/file-max'],
    'System calls': [r'call\.socket\.alg'],
    'Kernel modules': [r'call\.(init|finit|delete)_module'],
    'Devices': {
        'privileged': [r'dev\./dev/.*', r'mount\./dev(\..*)?',
                       r'open\./dev/console', r'size\./dev',
                       r'status\.Cap(Bnd|Eff|Prm)'],
    },
    'Runtime runc': {'runc': [
        r'mount\..*', r'dev\./dev/core', r'tmp\.open\.tun',
        r'/sys/fs/cgroup/cgroup\.controllers']},
    'Runtime chroot': {'chroot': [
        r'call\..*', r'status\.Seccomp', r'mount\..*', r'mounts',
        r'dev\./dev/null', r'fd\.0']},
}

_SIZES = re.compile(r'(?:(?<=,size=)|(?<=,nr_inodes=))\d+')


@pytest.fixture(scope='session')
def probe_rootfs(tmp_path_factory):
    directory = tmp_path_factory.mktemp('probe')
    program = directory / 'probe'
    subprocess.run(['gcc', '-std=gnu11', '-D_GNU_SOURCE', '-O1', '-Wall',
                    '-Wextra', '-Werror', '-static', '-s', '-o', program,
                    SOURCE], check=True)
    root = rootfs_lib.busybox(directory / 'root')
    root.file('bin/probe', program.read_bytes(), 0o755)
    return root.path


def facts(console):
    """Facts by their names. The console of a terminal has CR LF."""
    lines = (line.rstrip('\r') for line in console.split('\n'))
    return dict(line.split('=', 1) for line in lines if '=' in line)


@pytest.fixture(scope='session')
def docker_facts(image, probe_rootfs, tmp_path_factory):
    """Function of a variant: the facts as docker has them."""
    known = {}

    def get(variant):
        if variant not in known:
            machine = oracle.machine(
                image, tmp_path_factory.mktemp('oracle') / 'vm', variant,
                ARGS, rootfs=probe_rootfs)
            try:
                machine.run()
            finally:
                machine.kill()
            known[variant] = facts(machine.console())
            assert known[variant].get('end') == '1', machine.console()[-500:]
        return known[variant]
    return get


def explained(name, variant, runtime):
    for patterns in EXPLAINED.values():
        if isinstance(patterns, dict):
            patterns = patterns.get(variant, []) + patterns.get(runtime, [])
        if any(re.fullmatch(pattern, name) for pattern in patterns):
            return True
    return False


def alike(name, docker, here):
    """Whether two values are the same.

    What masks files is a devtmpfs, whose size is half of the memory that the
    kernel counted when it started: some pages more or fewer each time.
    """
    if name.startswith('mount./proc/') and name.endswith('.super') and (
            docker and here):
        sizes = [[int(n) for n in _SIZES.findall(value)]
                 for value in (docker, here)]
        docker, here = _SIZES.sub('', docker), _SIZES.sub('', here)
        if len(sizes[0]) != len(sizes[1]) or any(
                abs(a - b) > a / 1000 for a, b in zip(*sizes)):
            return False
    return docker == here


@pytest.mark.parametrize('variant, runtime', CASES)
def test_as_docker(image, probe_rootfs, docker_facts, tmp_path, variant,
                   runtime):
    machine = vm_lib.VM(image, tmp_path / 'vm', rootfs=probe_rootfs)
    made = contract.build(
        '11111111-2222-3333-4444-555555555555', 'web1',
        {'config': {'Cmd': list(ARGS), 'Env': ['A=b']}},
        (probe_rootfs / 'etc/passwd').read_bytes(),
        (probe_rootfs / 'etc/group').read_bytes(), (), None,
        {'metadata': {'containervm_' + name: value
                      for name, value in VARIANTS[variant].items()}},
        runtime=runtime)
    machine.drive(made.files())
    try:
        machine.run()
    finally:
        machine.kill()
    ours, docker = facts(machine.console()), docker_facts(variant)
    assert ours.get('end') == '1', machine.console()[-500:]
    assert len(docker) > 400
    assert '\n'.join(
        f'{name}: docker {docker.get(name)!r}, here {ours.get(name)!r}'
        for name in sorted(ours.keys() | docker.keys())
        if not alike(name, docker.get(name), ours.get(name)) and
        not explained(name, variant, runtime)) == ''


def test_differences_are_documented():
    text = DOCUMENT.read_text()
    assert [heading for heading in EXPLAINED
            if f'\n{heading}\n' not in text] == []
