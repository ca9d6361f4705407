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

"""Fetches Debian packages without root and without touching the host's apt.

apt gets a state directory, a cache and a dpkg status (empty: nothing is
installed) of our own, but the sources and keys of the host. So it resolves
dependencies and verifies signatures as always, and needs no privilege.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import shutil

from nova_containervm.baseimage import errors
from nova_containervm.baseimage import tools

#: Of Debian, by their code names
RELEASES = ('bookworm', 'trixie')
_SUITES = ('', '-updates', '-security')
_TARGET = '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)'
_MERGED = ('bin', 'lib', 'lib64', 'sbin')
_INST = re.compile(r'^Inst (\S+) \((\S+) .*\[(\S+)\]\)')
_URI = re.compile(r"^'([^']+)' (\S+) (\d+) SHA256:([0-9a-f]{64})")


class Apt:
    """A private apt.

    :param root: directory for its lists and packages; kept between builds,
        it saves the downloads.
    :param sources: text for sources.list in place of the host's sources.
    """

    def __init__(self, root, sources=None):
        self._root = pathlib.Path(root).absolute()
        self.packages_dir = self._root / 'packages'
        for part in ('state/lists/partial', 'cache/archives/partial',
                     'packages'):
            (self._root / part).mkdir(parents=True, exist_ok=True)
        (self._root / 'status').touch()
        self._options = []
        for key, value in (
                ('Dir::State', self._root / 'state'),
                ('Dir::State::status', self._root / 'status'),
                ('Dir::Cache', self._root / 'cache'),
                ('APT::Architecture', 'amd64'),
                ('APT::Architectures', 'amd64'),
                ('APT::Get::List-Cleanup', 'false'),
                # As root, apt would download as user _apt, who cannot
                # write here; signatures are checked all the same.
                ('APT::Sandbox::User', 'root'),
                ('Acquire::Languages', 'none'),
                ('Acquire::Retries', '3')):
            self._options += ['-o', f'{key}={value}']
        if sources is not None:
            path = self._root / 'sources.list'
            path.write_text(sources)
            self._options += ['-o', f'Dir::Etc::sourcelist={path}',
                              '-o', 'Dir::Etc::sourceparts=/dev/null']

    def _get(self, *args, cwd=None):
        with self._lock():
            return tools.run(['apt-get', '-q', *self._options, *args],
                             cwd=cwd).decode()

    @contextlib.contextmanager
    def _lock(self):
        """Wait for other builds with this cache: apt only refuses."""
        with open(self._root / 'lock', 'wb') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def update(self):
        """Read the sources' package lists."""
        self._get('update')

    def closure(self, names):
        """Return ``{package: version}`` of *names* and what they depend on.

        Recommended packages are left out.

        :raises BuildError: a package does not exist or cannot be installed.
        """
        out = self._get('--simulate', '--no-install-recommends', 'install',
                        *names)
        found = {}
        for line in out.splitlines():
            match = _INST.match(line)
            if match:
                found[match.group(1)] = match.group(2)
        if not found:
            raise errors.BuildError(
                'apt resolved %s to nothing' % ' '.join(names))
        return found

    def download(self, versions):
        """Download ``{package: version}``; return ``{package: Path}``.

        A file already there with the right digest is used again.
        """
        wanted = [f'{name}={version}' for name, version in
                  sorted(versions.items())]
        out = self._get('--print-uris', 'download', *wanted)
        files = {}
        for line in out.splitlines():
            match = _URI.match(line)
            if match:
                uri, filename, _size, sha256 = match.groups()
                files[filename.partition('_')[0]] = (filename, sha256)
        if set(files) != set(versions):
            raise errors.BuildError('apt knows no file for: %s' % ' '.join(
                sorted(set(versions) - set(files))))
        missing = [
            f'{name}={versions[name]}' for name, (filename, sha256)
            in sorted(files.items()) if not self._have(filename, sha256)]
        if missing:
            self._get('download', *missing, cwd=self.packages_dir)
        for filename, sha256 in files.values():
            if not self._have(filename, sha256):
                raise errors.BuildError(
                    f'{filename}: not downloaded or damaged')
        return {name: self.packages_dir / filename
                for name, (filename, _sha256) in files.items()}

    def _have(self, filename, sha256):
        path = self.packages_dir / filename
        return path.exists() and tools.sha256(path) == sha256


def host_sources(release):
    """Return sources of a release of Debian, as text for a sources.list.

    They are from where this host takes its own release, which may be another:
    mirrors have all of them.

    :param release: one of RELEASES.
    :raises BuildError: the host's apt has no sources of any of them.
    """
    listed = tools.run(['apt-get', 'indextargets', '--format', _TARGET,
                        'Created-By: Packages']).decode()
    suites = {own + suite: release + suite
              for own in RELEASES for suite in _SUITES}
    lines = set()
    for entry in listed.splitlines():
        uri, suite, component, origin = entry.split(' ', 3)
        if origin == 'Debian' and suite in suites:
            lines.add(f'deb {uri} {suites[suite]} {component}\n')
    if not lines:
        raise errors.BuildError(
            'apt of this host has no sources of Debian (%s); run "apt-get '
            'update", or name a mirror' % ' or '.join(RELEASES))
    return ''.join(sorted(lines))


def unpack(deb, directory):
    """Unpack the files of package file *deb* into *directory*."""
    tools.run(['dpkg-deb', '-x', deb, directory])


def merge_usr(directory):
    """Move what packages have put beside usr into it, and link to that.

    Packages of Debian 13 have everything below usr, those of Debian 12 had
    some of it outside; so each is found at either path.
    """
    for name in _MERGED:
        outside = pathlib.Path(directory, name)
        inside = pathlib.Path(directory, 'usr', name)
        if outside.exists():
            shutil.copytree(outside, inside, symlinks=True,
                            dirs_exist_ok=True, copy_function=os.rename)
            shutil.rmtree(outside)
        outside.symlink_to(f'usr/{name}')


def describe(deb):
    """Return (package, version) of package file *deb*."""
    out = tools.run(['dpkg-deb', '-W', '--showformat=${Package} ${Version}',
                     deb])
    name, _sep, version = out.decode().strip().partition(' ')
    return name, version


def describe_directory(directory):
    """Return ``{package: Path}`` of the .deb files in *directory*.

    :raises BuildError: none there, or two versions of one package.
    """
    found = {}
    for path in sorted(pathlib.Path(directory).glob('*.deb')):
        name, _version = describe(path)
        if name in found:
            raise errors.BuildError(
                f'{directory}: more than one version of {name}')
        found[name] = path
    if not found:
        raise errors.BuildError(f'{directory}: no .deb files')
    return found
