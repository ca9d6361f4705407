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


"""Docker images for the tests, built with buildah from a Dockerfile.

All of them hold nothing but Debian's static busybox (package busybox-static).
"""

import pathlib
import shutil
import subprocess

BUSYBOX = pathlib.Path('/bin/busybox')

BASE = '''\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
'''

# A server that runs what one POSTs to it, and says so when it is stopped.
PROBE = BASE + '''\
COPY passwd group /etc/
COPY start /start
COPY sh /www/cgi-bin/sh
RUN chmod 755 /start /www/cgi-bin/sh && echo probe > /www/index.html && \\
    mkdir -p /srv/data /volume /tmp && chmod 1777 /tmp && touch /etc/mtab && \\
    echo 1 > /volume/first && echo 2 > /volume/second
VOLUME /volume
CMD ["/start"]
'''

PASSWD = '''\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
web:x:1234:1235:web:/srv/data:/bin/sh
'''

GROUP = '''\
root:x:0:
daemon:x:1:
web:x:1235:
extra:x:1300:root,web
'''

# The exit code is one that no shell and no runtime gives by itself.
STOPPED_CODE = 42
START = '''\
#!/bin/sh
echo "probe: up as $(id -u):$(id -g)"
trap 'echo probe: stopped by a signal; echo clean >>/stopped; exit %d' TERM
httpd -f -p 80 -h /www &
wait $!
echo 'probe: the web server ended'
exit 43
''' % STOPPED_CODE

CGI = '''\
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
head -c "$CONTENT_LENGTH" | sh 2>&1
echo "exit $?"
'''

# podman, and later buildahs, raise these, which is not allowed everywhere.
LIMITS = ('--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024')

PROBE_FILES = {'passwd': PASSWD, 'group': GROUP, 'start': START, 'sh': CGI}


def isolated(command):
    """A command line in which a container tool finds cgroups it can use.

    crun of Debian 12 takes cgroups of version 1 or 2, no mix of them.
    """
    return ['unshare', '--mount', 'sh', '-ec',
            'umount -R /sys/fs/cgroup\n'
            'mount -t cgroup2 none /sys/fs/cgroup\n'
            'exec "$@"', 'sh', *command]


class Builder:
    """Builds images in a storage of its own.

    :param directory: an empty directory
    """

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self._count = 0

    def storage(self):
        """Options by which buildah and podman use our storage."""
        return ['--root', str(self.directory / 'storage'),
                '--runroot', str(self.directory / 'run'),
                '--storage-driver', 'vfs']

    def _buildah(self, *arguments):
        result = subprocess.run(
            ['buildah', *self.storage(), *arguments],
            capture_output=True, text=True)
        assert result.returncode == 0, 'buildah %s:\n%s%s' % (
            ' '.join(arguments), result.stdout, result.stderr)

    def build(self, dockerfile, files=None, kind='docker-archive',
              name='e2e', options=()):
        """Build an image; each line of the Dockerfile makes a layer.

        :param files: name to content of files beside the Dockerfile
        :param kind: docker-archive (the legacy layout) or oci-archive
        :param options: more arguments for ``buildah build``
        :returns: the path of the archive
        """
        self._count += 1
        context = self.directory / ('context%d' % self._count)
        context.mkdir()
        shutil.copy(BUSYBOX, context / 'busybox')
        (context / 'Dockerfile').write_text(dockerfile)
        for file_name, content in (files or {}).items():
            (context / file_name).write_text(content)
        archive = self.directory / ('%s%d.tar' % (name, self._count))
        tag = '%s:%d' % (name, self._count)
        self._buildah('build', '--quiet', '--layers', '--isolation', 'chroot',
                      '--format',
                      'docker' if kind == 'docker-archive' else 'oci',
                      '--tag', tag, *LIMITS, *options, str(context))
        self._buildah('push', '--quiet', tag, '%s:%s:%s' % (kind, archive,
                                                            tag))
        return archive

    def probe(self, more='', **kwargs):
        """Build the probe, with more lines of a Dockerfile at its end."""
        return self.build(PROBE + more, PROBE_FILES, name='probe', **kwargs)

    def podman_run(self, archive, *command, options=()):
        """Run an image with podman on this host; return its output.

        podman is the oracle of what an image's config means.
        """
        result = subprocess.run(
            isolated(['podman', *self.storage(), 'run', '--quiet', '--rm',
                      '--network', 'none', '--cgroups', 'disabled',
                      # No entry for a user that the image does not have
                      '--passwd=false',
                      *LIMITS, *options,
                      'docker-archive:%s' % archive, *command]),
            capture_output=True, text=True)
        return result.returncode, result.stdout, result.stderr
