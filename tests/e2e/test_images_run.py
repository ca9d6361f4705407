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


"""Real programs, from Debian packages, as users run them."""

import hashlib
import json
import os
import stat
import subprocess
import uuid

import pytest

from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import containers


def run(*command, timeout=60, **kwargs):
    """Run a client on this host; return its output."""
    result = subprocess.run(command, capture_output=True, text=True,
                            timeout=timeout, **kwargs)
    assert result.returncode == 0, '%s: %s%s' % (
        command, result.stdout, result.stderr)
    return result.stdout.strip()


def check_nginx(cloud, made, address):
    status, page = cloud_lib.http_get(address)
    assert status == 200
    assert 'It works' in page
    assert run('curl', '-sS', '-o', '/dev/null', '-w', '%{http_code}',
               'http://%s/no-such-page' % address) == '404'


def check_redis(cloud, made, address):
    cloud.wait_console(made, 'Ready to accept connections', 60)

    def cli(*words):
        return run('redis-cli', '-h', address, *words)

    value = uuid.uuid4().hex
    assert cli('PING') == 'PONG'
    assert cli('SET', 'e2e', value) == 'OK'
    assert cli('GET', 'e2e') == value
    # To the container's file system
    assert cli('SAVE') == 'OK'


def check_postgres(cloud, made, address):
    # initdb under TCG, then a start that takes connections
    cloud.wait_console(made, 'database system is ready to accept', 240)

    def psql(statement):
        return run('psql', '-h', address, '-U', 'postgres', '-qtA', '-c',
                   statement, env={**os.environ, 'PGPASSWORD': PASSWORD,
                                   'PGCONNECT_TIMEOUT': '30'})

    psql('CREATE TABLE e2e (id integer PRIMARY KEY, word text)')
    psql("INSERT INTO e2e SELECT n, 'word ' || n FROM "
         'generate_series(1, 1000) n')
    assert psql('SELECT count(*), min(word), max(id) FROM e2e') == (
        '1000|word 1|1000')


PASSWORD = uuid.uuid4().hex
METADATA = {'postgres': {'containervm_env_POSTGRES_PASSWORD': PASSWORD}}
CHECKS = {'nginx': check_nginx, 'redis': check_redis,
          'postgres': check_postgres}


@pytest.mark.parametrize('name', [
    'nginx', 'redis', pytest.param('postgres', marks=pytest.mark.slow)])
def test_defaults(server, image, cloud, name):
    made = server(image(name), metadata=METADATA.get(name, {}))
    CHECKS[name](cloud, made, cloud.address(made))


@pytest.mark.parametrize('profile, name', [
    ('share-overlay', 'nginx'), ('share-overlay', 'redis'),
    # The standard run has them with the probe's image.
    pytest.param('share-copy', 'nginx', marks=pytest.mark.slow),
    pytest.param('share-reflink', 'nginx', marks=pytest.mark.slow)])
def test_share(server, image, cloud, host, profile, name):
    made = server(image(name))
    CHECKS[name](cloud, made, cloud.address(made))
    # Its writes are on the host, in mapped form: not the guest's modes.
    written = {'nginx': 'run/nginx.pid', 'redis': 'data/dump.rdb'}[name]
    path = host.rootfs(made.id) / written
    assert path.stat().st_mode & 0o7777 == 0o600
    assert 'user.virtfs.mode' in os.listxattr(path)


def test_static_program_from_scratch(server, image, cloud):
    """No shell, no libc, no /etc: nothing but one file."""
    made = server(image('static'), flavor='c1.tiny', name='e2e-static')
    console = cloud.wait_console(made, 'waiting').replace('\r', '')
    assert console.splitlines()[:3] == [
        'arg 0: /show', 'arg 1: one', 'arg 2: two words']
    assert set(console.splitlines()) >= {
        'env: GREETING=hello, world', 'env: HOSTNAME=e2e-static',
        'uid: 1234 gid: 5678', 'cwd: /work', 'pid: 1'}
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF')
    assert 'signal: 15' in cloud.console(made)
    cloud.wait_metadata(made, 'containervm_exit_code', '0')


def test_exit_code(server, image, cloud):
    """As in the issue: a one-shot that exits with 3."""
    made = server(image('exit3'), flavor='c1.tiny', wait=None)
    made = cloud.ends_by_itself(made)
    shown = json.loads(aio.openstack('server', 'show', '-f', 'json', made.id))
    assert shown['status'] == 'SHUTOFF'
    assert shown['properties']['containervm_exit_code'] == '3'
    assert shown['properties']['containervm_state'] == 'exited'


# Layers whose union is not their sum.
LAYERS = containers.BASE + '''\
RUN mkdir -p /a/deep/er /b /c /tmp && echo one >/a/file && \\
    echo two >/a/deep/er/file && echo three >/b/file && \\
    ln -s file /b/link && \\
    ln /b/file /b/hard && echo four >/c/old && chmod 6751 /b/file && \\
    chown -h 1234:4321 /a/file /b/link && mkfifo /c/fifo && chmod 1777 /tmp
RUN rm /a/file && rm -r /a/deep && mkdir /a/deep && \\
    echo new >/a/deep/file && echo more >>/b/hard
RUN rm -r /c && echo 'a file now' >/c && rm /b/link && mkdir /b/link && \\
    chmod 700 /b/link && mv /b/hard /b/moved
COPY list /list
CMD ["sh", "/list"]
'''

# Type, mode, owner, path, and content or target; sorted.
LIST = r'''
cd /
{ find a b c tmp -type d -exec stat -c 'd %a %u:%g %n' {} +
  find a b c tmp -type p -exec stat -c 'p %a %u:%g %n' {} +
  find a b c tmp -type f -exec stat -c 'f %a %u:%g %n' {} + \
       -exec sha256sum {} +
  find a b c tmp -type l -exec stat -c 'l %u:%g %N' {} + ; } | sort
echo end of list
'''


def listing_of(tree):
    """What LIST prints for a tree on this host."""
    lines = []
    for top in ('a', 'b', 'c', 'tmp'):
        paths = [tree / top]
        if paths[0].is_dir():
            paths += paths[0].rglob('*')
        for path in paths:
            info = path.lstat()
            name = path.relative_to(tree)
            owner = '%d:%d' % (info.st_uid, info.st_gid)
            mode = '%o' % stat.S_IMODE(info.st_mode)
            if stat.S_ISLNK(info.st_mode):
                lines.append("l %s '%s' -> '%s'" % (owner, name,
                                                    os.readlink(path)))
                continue
            kind = {stat.S_IFDIR: 'd', stat.S_IFIFO: 'p',
                    stat.S_IFREG: 'f'}[stat.S_IFMT(info.st_mode)]
            lines.append('%s %s %s %s' % (kind, mode, owner, name))
            if kind == 'f':
                lines.append('%s  %s' % (
                    hashlib.sha256(path.read_bytes()).hexdigest(), name))
    return sorted(lines)


@pytest.mark.parametrize('kind', ['docker-archive', 'oci-archive'])
def test_layers_are_what_umoci_makes_of_them(
        server, builder, upload, cloud, tmp_path, kind):
    """Whiteouts, replaced types, owners, modes, links: as another tool."""
    archive = builder.build(LAYERS, {'list': LIST}, kind=kind)
    run('skopeo', 'copy', '--quiet', '%s:%s' % (kind, archive),
        'oci:%s/layout:e2e' % tmp_path)
    run('umoci', 'unpack', '--image', '%s/layout:e2e' % tmp_path,
        str(tmp_path / 'bundle'))
    made = server(upload('layers', archive), wait=None, flavor='c1.tiny')
    cloud.ends_by_itself(made)
    console = cloud.console(made).replace('\r', '').splitlines()
    end = console.index('end of list')
    expected = listing_of(tmp_path / 'bundle' / 'rootfs')
    assert len(expected) > 12
    begin = end - len(expected)
    assert sorted(console[begin:end]) == expected
