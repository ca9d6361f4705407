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
# Of both images of bench/transports
_BENCH_PREPARE = ('mkdir -p /etc/postgresql-common && '
                  'echo create_main_cluster = false '
                  '> /etc/postgresql-common/createcluster.conf')
# 20,000 files as in a source tree: most are small, a few are not
_BENCH_TREE = (
    'perl -e \'srand 1; mkdir "/srv/tree"; for $d (0..199) { '
    'mkdir "/srv/tree/d$d"; for $f (0..99) { '
    'open F, ">", "/srv/tree/d$d/file$f.c"; '
    'print F "line $d $f\\n" x (5 + int(3.5 ** rand 6)); close F } }\'')


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
    :param python: packages from PyPI that go to /usr/local/lib/app
    """

    description: str
    packages: tuple | None = ()
    prepare: str = ''
    finish: str = ''
    files: dict = dataclasses.field(default_factory=dict)
    programs: dict = dataclasses.field(default_factory=dict)
    links: dict = dataclasses.field(default_factory=dict)
    python: tuple = ()
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
    'apache2': Recipe(
        'Apache httpd on port 80; WebDAV below /files',
        packages=('apache2',),
        finish='a2enmod -q dav dav_fs; '
               'install -d -o www-data -g www-data /var/www/html/files; '
               'ln -sf /dev/stdout /var/log/apache2/access.log; '
               'ln -sf /dev/stderr /var/log/apache2/error.log',
        files={'/etc/apache2/conf-enabled/dav.conf': 'apache2-dav.conf'},
        # Not apachectl, a shell that keeps the signal for itself
        cmd=('sh', '-c', '. /etc/apache2/envvars; install -d '
             '-o www-data $APACHE_RUN_DIR $APACHE_LOCK_DIR; '
             'exec apache2 -D FOREGROUND'),
        env={'PATH': _PATH}, ports=('80/tcp',), stop_signal='SIGWINCH'),
    'memcached': Recipe(
        'memcached on port 11211',
        packages=('memcached',), user='memcache',
        cmd=('memcached', '-l', '0.0.0.0', '-vv'),
        env={'PATH': _PATH}, ports=('11211/tcp',)),
    'mariadb': Recipe(
        'MariaDB on port 3306; MARIADB_ROOT_PASSWORD',
        packages=('mariadb-server',),
        # The entrypoint makes the system tables, not the package.
        finish='rm -rf /var/lib/mysql/*',
        files={'/usr/local/bin/docker-entrypoint.sh':
               'mariadb-entrypoint.sh'},
        entrypoint=('docker-entrypoint.sh',), cmd=('mariadbd',),
        env={'PATH': _PATH}, ports=('3306/tcp',), volumes=('/var/lib/mysql',)),
    'rabbitmq': Recipe(
        'RabbitMQ on port 5672; anyone may log in as guest',
        packages=('rabbitmq-server',),
        files={'/etc/rabbitmq/rabbitmq.conf': 'rabbitmq.conf'},
        # Not Debian's wrapper, a shell that keeps the signal for itself
        user='rabbitmq', cmd=('/usr/lib/rabbitmq/bin/rabbitmq-server',),
        env={'PATH': _PATH, 'HOME': '/var/lib/rabbitmq', 'LANG': 'C.UTF-8'},
        ports=('5672/tcp',), volumes=('/var/lib/rabbitmq',)),
    'haproxy': Recipe(
        'HAProxy on port 80, with a page of its own; its master listens '
        'on port 9999',
        packages=('haproxy',),
        files={'/etc/haproxy/haproxy.cfg': 'haproxy.cfg'}, user='haproxy',
        cmd=('haproxy', '-W', '-db', '-S', '0.0.0.0:9999',
             '-f', '/etc/haproxy/haproxy.cfg'),
        env={'PATH': _PATH}, ports=('80/tcp', '9999/tcp'),
        stop_signal='SIGUSR1'),
    'node': Recipe(
        'a web server in JavaScript on port 3000 that counts its visits',
        packages=('nodejs',), files={'/srv/server.js': 'node-server.js'},
        finish='install -d -o 1000 -g 1000 /data',
        cmd=('node', '/srv/server.js'), env={'PATH': _PATH},
        ports=('3000/tcp',), volumes=('/data',), user='1000:1000'),
    'python': Recipe(
        'a Flask application on port 8000 that counts its visits',
        packages=('python3',), python=('flask', 'waitress'),
        files={'/srv/app.py': 'python-app.py'},
        finish='install -d -o www-data -g www-data /data',
        cmd=('python3', '/srv/app.py'),
        env={'PATH': _PATH, 'PYTHONPATH': '/usr/local/lib/app',
             'PYTHONUNBUFFERED': '1'},
        ports=('8000/tcp',), volumes=('/data',), user='www-data'),
    'php': Recipe(
        'PHP-FPM on port 9000; /srv/index.php counts its visits',
        packages=('php8.2-fpm',),
        finish='install -d -o www-data -g www-data /data',
        files={'/srv/index.php': 'php-index.php',
               '/etc/php/8.2/fpm/pool.d/zz-docker.conf': 'php-fpm.conf'},
        cmd=('php-fpm8.2', '--nodaemonize', '--force-stderr'),
        env={'PATH': _PATH}, ports=('9000/tcp',), volumes=('/data',),
        stop_signal='SIGQUIT'),
    'java': Recipe(
        'a web server in Java on port 8080 that counts its visits',
        packages=('openjdk-17-jdk-headless',),
        # Its alternatives have manual pages, which the base leaves out.
        prepare='mkdir -p /usr/share/man/man1',
        files={'/srv/Server.java': 'Server.java'}, finish='mkdir /data',
        cmd=('java', '-XX:TieredStopAtLevel=1', '/srv/Server.java'),
        env={'PATH': _PATH}, ports=('8080/tcp',), volumes=('/data',)),
    'sshd': Recipe(
        'OpenSSH on port 22; SSH_AUTHORIZED_KEY or the server\'s keypair may '
        'log in as root',
        packages=('openssh-server',),
        # Each server makes keys of its own.
        finish='rm -f /etc/ssh/ssh_host_*',
        files={'/usr/local/bin/docker-entrypoint.sh': 'sshd-entrypoint.sh'},
        entrypoint=('docker-entrypoint.sh',),
        cmd=('/usr/sbin/sshd', '-D', '-e'),
        env={'PATH': _PATH}, ports=('22/tcp',)),
    'tempest': Recipe(
        'the same with the commands that tempest runs in its servers',
        packages=('openssh-server', 'sudo', 'iproute2', 'iputils-ping',
                  'netcat-traditional', 'curl'),
        finish='rm -f /etc/ssh/ssh_host_*',
        files={'/usr/local/bin/docker-entrypoint.sh': 'sshd-entrypoint.sh'},
        entrypoint=('docker-entrypoint.sh',),
        cmd=('/usr/sbin/sshd', '-D', '-e'),
        env={'PATH': _PATH}, ports=('22/tcp',)),
    'bench': Recipe(
        'nginx, PostgreSQL and 20,000 files, with what bench/transports times',
        packages=('nginx', 'postgresql-15'), prepare=_BENCH_PREPARE,
        finish=_BENCH_TREE, files={'/usr/local/bin/bench-jobs':
                                   'bench-jobs.sh'},
        cmd=('bench-jobs', 'idle'), env={'PATH': _PATH, 'LANG': 'C.UTF-8'},
        ports=('80/tcp',), volumes=('/var/lib/bench/data',)),
    'bench-vm': Recipe(
        'the same as the root of an ordinary VM, with a kernel and systemd',
        packages=('nginx', 'postgresql-15', 'linux-image-amd64',
                  'initramfs-tools', 'systemd', 'systemd-sysv', 'udev',
                  'dbus', 'cron', 'openssh-server'),
        prepare=_BENCH_PREPARE,
        # A getty on the console would hang it up.
        finish=f'{_BENCH_TREE}; cd /etc/systemd/system; '
               'systemctl enable systemd-networkd; '
               'systemctl mask serial-getty@ttyS0; '
               'ln -s ../bench.service multi-user.target.wants/; '
               'echo "/dev/vda / ext4 errors=remount-ro 0 1" >/etc/fstab',
        files={'/usr/local/bin/bench-jobs': 'bench-jobs.sh',
               '/etc/systemd/system/bench.service': 'bench.service',
               '/etc/systemd/network/bench.network': 'bench.network'},
        cmd=('/sbin/init',), ports=('80/tcp',), stop_signal='SIGRTMIN+3'),
    'systemd': Recipe(
        'Debian with systemd, which runs nginx; /state says how it is',
        packages=('systemd', 'systemd-sysv', 'nginx'),
        files={'/etc/systemd/system/report.service': 'report.service'},
        finish='mkdir -p /etc/systemd/system/multi-user.target.wants; '
               'ln -s ../report.service '
               '/etc/systemd/system/multi-user.target.wants/; '
               'ln -s /run/state /var/www/html/state',
        cmd=('/sbin/init',), ports=('80/tcp',), stop_signal='SIGRTMIN+3'),
    's6': Recipe(
        'Debian with s6, which runs nginx; /init says what PID 1 is',
        packages=('s6', 'nginx'),
        files={'/etc/services/nginx/run': 's6-nginx-run.sh'},
        links={'/init': 'usr/bin/s6-svscan'},
        cmd=('/init', '/etc/services'), env={'PATH': _PATH},
        ports=('80/tcp',)),
}
