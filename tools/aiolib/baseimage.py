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
"""The base VM image that container servers boot."""

import hashlib
import json

from aiolib import packages
from aiolib import ui

TYPES = ('minimal', 'cloud', 'bootable')


def sources_key(cfg, kind):
    """Return a digest of everything that goes into the image."""
    digest = hashlib.sha256()
    top = cfg.checkout / 'nova_containervm'
    paths = [*sorted((top / 'baseimage').rglob('*')),
             *sorted((top / 'guest' / 'init').rglob('*')),
             top / 'cli' / 'baseimage.py']
    if kind == 'bootable':
        # It makes its contract itself.
        paths += [*sorted((top / 'guest').rglob('*.py')),
                  top / 'images' / 'diskfile.py']
    for path in paths:
        if path.is_file() and path.suffix != '.pyc':
            digest.update(f'{path.relative_to(top)}\0'.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def required_packages(cfg):
    """Return the Debian packages that the builder names."""
    out = ui.run([cfg.venv_bin('python'), '-c',
                  'import json\n'
                  'from nova_containervm.baseimage import tools\n'
                  'print(json.dumps(sorted({*tools.TOOL_PACKAGES.values()})))'],
                 env=ui.clean_env(PYTHONDONTWRITEBYTECODE=1))
    return json.loads(out)


def ensure_mkfs(cfg):
    """Get a mkfs.erofs that reads tar archives: Debian 12 has an older one.

    :returns: whether it was fetched
    """
    if cfg.mkfs_erofs.exists():
        return False
    ui.run([cfg.checkout / 'tools' / 'erofs-utils',
            cfg.mkfs_erofs.parents[1]], log=cfg.log / 'erofs-utils.log',
           env=ui.clean_env(PYTHONDONTWRITEBYTECODE=1),
           what='fetching the erofs-utils of Debian 13')
    return True


def ensure(cfg, record, kind='minimal'):
    """Build a base VM image if its sources changed.

    :param kind: one of TYPES
    :returns: whether it was built
    """
    if not (cfg.checkout / 'nova_containervm' / 'cli' /
            'baseimage.py').exists():
        raise ui.Failure('this checkout has no builder of base VM images')
    output = cfg.base / kind
    stamp = cfg.base / f'{kind}.key'
    key = sources_key(cfg, kind)
    if (output / 'base.qcow2').exists() and stamp.exists() \
            and stamp.read_text() == key:
        return False
    packages.install(cfg, record, required_packages(cfg))
    log = cfg.log / 'baseimage.log'
    ui.run([cfg.venv_bin('python'), '-m', 'nova_containervm.cli.baseimage',
            'build', '--type', kind, '--output', output],
           log=log, env=ui.clean_env(PYTHONDONTWRITEBYTECODE=1),
           what=f'building the base VM image {kind}')
    output.chmod(0o755)
    for path in output.iterdir():
        path.chmod(0o644)
    stamp.write_text(key)
    return True
