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
"""Build an image with mmdebstrap and buildah, and keep it."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

from aiolib import ui
from images import recipes

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2]))

# The path is set just above.
from nova_containervm.baseimage import apt  # noqa: E402
from nova_containervm.baseimage import errors  # noqa: E402

FORMATS = ('docker-archive', 'oci-archive')
_RELEASE = 'bookworm'
# Of files and of processes: no more than any host allows
_LIMIT = 1024
_CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt'
_CERTIFICATES_INSIDE = '/run/host-certificates.crt'
_BASE_LAYER = f'debian:{_RELEASE}'


def host_sources():
    """Return sources of Debian 12, from where this host takes its own."""
    try:
        return apt.host_sources(_RELEASE)
    except errors.BuildError as e:
        raise ui.Failure(
            str(e), 'Run apt-get update, or name a mirror: '
                    'AIO_DEBIAN_MIRROR=URL') from e


class Builder:
    """Builds images below a directory of its own.

    :param directory: for results, intermediate layers and temporary files
    :param mirror: of Debian; None takes what this host's apt takes
    :param log: file for the output of the tools
    """

    def __init__(self, directory, log, mirror=None):
        self.dir = pathlib.Path(directory)
        self.log = log
        self.sources = (f'deb {mirror} {_RELEASE} main\n' if mirror
                        else host_sources())
        self.storage = self.dir / 'storage'

    def key(self, recipe):
        """Return a digest of everything that goes into an image."""
        digest = hashlib.sha256(self.sources.encode())
        digest.update(pathlib.Path(__file__).read_bytes())
        digest.update(json.dumps(dataclasses.asdict(recipe),
                                 sort_keys=True).encode())
        for name in (*recipe.files.values(), *recipe.programs.values()):
            digest.update((recipes.FILES / name).read_bytes())
        return digest.hexdigest()[:16]

    def build(self, name, kind=FORMATS[0], tag='latest'):
        """Return the path of the archive, built unless it is there.

        :param name: key of RECIPES
        :param kind: one of FORMATS
        :param tag: of the image in the archive
        """
        recipe = recipes.RECIPES[name]
        key = self.key(recipe)
        result = self.dir / f'{name}-{tag}-{key}.{kind}.tar'
        if result.exists():
            return result
        self.dir.mkdir(parents=True, exist_ok=True)
        for old in self.dir.glob(f'{name}-{tag}-*.{kind}.tar'):
            old.unlink()
        image = f'localhost/{name}:{key}'
        if not self._have(image):
            self._forget(name)
            self._make(recipe, image)
        new = result.with_suffix('.new')
        new.unlink(missing_ok=True)
        self.buildah('push', '--disable-compression', image,
                     f'{kind}:{new}:{name}:{tag}')
        new.rename(result)
        return result

    def buildah(self, *args, quiet=False):
        """Run buildah on our own storage; return its output if `quiet`."""
        policy = self.dir / 'policy.json'
        if not policy.exists():
            policy.write_text(
                '{"default": [{"type": "insecureAcceptAnything"}]}\n')
        command, *rest = args
        if command in ('from', 'commit', 'push'):
            rest = ['--signature-policy', str(policy), *rest]
        if command == 'from':
            # Later ones raise these, which is not allowed everywhere.
            for limit in ('nofile', 'nproc'):
                rest = ['--ulimit', f'{limit}={_LIMIT}:{_LIMIT}', *rest]
        # vfs: works on every file system, also inside containers.
        return ui.run(
            ['buildah', '--root', self.storage / 'root', '--runroot',
             self.storage / 'run', '--storage-driver', 'vfs', command, *rest],
            log=None if quiet else self.log,
            env=ui.clean_env(TMPDIR=self.dir),
            check=not quiet or command in ('from', 'mount'),
            what=f'buildah {command}')

    def _have(self, image):
        return bool(self.buildah('images', '--quiet', image,
                                 quiet=True).strip())

    def _forget(self, name):
        """Remove images of this name that older recipes made."""
        listing = self.buildah('images', '--format', '{{.Name}}:{{.Tag}}',
                               quiet=True)
        for image in listing.split():
            if image.startswith(f'localhost/{name}:'):
                self.buildah('rmi', '--force', image, quiet=True)

    def _make(self, recipe, image):
        """Put an image together, and commit it as `image`."""
        start = 'scratch' if recipe.packages is None else self._base()
        container = self.buildah('from', '--pull-never', start,
                                 quiet=True).strip()
        if not container:
            raise ui.Failure(f'buildah from {start} failed', '',
                             ui.tail(self.log))
        try:
            if recipe.packages:
                container = self._install(container, recipe, image)
            self._add_files(container, recipe)
            self._configure(container, recipe)
            self.buildah('commit', '--rm', container, image)
        except ui.Failure:
            self.buildah('rm', container, quiet=True)
            raise

    def _base(self):
        """Return the name of an image with nothing but a small Debian."""
        key = hashlib.sha256(self.sources.encode()).hexdigest()[:8]
        image = f'localhost/{_BASE_LAYER}-{key}'
        if self._have(image):
            return image
        rootfs = self.dir / f'debian-{key}.tar'
        if not rootfs.exists():
            new = rootfs.with_suffix('.new.tar')
            sources = self.dir / 'sources.list'
            sources.write_text(self.sources)
            ui.run(['mmdebstrap', '--mode=root', '--variant=minbase',
                    '--dpkgopt=path-exclude=/usr/share/doc/*',
                    '--dpkgopt=path-exclude=/usr/share/man/*',
                    '--dpkgopt=path-exclude=/usr/share/locale/*',
                    _RELEASE, new, sources], log=self.log,
                   env=ui.clean_env(TMPDIR=self.dir))
            new.rename(rootfs)
        container = self.buildah('from', 'scratch', quiet=True).strip()
        self.buildah('add', container, str(rootfs), '/')
        self.buildah('commit', '--rm', container, image)
        rootfs.unlink()
        return image

    def _install(self, container, recipe, image):
        """Add the packages as a layer; return the container on top of it."""
        script = ('set -e; export DEBIAN_FRONTEND=noninteractive; '
                  f'{recipe.prepare or ":"}; '
                  'apt="apt-get -q -o Acquire::https::CAInfo='
                  f'{_CERTIFICATES_INSIDE}"; $apt update; '
                  '$apt install -y --no-install-recommends '
                  f'{" ".join(recipe.packages)}; '
                  'apt-get clean; rm -rf /var/lib/apt/lists/*')
        self._run(container, script)
        layer = f'{image}-packages'
        self.buildah('commit', '--rm', container, layer)
        return self.buildah('from', '--pull-never', layer,
                            quiet=True).strip()

    def _run(self, container, script):
        # The host's certificates, for a mirror with https.
        volumes = []
        if os.path.exists(_CERTIFICATES):
            volumes = ['--volume', f'{_CERTIFICATES}:{_CERTIFICATES_INSIDE}'
                                   ':ro']
        self.buildah('run', '--isolation', 'chroot', *volumes, container,
                     '--', 'sh', '-c', script)
        if volumes:
            # What buildah made to mount it on would stay in the layer.
            mounted = self.buildah('mount', container, quiet=True).strip()
            (pathlib.Path(mounted) / _CERTIFICATES_INSIDE.lstrip('/')).unlink(
                missing_ok=True)
            self.buildah('umount', container, quiet=True)

    def _add_files(self, container, recipe):
        if recipe.finish:
            self._run(container, recipe.finish)
        for path, name in recipe.files.items():
            mode = '0755' if name.endswith('.sh') else '0644'
            self.buildah('add', '--chmod', mode, container,
                         str(recipes.FILES / name), path)
        with tempfile.TemporaryDirectory(dir=self.dir) as directory:
            tree = pathlib.Path(directory) / 'tree'
            tree.mkdir(mode=0o755)
            for path, source in recipe.programs.items():
                target = tree / path.lstrip('/')
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.startswith('/'):
                    shutil.copy(source, target)
                else:
                    ui.run(['gcc', '-static', '-O2', '-s', '-o', target,
                            recipes.FILES / source], log=self.log)
            for path, source in recipe.links.items():
                target = tree / path.lstrip('/')
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source)
            if recipe.python:
                self._add_python(tree, recipe.python)
            if recipe.programs or recipe.links or recipe.python:
                self.buildah('copy', container, f'{tree}/.', '/')

    def _add_python(self, tree, packages):
        """Install from PyPI, with this host's Python 3.11 and its pip."""
        venv = self.dir / 'venv'
        if not (venv / 'bin' / 'pip').exists():
            ui.run(['/usr/bin/python3', '-m', 'venv', venv], log=self.log)
        ui.run([venv / 'bin' / 'pip', 'install', '--quiet', '--no-compile',
                '--target', tree / 'usr/local/lib/app', *packages],
               log=self.log)

    def _configure(self, container, recipe):
        options = []
        if recipe.entrypoint:
            options += ['--entrypoint', json.dumps(recipe.entrypoint)]
        if recipe.cmd:
            # buildah takes a shell's words here and splits them itself.
            options += ['--cmd', ' '.join(_quote(w) for w in recipe.cmd)]
        for name, value in recipe.env.items():
            options += ['--env', f'{name}={value}']
        for port in recipe.ports:
            options += ['--port', port]
        for volume in recipe.volumes:
            options += ['--volume', volume]
        for option, value in (('--workingdir', recipe.workdir),
                              ('--user', recipe.user),
                              ('--stop-signal', recipe.stop_signal)):
            if value:
                options += [option, value]
        self.buildah('config', *options, container)


def _quote(word):
    return "'" + word.replace("'", "'\\''") + "'"
