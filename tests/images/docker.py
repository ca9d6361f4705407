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

"""Archives that docker itself writes, of two releases of Debian.

Its daemon runs in a directory with only its packages, in namespaces of its
own, without a network: images come and go as files. Containers are made, for
``docker export``, but never run. As root::

    with Docker(directory, 'bookworm') as docker:
        docker.load(archive)
        docker.save('test:latest', path)
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

from nova_containervm.baseimage import apt

#: Releases of Debian: what they have is Docker 20.10 and 26.1.
RELEASES = ('bookworm', 'trixie')

_LINKS = ('bin', 'sbin', 'lib', 'lib64')
_DAEMON = ('dockerd', '-H', 'unix:///run/docker.sock', '-G', '',
           '--storage-driver', 'vfs', '--iptables=false', '--bridge=none',
           '--data-root', '/data', '--exec-root', '/run/docker',
           '--pidfile', '/run/docker.pid', '--log-level', 'warn')
#: In namespaces of their own: a root with what a daemon looks for.
_START = """
set -e
mount --bind "$1" "$1"
cd "$1"
shift
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs run
mount -t cgroup2 cgroup2 sys/fs/cgroup || true
exec chroot . "$@"
"""


def sources(release):
    """This host's sources of Debian, for a release."""
    listed = subprocess.run(
        ['apt-get', 'indextargets', '--format',
         '$(REPO_URI) $(COMPONENT) $(ORIGIN)', 'Created-By: Packages'],
        check=True, capture_output=True, text=True).stdout
    return ''.join(sorted({
        'deb %s %s %s\n' % (uri, release, component) for uri, component, origin
        in (line.split(' ', 2) for line in listed.splitlines())
        if origin == 'Debian' and 'security' not in uri}))


def install(directory, release):
    """Unpack docker and what it needs into a directory; once."""
    root = pathlib.Path(directory, release)
    if root.exists():
        return root
    making = pathlib.Path(directory, release + '.new')
    shutil.rmtree(making, ignore_errors=True)
    for name in (*('usr/' + link for link in _LINKS), 'dev', 'proc', 'sys',
                 'run', 'tmp', 'data', 'etc', 'var'):
        (making / name).mkdir(parents=True)
    for link in _LINKS:
        (making / link).symlink_to('usr/' + link)
    (making / 'var/run').symlink_to('/run')
    private = apt.Apt(pathlib.Path(directory, 'apt-' + release),
                      sources(release))
    private.update()
    versions = private.closure(['docker.io', 'docker-cli']
                               if release != 'bookworm' else ['docker.io'])
    for deb in private.download(versions).values():
        apt.unpack(deb, making)
    making.rename(root)
    return root


class Docker:
    """A daemon, and its client.

    :param directory: where to keep what is downloaded, and images
    :param release: of Debian
    """

    def __init__(self, directory, release):
        self.root = install(directory, release)
        self._env = {'PATH': '/usr/sbin:/usr/bin', 'HOME': '/data',
                     'DOCKER_HOST': 'unix:///run/docker.sock'}
        self._daemon = None
        self._log = self.root.with_name(release + '.log')

    def __enter__(self):
        shutil.rmtree(self.root / 'data')
        (self.root / 'data').mkdir()
        with open(self._log, 'wb') as log:
            # Its processes end with the first of their PID namespace.
            self._daemon = subprocess.Popen(
                ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount',
                 '--net', '--ipc', '--cgroup', '--pid', '--fork',
                 '--kill-child', 'sh', '-c', _START, 'sh', str(self.root),
                 *_DAEMON],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._env)
        deadline = time.monotonic() + 120
        while True:
            try:
                self.version = self.run('version', '--format',
                                        '{{.Server.Version}}')
                return self
            except subprocess.CalledProcessError as exc:
                if self._daemon.poll() is not None \
                        or time.monotonic() > deadline:
                    self.__exit__()
                    raise RuntimeError('dockerd does not start: %s\n%s' % (
                        exc.stderr, self._log.read_text()[-2000:]))
            time.sleep(0.2)

    def __exit__(self, *_exc):
        self._daemon.kill()
        self._daemon.wait()
        shutil.rmtree(self.root / 'data')
        (self.root / 'data').mkdir()

    def _inside(self):
        """The first process of its namespaces."""
        with open('/proc/%d/task/%d/children' % (
                (self._daemon.pid,) * 2)) as source:
            return source.read().split()[0]

    def run(self, *args, **kwargs):
        """What the client prints, without the end of the last line."""
        kwargs.setdefault('stdout', subprocess.PIPE)
        try:
            command = ['nsenter', '--target', self._inside(), '--mount',
                       '--net', '--pid', '--root', '--wd=/', 'docker', *args]
        except (IndexError, OSError):
            raise subprocess.CalledProcessError(1, 'nsenter', '', '')
        done = subprocess.run(command, check=True, stderr=subprocess.PIPE,
                              env=self._env, **kwargs)
        return (done.stdout or b'').decode().strip()

    def load(self, path):
        """Read an archive; returns the image's name."""
        with open(path, 'rb') as source:
            said = self.run('load', stdin=source)
        return said.rpartition(': ')[2]

    def save(self, image, path):
        with open(path, 'wb') as out:
            self.run('save', image, stdout=out)

    def export(self, image, path):
        """The root filesystem of a container that never ran."""
        made = self.run('create', '--network', 'none', image, '/bin/sh')
        with open(path, 'wb') as out:
            self.run('export', made, stdout=out)
        self.run('rm', made)


def main():
    """Try it: print the versions."""
    for release in RELEASES:
        with Docker(os.path.abspath(sys.argv[1]), release) as docker:
            print(release, docker.version)


if __name__ == '__main__':
    main()
