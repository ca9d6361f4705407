# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""What the images are made of."""

import dataclasses
import pathlib

FILES = pathlib.Path(__file__).with_name('files')
_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One image.

    :param description: for the list of images
    :param packages: Debian packages, on top of the common Debian layer;
        None for an image FROM scratch
    :param prepare: shell commands run in the image before the packages
    :param finish: shell commands run in the image after them
    :param files: {path in the image: file of files/}
    :param programs: {path in the image: C source of files/ to be compiled
        statically, or an absolute path on the host}
    :param links: {path in the image: target} symbolic links
    """

    description: str
    packages: tuple | None = ()
    prepare: str = ''
    finish: str = ''
    files: dict = dataclasses.field(default_factory=dict)
    programs: dict = dataclasses.field(default_factory=dict)
    links: dict = dataclasses.field(default_factory=dict)
    entrypoint: tuple = ()
    cmd: tuple = ()
    env: dict = dataclasses.field(default_factory=dict)
    ports: tuple = ()
    volumes: tuple = ()
    workdir: str = ''
    user: str = ''
    stop_signal: str = ''


RECIPES = {
    'nginx': Recipe(
        'a web server on port 80, set up like docker.io/nginx',
        packages=('nginx',),
        # As in Docker's image: logs are the container's output. The page
        # replaces Debian's, which makes a whiteout in the last layer.
        finish='rm /var/www/html/index.nginx-debian.html; '
               'ln -sf /dev/stdout /var/log/nginx/access.log; '
               'ln -sf /dev/stderr /var/log/nginx/error.log',
        files={'/var/www/html/index.html': 'nginx-index.html',
               '/docker-entrypoint.sh': 'nginx-entrypoint.sh'},
        entrypoint=('/docker-entrypoint.sh',),
        cmd=('nginx', '-g', 'daemon off;'),
        env={'PATH': _PATH}, ports=('80/tcp',), stop_signal='SIGQUIT'),
    'redis': Recipe(
        'a Redis server on port 6379, without a password',
        packages=('redis-server',),
        finish='mkdir /data && chown redis:redis /data',
        files={'/usr/local/bin/docker-entrypoint.sh': 'redis-entrypoint.sh'},
        entrypoint=('docker-entrypoint.sh',),
        cmd=('redis-server', '--bind', '0.0.0.0', '--protected-mode', 'no'),
        env={'PATH': _PATH}, ports=('6379/tcp',), volumes=('/data',),
        workdir='/data'),
    'postgres': Recipe(
        'PostgreSQL 15 on port 5432; POSTGRES_PASSWORD, or anyone may log in',
        packages=('postgresql-15',),
        # The entrypoint makes the cluster, not the package.
        prepare='mkdir -p /etc/postgresql-common && '
                'echo create_main_cluster = false '
                '> /etc/postgresql-common/createcluster.conf',
        finish='install -d -m 700 -o postgres -g postgres '
               '/var/lib/postgresql/data',
        files={'/usr/local/bin/docker-entrypoint.sh':
               'postgres-entrypoint.sh'},
        entrypoint=('docker-entrypoint.sh',), cmd=('postgres',),
        env={'PATH': f'{_PATH}:/usr/lib/postgresql/15/bin',
             'PGDATA': '/var/lib/postgresql/data', 'LANG': 'C.UTF-8'},
        ports=('5432/tcp',), volumes=('/var/lib/postgresql/data',),
        stop_signal='SIGINT'),
    'static': Recipe(
        'one static program FROM scratch; prints what it got, then waits',
        packages=None, programs={'/show': 'show.c'},
        entrypoint=('/show',), cmd=('one', 'two words'),
        env={'GREETING': 'hello, world'}, workdir='/work', user='1234:5678'),
    'busybox': Recipe(
        'busybox FROM scratch, with a shell',
        packages=None, programs={'/bin/busybox': '/bin/busybox'},
        links={f'/bin/{name}': 'busybox' for name in
               ('sh', 'cat', 'ls', 'sleep', 'echo', 'id', 'ip', 'ping',
                'mount', 'ps', 'nc', 'httpd', 'wget', 'dd', 'df', 'touch',
                'mkdir', 'rm', 'stat', 'hostname', 'env', 'kill', 'sync')},
        cmd=('sh', '-c', 'echo ready; sleep 1000000'),
        env={'PATH': '/bin'}),
    'exit3': Recipe(
        'prints a line and ends with status 3',
        packages=None, programs={'/bin/busybox': '/bin/busybox'},
        links={'/bin/sh': 'busybox'},
        cmd=('/bin/sh', '-c', 'echo about to exit with 3; exit 3'),
        env={'PATH': '/bin'}),
}
