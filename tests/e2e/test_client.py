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


"""``openstack containervm``, as a user types it."""

import json
import os
import signal
import subprocess
import uuid

import pytest

from tests import docs
from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import containers

pytestmark = pytest.mark.slow


def client(*arguments, cloud='aio', status=0, timeout=300):
    """Run ``openstack containervm``; return standard output.

    :param cloud: aio is the administrator, aio-demo an ordinary user
    :param status: the exit status that it must have
    """
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout,
        env={**os.environ, 'OS_CLOUD': cloud})
    assert done.returncode == status, '%s: %d\n%s%s' % (
        ' '.join(arguments), done.returncode, done.stdout, done.stderr)
    return done.stdout if status == 0 else done.stdout + done.stderr


def command(*arguments):
    return [str(aio.directory() / 'bin' / 'openstack'), 'containervm',
            *map(str, arguments)]


def show(*arguments, **kwargs):
    """Run a command that shows something; return what it shows."""
    # Right after the command's name: behind an image are other options.
    at = 2 if arguments[0] == 'image' else 1
    return json.loads(client(*arguments[:at], '-f', 'json', *arguments[at:],
                             **kwargs))


@pytest.fixture
def name():
    return 'e2e-%s' % uuid.uuid4().hex[:8]


@pytest.fixture
def small():
    """Options of ``run`` for a server that is quick to make."""
    return ['--flavor', 'c1.tiny', '--network', 'public']


@pytest.fixture
def made(cloud, clean_host):
    """Names of servers that are deleted at the end."""
    names = []
    yield names
    for each in names:
        for server in cloud.compute.servers(name='^%s$' % each,
                                            all_projects=True):
            cloud.delete(server)


def test_quick_start(cloud, made, name):
    """The documentation's three commands, by one who has never done any."""
    block = next(b for b in docs.blocks(docs.QUICKSTART)
                 if 'containervm image create' in b.text)
    commands = docs.commands(block)
    assert len(commands) == 3
    # Names of our own, and a network that this host is on
    own = {'nginx.tar': str(aio.image('nginx')), 'nginx': name,
           'web1': name, 'private': 'public'}
    create, run, logs = [[own.get(word, word) for word in each.words[2:]]
                         for each in commands]
    made.append(name)
    client(*create, cloud='aio-demo')
    image = cloud.sdk.image.find_image(name)
    try:
        assert image.architecture == 'x86_64'
        assert image.properties['trait:CUSTOM_CONTAINERVM'] == 'required'
        client(*run, cloud='aio-demo')
        server = show('status', name, cloud='aio-demo')
        assert server['container'] == 'running'
        address = next(a for a in server['addresses']['public'] if '.' in a)
        status, page = cloud_lib.http_get(address)
        assert status == 200
        assert 'It works' in page
        assert 'GET / HTTP' in client(*logs, cloud='aio-demo')
        assert name in [s['Name'] for s in show('ps', cloud='aio-demo')]
    finally:
        cloud.sdk.image.delete_image(image.id)


def examples():
    """The examples of properties that show what they print."""
    return [command for block in docs.blocks(docs.PROPERTIES)
            for command in docs.commands(block) if command.output]


@pytest.mark.slow
@pytest.mark.parametrize('example', examples(),
                         ids=lambda example: example.block.section)
def test_example(example, image, small, name):
    at = example.words.index('busybox')
    done = subprocess.run(
        command('run', *small, '--name', name, *example.words[3:at],
                image('busybox').id, *example.words[at + 1:]),
        capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == example.output.split(), done.stderr


def test_output_and_exit_status(cloud, probe, small, made, name):
    """run is to docker run as a server is to a container."""
    output = client(
        'run', '--rm', *small, '--name', name, '-e', 'GREETING=hello you',
        '-w', '/srv', '-u', 'web', '--hostname', 'box', probe.id,
        'sh', '-c', 'echo "$GREETING"; pwd; id -un; hostname; exit 7',
        status=7)
    assert output.startswith('hello you\n/srv\nweb\nbox\n')
    assert not list(cloud.compute.servers(name=name))


def test_what_cannot_be_run_is_125_or_docker_s_own(probe, small, made, name):
    made.append(name)
    said = client('run', *small, '--name', name, probe.id,
                  '/no/such/program', status=127)
    assert '/no/such/program' in said
    shown = show('status', name)
    assert (shown['status'], shown['container'], shown['exit_code']) == (
        'SHUTOFF', 'exited', 127)
    # Not among those that run, but with --all
    assert name not in [s['Name'] for s in show('ps')]
    assert [s['Exit Code'] for s in show('ps', '--all')
            if s['Name'] == name] == [127]


def test_long_command_goes_by_user_data(probe, small, made, name):
    text = 'x' * 1000
    assert text in client('run', '--rm', *small, '--name', name, probe.id,
                          'echo', text)


def test_follow_and_stop(cloud, probe, small, made, name):
    made.append(name)
    client('run', '-d', '--wait', *small, '--name', name, probe.id)
    follower = subprocess.Popen(
        command('logs', '-f', name), stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT)
    try:
        assert 'probe: up' in follower.stdout.readline()
        client('stop', name)
        rest = follower.communicate(timeout=60)[0]
    finally:
        follower.kill()
    assert 'stopped by a signal' in rest
    assert follower.returncode == 0
    shown = show('status', name)
    assert (shown['status'], shown['exit_code']) == (
        'SHUTOFF', containers.STOPPED_CODE)


def test_ctrl_c_stops_the_server(probe, small, made, name):
    made.append(name)
    # Background jobs of a shell, of which the tests may be one, ignore it.
    running = subprocess.Popen(
        ['env', '--default-signal=INT',
         *command('run', *small, '--name', name, probe.id)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert 'probe: up' in running.stdout.readline()
        running.send_signal(signal.SIGINT)
        output, said = running.communicate(timeout=120)
    finally:
        running.kill()
    assert 'stopped by a signal' in output
    assert 'Stopping the server' in said
    assert running.returncode == containers.STOPPED_CODE


def test_volume(cloud, volume, probe, small, made, name):
    """What is on a volume is there for the next server."""
    data = volume()
    for script, expected in (('echo kept >/data/file', ''),
                             ('cat /data/file', 'kept\n')):
        made.append(name)
        assert client('run', *small, '--name', name, '-v',
                      '%s:/data' % data.name, probe.id, 'sh', '-c',
                      script).endswith(expected)
        cloud.delete(cloud.compute.find_server(name))
        cloud.wait_volume(data, 'available')


def test_from(cloud, builder, small, made, name, tmp_path):
    """skopeo fetches; what docker alone knows survives."""
    archive = builder.build(
        containers.BASE + 'HEALTHCHECK CMD true\n'
        'CMD ["echo", "from a layout"]\n')
    layout = tmp_path / 'layout'
    subprocess.run(['skopeo', 'copy', '--quiet', 'docker-archive:%s'
                    % archive, 'oci:%s:x' % layout], check=True)
    image = show('image', 'create', '--from', 'oci:%s:x' % layout, name)
    try:
        assert 'from a layout' in client('run', '--rm', *small, '--name',
                                         name, name)
        contents = show('image', 'show', '--contents', name)
        assert contents['command'] == "echo 'from a layout'"
    finally:
        cloud.sdk.image.delete_image(image['id'])


def test_unfit_images_are_not_uploaded(cloud, builder, name, tmp_path):
    broken = tmp_path / 'broken.tar'
    broken.write_bytes(builder.probe().read_bytes()[:-100000])
    said = client('image', 'create', '--file', broken, name, status=1)
    assert 'broken.tar' in said
    empty = builder.build(containers.BASE)
    said = client('image', 'create', '--file', empty, name, status=1)
    assert 'containervm_command' in said
    assert not list(cloud.sdk.image.images(name=name))


def test_mistakes_are_told_before_a_server_is_made(cloud, probe, small, name):
    for options, message in (
            (['--shm-size', 'much'], 'containervm_shm_size'),
            (['--restart', 'never'], 'containervm_restart_policy'),
            (['-d', '--rm'], '--rm'),
            (['-v', '/etc:/x'], '/etc')):
        said = client('run', *small, '--name', name, *options, probe.id,
                      status=1)
        assert message in said
    assert not list(cloud.compute.servers(name=name))
