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

"""Programs that people run, from Debian packages, with their own clients.

Each is started, used, stopped, and started again with its data; then its
output is read for errors.
"""

import os
import pathlib
import re
import socket
import subprocess
import tempfile
import uuid

import pytest

from tests.e2e import cloud as cloud_lib
from tests.e2e import test_images_run as images_run

pytestmark = pytest.mark.slow

PASSWORD = uuid.uuid4().hex
run = images_run.run


def wait_port(cloud, address, port, timeout=240):
    """Wait until something listens."""
    def listens():
        with socket.socket() as sock:
            sock.settimeout(5)
            return sock.connect_ex((address, port)) == 0
    cloud.until(listens, bool, timeout, 'port %d of %s' % (port, address))


def page(address, port=80, path='/'):
    status, text = cloud_lib.http_get(address, port, path, timeout=240)
    assert status == 200, text
    return text


class Use:
    """How a program is used. ``visit`` is 1 at first, 2 after a restart.

    :param client: function of (cloud, server, address, visit)
    :param noise: what its output has that only looks like an error
    :param metadata: of the server
    :param code: exit code after ``openstack server stop``
    """

    def __init__(self, client, noise=None, metadata=None, flavor='c1.small',
                 code='0'):
        self.client = client
        self.noise = noise
        self.metadata = metadata or {}
        self.flavor = flavor
        self.code = code


def nginx(cloud, made, address, visit):
    assert 'It works' in page(address)


def apache2(cloud, made, address, visit):
    assert 'Apache2 Debian Default Page' in page(address)
    url = 'http://%s/files/note' % address
    if visit == 1:
        run('curl', '-sSf', '-T', '-', url, input='kept')
    assert run('curl', '-sSf', url) == 'kept'


def redis(cloud, made, address, visit):
    wait_port(cloud, address, 6379)
    if visit == 1:
        assert run('redis-cli', '-h', address, 'SET', 'e2e', 'kept') == 'OK'
        assert run('redis-cli', '-h', address, 'SAVE') == 'OK'
    assert run('redis-cli', '-h', address, 'GET', 'e2e') == 'kept'


def memcached(cloud, made, address, visit):
    wait_port(cloud, address, 11211)
    servers = '--servers=' + address
    # It keeps nothing over a restart, and is not asked to.
    assert subprocess.run(['memccat', servers, 'note'],
                          capture_output=True).stdout == b''
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / 'note'
        path.write_text('cached')
        run('memccp', servers, str(path))
    assert run('memccat', servers, 'note') == 'cached'


def postgres(cloud, made, address, visit):
    def sql(statement):
        return run('psql', '-h', address, '-U', 'postgres', '-qtA', '-c',
                   statement, env={**os.environ, 'PGPASSWORD': PASSWORD,
                                   'PGCONNECT_TIMEOUT': '30'})

    cloud.until(lambda: subprocess.run(['pg_isready', '-q', '-h', address]),
                lambda done: done.returncode == 0, 240, 'PostgreSQL')
    if visit == 1:
        sql('CREATE TABLE e2e AS SELECT generate_series(1, 1000) AS n')
    assert sql('SELECT sum(n) FROM e2e') == '500500'


def mariadb(cloud, made, address, visit):
    def sql(statement):
        return run('mariadb', '-h', address, '-u', 'root',
                   '-p' + PASSWORD, '-N', '-B', '-e', statement)

    wait_port(cloud, address, 3306, 420)
    if visit == 1:
        sql('CREATE DATABASE e2e; CREATE TABLE e2e.t AS '
            'SELECT seq AS n FROM mysql.seq_1_to_1000')
    assert sql('SELECT SUM(n) FROM e2e.t') == '500500'


def rabbitmq(cloud, made, address, visit):
    wait_port(cloud, address, 5672, 420)
    where = ['-u', 'amqp://guest:guest@%s' % address]
    if visit == 1:
        run('amqp-declare-queue', *where, '-q', 'e2e', '-d')
        run('amqp-publish', *where, '-r', 'e2e', '-p', '-b', 'kept')
    assert run('amqp-get', *where, '-q', 'e2e') == (
        'kept' if visit == 1 else 'kept again')
    run('amqp-publish', *where, '-r', 'e2e', '-p', '-b', 'kept again')


def haproxy(cloud, made, address, visit):
    # By way of its own backend
    assert page(address) == 'at your service\n'

    # The worker serves before the master, which executes itself anew, takes
    # signals: HAProxy 2.6 loses a SIGUSR1 that comes between, anywhere.
    def processes():
        try:
            with socket.create_connection((address, 9999), 5) as sock:
                sock.sendall(b'show proc\n')
                sock.shutdown(socket.SHUT_WR)
                return sock.makefile().read()
        except OSError:
            return ''
    cloud.until(processes, lambda text: 'master' in text, 60, 'master')


def counts(port):
    def client(cloud, made, address, visit):
        assert page(address, port) == 'visit %d\n' % visit
    return client


def php(cloud, made, address, visit):
    wait_port(cloud, address, 9000)
    answer = run('cgi-fcgi', '-bind', '-connect', '%s:9000' % address, env={
        **os.environ, 'SCRIPT_FILENAME': '/srv/index.php',
        'REQUEST_METHOD': 'GET'})
    assert answer.splitlines()[-1] == 'visit %d' % visit, answer


def systemd(cloud, made, address, visit):
    def welcome():
        try:
            return page(address)
        except ConnectionResetError:
            # Its unit has "nginx -t" run first, which listens for a moment
            # and accepts nothing.
            return ''
    cloud.until(welcome, lambda text: 'Welcome to nginx' in text, 240, 'nginx')
    state = cloud.until(
        lambda: cloud_lib.http_get(address, path='/state'),
        lambda found: found[0] == 200, 240, 'end of the boot')[1]
    assert state == 'running\n'


def s6(cloud, made, address, visit):
    assert 'Welcome to nginx' in page(address)
    assert page(address, path='/init') == 'init\n'


USES = {
    'nginx': Use(nginx),
    'apache2': Use(apache2),
    # A setting of the kernel, which is the user's choice, as in docker
    'redis': Use(redis, noise='Memory overcommit must be enabled'),
    'memcached': Use(memcached),
    'postgres': Use(postgres, metadata={
        'containervm_env_POSTGRES_PASSWORD': PASSWORD},
        noise='the database system is starting up'),
    'mariadb': Use(mariadb, metadata={
        'containervm_env_MARIADB_ROOT_PASSWORD': PASSWORD},
        # docker's profile has no io_uring either; and this cloud no DNS.
        noise='uring.* failed|could not be resolved', flavor='c1.medium'),
    # It is stopped by a program in Erlang, which takes its time to start.
    'rabbitmq': Use(rabbitmq, flavor='c1.medium', metadata={
        'containervm_stop_timeout': '50'}),
    'haproxy': Use(haproxy),
    'node': Use(counts(3000)),
    'python': Use(counts(8000)),
    'php': Use(php),
    'java': Use(counts(8080), flavor='c1.medium', code='143'),
    'systemd': Use(systemd),
    's6': Use(s6),
}

_BAD = re.compile(r'\b(error|fatal|panic|fail(ed|ure)?|denied|not permitted|'
                  r'cannot|unable)\b', re.IGNORECASE)


def complaints(console, noise=None):
    """Lines that say that something is wrong."""
    return [line for line in console.splitlines() if _BAD.search(line)
            and not (noise and re.search(noise, line))]


def session(cloud, made, use, visit):
    """Use a server that has just been started, and stop it."""
    use.client(cloud, made, cloud.address(made), visit)
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    console = cloud.console(made)
    cloud.wait_metadata(made, 'containervm_exit_code', use.code)
    assert not complaints(console, use.noise), console[-6000:]


@pytest.mark.parametrize('name', USES)
def test_program(server, image, cloud, name):
    use = USES[name]
    made = server(image(name), metadata=use.metadata, flavor=use.flavor)
    session(cloud, made, use, 1)
    cloud.compute.start_server(made.id)
    cloud.wait(made, 'ACTIVE')
    session(cloud, made, use, 2)


def test_sshd(server, image, cloud, tmp_path):
    """A login, files over scp, and the same host key after a restart."""
    key = tmp_path / 'key'
    run('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', str(key))
    made = server(image('sshd'), metadata={
        'containervm_env_SSH_AUTHORIZED_KEY':
            key.with_suffix('.pub').read_text().strip()})
    address = cloud.address(made)
    options = ['-F', 'none', '-i', str(key), '-o', 'BatchMode=yes',
               '-o', 'UserKnownHostsFile=%s' % (tmp_path / 'known')]

    def ssh(*words, check='yes'):
        return run('ssh', *options, '-o', 'StrictHostKeyChecking=' + check,
                   'root@' + address, *words)

    wait_port(cloud, address, 22)
    assert ssh('cat /etc/hostname; id -u', check='accept-new').split() == [
        made.name, '0']
    (tmp_path / 'note').write_text('kept')
    run('scp', '-q', *options, str(tmp_path / 'note'),
        'root@%s:/root/note' % address)
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    cloud.compute.start_server(made.id)
    cloud.wait(made, 'ACTIVE')
    wait_port(cloud, address, 22)
    assert ssh('cat /root/note') == 'kept'
    # A terminal
    assert ssh('-tt', 'tty; exit 0').startswith('/dev/pts/')
    # There is no utmp, as in docker.
    assert not complaints(cloud.console(made),
                          r'logout\(\) returned an error')
