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

"""Runs the external programs that the builder needs."""

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile

from nova_containervm.baseimage import errors

# A build must not depend on the day it runs: whatever wants a time gets this
# one, unless the caller's environment sets SOURCE_DATE_EPOCH itself
# (https://reproducible-builds.org/specs/source-date-epoch/).
DEFAULT_EPOCH = 1704067200  # 2024-01-01T00:00:00Z

# Programs of the build host and the Debian package that has each of them.
TOOL_PACKAGES = {
    'apt-get': 'apt',
    'debugfs': 'e2fsprogs',
    'dumpe2fs': 'e2fsprogs',
    'dpkg-deb': 'dpkg',
    'gcc': 'gcc',
    'mcopy': 'mtools',
    'mformat': 'mtools',
    'mke2fs': 'e2fsprogs',
    'mmdebstrap': 'mmdebstrap',
    'nm': 'binutils',
    'objcopy': 'binutils',
    'qemu-img': 'qemu-utils',
    'syslinux': 'syslinux',
    'tar': 'tar',
    'tar2sqfs': 'squashfs-tools-ng',
    'zstd': 'zstd',
}

# Tools in sbin directories are for ordinary users too, but not in their PATH.
_SBIN = ('/usr/local/sbin', '/usr/sbin', '/sbin')


def scratch():
    """A directory for a build's files, a context manager.

    In TMPDIR, or else in /var/tmp: /tmp is in memory on many machines, and
    the cloud image takes gigabytes.
    """
    return tempfile.TemporaryDirectory(
        prefix='containervm-', dir=os.environ.get('TMPDIR') or '/var/tmp')


def epoch():
    """Seconds since 1970 to use wherever a file format wants a time."""
    value = os.environ.get('SOURCE_DATE_EPOCH', '')
    if not value:
        return DEFAULT_EPOCH
    if not value.isdigit():
        raise errors.BuildError(
            f'SOURCE_DATE_EPOCH is {value!r}, not a number of seconds')
    return int(value)


def search_path():
    """PATH with the sbin directories, as a string."""
    parts = os.environ.get('PATH', '/usr/bin:/bin').split(os.pathsep)
    return os.pathsep.join(parts + [d for d in _SBIN if d not in parts])


def find(name):
    """Absolute path of program *name*, or None."""
    return shutil.which(name, path=search_path())


def require(names):
    """Raise BuildError naming every missing program and its package."""
    missing = [name for name in names if find(name) is None]
    if missing:
        packages = sorted({TOOL_PACKAGES.get(n, n) for n in missing})
        raise errors.BuildError(
            'missing on this host: %s; install them with: apt-get install %s'
            % (', '.join(missing), ' '.join(packages)))


def environment(**extra):
    """Environment for a tool: no locale, no time zone, a fixed clock."""
    env = dict(os.environ, LC_ALL='C', TZ='UTC', PATH=search_path(),
               SOURCE_DATE_EPOCH=str(epoch()))
    env.update(extra)
    return env


def run(argv, *, cwd=None, data=None, env=None):
    """Run *argv* and return its standard output as bytes.

    :param argv: argument list; never a shell string.
    :param cwd: directory to run in.
    :param data: bytes for standard input; without it, /dev/null.
    :param env: environment; default `environment()`.
    :raises BuildError: the program is missing or fails; the message has the
        command line and the end of what it said.
    """
    argv = [str(arg) for arg in argv]
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=env or environment(), check=False,
            stdin=subprocess.DEVNULL if data is None else None, input=data,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise errors.BuildError(
            '%s: not found; install the package %s'
            % (argv[0], TOOL_PACKAGES.get(argv[0], argv[0]))) from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).decode(
            errors='replace')
        raise errors.BuildError('`%s` failed with status %d: %s' % (
            shlex.join(argv), done.returncode, said[-2000:]))
    return done.stdout


def sha256(path):
    """Hex SHA-256 of the file at *path*."""
    digest = hashlib.sha256()
    with open(path, 'rb') as stream:
        for block in iter(lambda: stream.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()
