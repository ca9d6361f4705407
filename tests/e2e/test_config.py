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


"""What the image's config and the overrides make of a container.

Oracles: podman for the meaning of a config, crun for that of config.json.
"""

import base64
import json
import os
import subprocess

import pytest

from tests.e2e import cloud as cloud_lib
from tests.e2e import containers

# Everything that a program sees of how it was started.
SHOW = r'''#!/bin/sh
echo "begin"
for arg; do echo "arg [$arg]"; done
echo "id $(id -u):$(id -g) groups $(id -G)"
echo "name $(id -un 2>/dev/null):$(id -gn 2>/dev/null)"
echo "pwd $(pwd)"
echo "umask $(umask)"
env | sed 's/^/env /' | sort
echo "end"
'''

CONFIG = containers.BASE + '''\
COPY passwd group /etc/
COPY --chmod=755 show /usr/local/bin/show
RUN mkdir -p /srv/data && chown web:web /srv/data && chmod 755 /bin
ENV PLAIN=value SPACES="two words" EMPTY= QUOTES='a "b" c' PERCENT=100%
ENV PATH=/usr/local/bin:/bin
USER web:extra
WORKDIR /srv/data
ENTRYPOINT ["show", "fixed arg"]
CMD ["default", "it's", "$HOME", ""]
'''
FILES = {'passwd': containers.PASSWD, 'group': containers.GROUP, 'show': SHOW}

# What podman adds to an environment, or names after the container.
OF_THE_ENGINE = ('env container=', 'env HOSTNAME=', 'env TERM=')


@pytest.fixture(scope='module')
def archive(builder):
    return builder.build(CONFIG, FILES)


@pytest.fixture(scope='module')
def image(cloud, archive):
    made = cloud.upload('e2e-config', archive)
    yield made
    cloud.sdk.image.delete_image(made.id)


def shown(text):
    """The lines between SHOW's "begin" and "end"."""
    lines = text.replace('\r', '').splitlines()
    lines = lines[lines.index('begin') + 1:]
    return [line for line in lines[:lines.index('end')]
            if not line.startswith(OF_THE_ENGINE)]


def document(text):
    """User-data as the API takes it."""
    return base64.b64encode(text.encode()).decode()


# How servers of the image are created, and what podman does the same for:
# options and command.
AS_PODMAN = {
    'unchanged': ({}, [], []),
    **{'user ' + user: ({'metadata': {'containervm_user': user}},
                        ['--user', user], [])
       for user in ('web', 'web:daemon', '1234', '77:88', 'root', '0:1300')},
    'overrides': (
        {'metadata': {'containervm_command': 'one "two words"',
                      'containervm_env': 'PLAIN=other',
                      'containervm_env_NEW': 'x=y',
                      'containervm_workdir': '/usr',
                      'containervm_user': 'root'}},
        ['--env', 'PLAIN=other', '--env', 'NEW=x=y', '--workdir', '/usr',
         '--user', 'root'], ['one', 'two words']),
    # An entrypoint clears the command.
    'entrypoint': (
        {'metadata': {'containervm_entrypoint': '["show", "mine"]'}},
        ['--entrypoint', '["show", "mine"]'], []),
}
OTHERS = {
    'sources': {
        'metadata': {'containervm_env_WHERE': 'metadata',
                     'containervm_workdir': '/bin'},
        'user_data': document('#containervm\nuser: "77:88"\n'
                              'env: {WHERE: user-data}\n')},
    'user-data': {'user_data': document('#!/bin/sh\necho not for us\n')},
    # 76 characters
    'long name': {'hostname': 'x' * 52 + '.e2e.containervm.example'},
}


@pytest.fixture(scope='module')
def consoles(shared_server, cloud, image, archive):
    """What each case shows, by its name. All of them run at once."""
    overridden = cloud.upload(
        'e2e-overridden', archive, containervm_command='["of the image"]',
        containervm_env_WHERE='image', containervm_workdir='/usr',
        containervm_user='daemon')
    cases = {name: case[0] for name, case in AS_PODMAN.items()} | OTHERS
    made = {
        name: shared_server(overridden if name == 'sources' else image,
                            name='e2e-config-%d' % number, wait=None,
                            flavor='c1.tiny', **arguments)
        for number, (name, arguments) in enumerate(cases.items())}
    for each in made.values():
        cloud.ends_by_itself(each, 300)
    yield {name: cloud.console(each) for name, each in made.items()}
    cloud.sdk.image.delete_image(overridden.id)


@pytest.mark.parametrize('name', AS_PODMAN)
def test_as_podman_runs_it(consoles, archive, builder, name):
    _arguments, options, command = AS_PODMAN[name]
    code, out, err = builder.podman_run(archive, *command, options=options)
    assert code == 0, err
    expected = shown(out)
    if name == 'user 77:88':
        # docker's, for a user without an entry; podman sets none, or an empty
        # one with later releases of crun.
        assert [line for line in expected if line.startswith('env HOME')] in (
            [], ['env HOME='])
        expected = [line for line in expected if line != 'env HOME=']
        expected.insert(expected.index('env EMPTY=') + 1, 'env HOME=/')
    assert shown(consoles[name]) == expected


def test_what_is_compared(consoles):
    """So that nothing equal to nothing does not pass."""
    lines = shown(consoles['unchanged'])
    assert lines[:4] == ['arg [fixed arg]', 'arg [default]', "arg [it's]",
                         'arg [$HOME]']
    assert set(lines) >= {
        'arg []', 'id 1234:1300 groups 1300', 'name web:extra',
        'pwd /srv/data', 'umask 0022', 'env SPACES=two words', 'env EMPTY=',
        'env QUOTES=a "b" c', 'env PERCENT=100%'}
    assert 'env HOSTNAME=e2e-config-0' in consoles['unchanged'].replace(
        '\r', '').splitlines()
    assert [line for line in shown(consoles['entrypoint'])
            if line.startswith('arg')] == ['arg [mine]']


def test_user_data_wins_over_metadata_over_image(consoles):
    lines = shown(consoles['sources'])
    assert 'arg [of the image]' in lines
    assert 'pwd /bin' in lines
    assert 'id 77:88 groups 88' in lines
    assert 'env WHERE=user-data' in lines


def test_other_user_data_stays_the_users(consoles):
    assert shown(consoles['user-data']) == shown(consoles['unchanged'])
    assert 'not for us' not in consoles['user-data']


def test_hostname_longer_than_linux_takes(consoles):
    console = consoles['long name'].replace('\r', '')
    assert 'env HOSTNAME=' + 'x' * 52 in console.splitlines()
    assert shown(console) == shown(consoles['unchanged'])


# What the kernel says of a process, and its mounts
KERNEL = r'''
echo begin
grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp|Groups):' \
    /proc/self/status
for limit in -Sn -Hn -Hc; do echo "ulimit $limit $(ulimit $limit)"; done
awk '$5 ~ "^/(proc|dev|sys)" {
    split($6, o, ","); print "mount", $5, o[1], $(NF-2) }' \
    /proc/self/mountinfo | sort
ls -l /dev | awk '{ print "dev", $1, $NF }' | sort
for path in /proc/kcore /proc/keys /proc/timer_list /sys/firmware; do
    echo "masked $path $(cat $path 2>/dev/null | head -c 10 | wc -c)" \
        "$(ls -A $path 2>/dev/null | wc -l)"
done
echo 1 2>/dev/null >/proc/sys/kernel/panic && echo writable proc/sys
echo end
'''


def test_rights_as_crun_gives_them(server, probe, cloud, host, builder,
                                   tmp_path):
    """The same config.json in the VM, and under crun on this host."""
    made = server(probe)
    address = cloud.address(made)
    inside = shown(cloud_lib.shell(address, KERNEL))

    drive = host.instances / made.id / 'disk.config'
    config = json.loads(subprocess.run(
        ['isoinfo', '-R', '-i', str(drive), '-x', '/containervm/config.json'],
        check=True, capture_output=True).stdout)
    bundle = tmp_path / 'bundle'
    subprocess.run(['skopeo', 'copy', '--quiet',
                    'docker-archive:%s' % builder.probe(),
                    'oci:%s/layout:e2e' % tmp_path], check=True)
    subprocess.run(['umoci', 'unpack', '--image', '%s/layout:e2e' % tmp_path,
                    str(bundle)], check=True, capture_output=True)
    config['process']['args'] = ['sh', '-c', KERNEL]
    # The VM is the network namespace; not for a test on a host.
    config['linux']['namespaces'].append({'type': 'network'})
    # Files that the guest makes.
    config['mounts'] = [m for m in config['mounts'] if not m.get(
        'source', '').startswith('/run/containervm/')]
    # A host that is a container itself cannot raise its own limits.
    config['process']['rlimits'] = []
    (bundle / 'config.json').write_text(json.dumps(config))
    result = subprocess.run(
        containers.isolated(['crun', '--cgroup-manager=disabled', 'run',
                             '--bundle', str(bundle), 'e2e-oracle']),
        capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    outside = shown(result.stdout)

    # This host's kernel may be one without some of them.
    missing = {path for path in (config['linux']['maskedPaths'] +
                                 config['linux']['readonlyPaths'])
               if not os.path.exists(path)}

    def comparable(lines):
        # What masks a file is /dev/null; in a container that is on a tmpfs.
        return [line.replace('devtmpfs', 'tmpfs') for line in lines
                if not line.startswith('ulimit') and
                missing.isdisjoint(line.split())]
    assert comparable(inside) == comparable(outside)
    # docker's default set, and docker's limits under systemd.
    assert 'CapEff:\t00000000a80425fb' in inside
    assert 'ulimit -Hn 524288' in inside
    assert 'writable proc/sys' not in inside
