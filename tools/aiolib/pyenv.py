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
"""The virtual environment with OpenStack and this project."""

import hashlib
import os
import pathlib
import shutil

from aiolib import settings as settings_mod
from aiolib import ui

CONSTRAINTS = pathlib.Path(__file__).with_name('constraints.txt')
COMMANDS = ('openstack', 'nova-manage', 'nova-status', 'neutron-db-manage',
            'placement-manage', 'keystone-manage', 'glance-manage',
            'cinder-manage')


def libvirt_version():
    """Return the installed libvirt's version: its binding must be equal."""
    return ui.run(['pkg-config', '--modversion', 'libvirt']).strip()


def wanted():
    return [*settings_mod.PYTHON_PACKAGES,
            f'libvirt-python=={libvirt_version()}']


def ensure(cfg):
    """Make the venv and install OpenStack into it.

    :returns: whether anything was done
    """
    stamp = cfg.venv / '.aio-stamp'
    key = hashlib.sha256(repr(wanted()).encode() +
                         CONSTRAINTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == key:
        return False
    log = cfg.log / 'pip.log'
    # Half an environment, or one of an older checkout: start afresh. The
    # wheels come from the cache then.
    shutil.rmtree(cfg.venv, ignore_errors=True)
    ui.run(['/usr/bin/python3', '-m', 'venv', cfg.venv], log=log)
    # pip compiles on one processor, and the services may not write here.
    pip(cfg, 'install', '--no-compile', '--constraint', CONSTRAINTS,
        *wanted())
    # Some packages have templates that are no Python.
    ui.run([cfg.venv / 'bin' / 'python3', '-m', 'compileall', '-q', '-j', '0',
            cfg.venv / 'lib'], log=log, check=False)
    stamp.write_text(key)
    return True


def pip(cfg, *args):
    log = cfg.log / 'pip.log'
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(('PYTHON', 'VIRTUAL_ENV'))}
    env['PIP_CACHE_DIR'] = str(cfg.cache / 'pip')
    env['PIP_DISABLE_PIP_VERSION_CHECK'] = '1'
    ui.run([cfg.venv / 'bin' / 'pip', '--quiet', *args], log=log, env=env,
           remedy=f'Check that pip reaches its index. The whole log: {log}')


def project_key(cfg):
    """Return a digest of the project's sources, for a regular install.

    An editable install only depends on the packaging files.
    """
    digest = hashlib.sha256()
    files = [cfg.checkout / n for n in ('setup.cfg', 'setup.py',
                                        'pyproject.toml')]
    if not cfg.checkout_is_open:
        files += sorted(p for p in (cfg.checkout / 'nova_containervm')
                        .rglob('*') if p.suffix != '.pyc' and p.is_file())
    for path in files:
        if path.exists():
            digest.update(str(path).encode() + b'\0' + path.read_bytes())
    return f'{cfg.checkout}\n{digest.hexdigest()}\n'


def project_stamp(cfg):
    """Return the file that is written after each install of the project."""
    return cfg.venv / '.aio-project'


def ensure_project(cfg):
    """Install this project into the venv; editable if nova can read it.

    :returns: whether anything was installed
    """
    if not (cfg.checkout / 'setup.cfg').exists():
        return False
    stamp = project_stamp(cfg)
    key = project_key(cfg)
    if stamp.exists() and stamp.read_text() == key:
        return False
    if cfg.checkout_is_open:
        how = ['--editable']
    else:
        # The version may be the same as before: pip would do nothing.
        pip(cfg, 'uninstall', '--yes', 'nova-containervm')
        how = []
    pip(cfg, 'install', '--constraint', CONSTRAINTS, *how, str(cfg.checkout))
    stamp.write_text(key)
    return True


def link_commands(cfg):
    """Put the commands that a user needs into a directory of their own.

    The venv's bin/ in PATH would hide the user's python3.
    """
    cfg.bin.mkdir(parents=True, exist_ok=True)
    extra = [p.name for p in (cfg.venv / 'bin').glob('nova-containervm*')]
    for name in (*COMMANDS, *extra):
        link = cfg.bin / name
        target = cfg.venv / 'bin' / name
        if target.exists() and not link.is_symlink():
            link.symlink_to(target)
