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
"""Databases: schemas, first contents, and a cold copy to start from."""

import concurrent.futures
import hashlib
import shutil

from aiolib import host
from aiolib import program
from aiolib import pyenv
from aiolib import render
from aiolib import services
from aiolib import settings as settings_mod
from aiolib import ui


def seed_path(cfg):
    """Return where the copy for these versions and paths is kept."""
    text = '\n'.join([*pyenv.wanted(), pyenv.CONSTRAINTS.read_text(),
                      str(cfg.dir), 'layout 1'])
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cfg.cache / f'databases-{name}.tar.gz'


def install(cfg):
    """Make MariaDB's data directory, from the cold copy if there is one.

    :returns: 'kept', 'seed' or 'new'
    """
    data = cfg.state / 'mariadb'
    if (data / '.complete').exists():
        return 'kept'
    _empty(data)
    seed = seed_path(cfg)
    if seed.exists():
        for name in ('fernet', 'credential'):
            shutil.rmtree(cfg.state / 'keystone' / name, ignore_errors=True)
        ui.run(['tar', '--extract', '--gzip', '--file', seed, '--directory',
                cfg.state])
        (data / '.complete').touch()
        return 'seed'
    ui.run(['mariadb-install-db',
            f'--defaults-file={cfg.etc}/mariadb/my.cnf', '--skip-test-db',
            '--auth-root-authentication-method=normal'],
           log=cfg.log / 'mariadb-install.log',
           user=settings_mod.CONTROL_USER,
           env=ui.clean_env(HOME='/nonexistent'))
    (data / '.complete').touch()
    return 'new'


def _empty(path):
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def sync(cfg):
    """Make all schemas, at most as many at once as there are cores.

    :returns: whether anything was to be done
    """
    done = cfg.state / 'schemas.done'
    key = ' '.join(render.DATABASES)
    if done.exists() and done.read_text() == key:
        return False
    ui.run(['mariadb', '--no-defaults', '--user=root', '--socket',
            f'{cfg.run}/mariadb/socket', '--execute',
            ''.join(f'create database if not exists {d};'
                    for d in render.DATABASES)])
    jobs = (_neutron, _nova, _cinder, _keystone, _glance, _placement)
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        results = [pool.submit(job, cfg) for job in jobs]
        for result in results:
            result.result()
    host.write(done, key)
    return True


def _manage(cfg, name, *args):
    log = cfg.log / f'db-{name}.log'
    ui.run([cfg.venv_bin(args[0]), *args[1:]], log=log,
           user=settings_mod.CONTROL_USER,
           env=ui.clean_env(PYTHONWARNINGS='ignore', HOME='/nonexistent'),
           what=f'making the database of {name}')


def _keystone(cfg):
    user = settings_mod.CONTROL_USER
    manage = ('keystone-manage', '--config-file',
              f'{cfg.etc}/keystone/keystone.conf')
    owner = ('--keystone-user', user, '--keystone-group', user)
    _manage(cfg, 'keystone', *manage, 'db_sync')
    _manage(cfg, 'keystone', *manage, 'fernet_setup', *owner)
    _manage(cfg, 'keystone', *manage, 'credential_setup', *owner)
    _manage(cfg, 'keystone', *manage, 'bootstrap',
            '--bootstrap-password', settings_mod.PASSWORD,
            '--bootstrap-region-id', settings_mod.REGION,
            '--bootstrap-service-name', 'keystone',
            *(arg for kind in ('admin', 'internal', 'public')
              for arg in (f'--bootstrap-{kind}-url', render.AUTH_URL)))


def _glance(cfg):
    _manage(cfg, 'glance', 'glance-manage', '--config-file',
            f'{cfg.etc}/glance/glance-api.conf', 'db_sync')


def _placement(cfg):
    _manage(cfg, 'placement', 'placement-manage', '--config-file',
            f'{cfg.etc}/placement/placement.conf', 'db', 'sync')


def _cinder(cfg):
    _manage(cfg, 'cinder', 'cinder-manage', '--config-file',
            f'{cfg.etc}/cinder/cinder.conf', 'db', 'sync')


def _nova(cfg):
    def nova(*args):
        _manage(cfg, 'nova', 'nova-manage', '--config-file',
                f'{cfg.etc}/nova/nova.conf', *args)
    nova('api_db', 'sync')
    nova('cell_v2', 'map_cell0', '--database_connection',
         cfg.database_url('nova_cell0'))
    nova('db', 'sync')  # cell0, and cell1 as nova.conf names it
    if program.query(cfg, 'select count(*) from nova_api.cell_mappings '
                     "where name='cell1'") == '0':
        nova('cell_v2', 'create_cell', '--name', 'cell1')


def _neutron(cfg):
    _manage(cfg, 'neutron', 'neutron-db-manage', '--config-file',
            f'{cfg.etc}/neutron/neutron.conf', '--config-file',
            f'{cfg.etc}/neutron/ml2_conf.ini', 'upgrade', 'heads')


def discover_hosts(cfg):
    """Map the compute hosts into cell1 (once)."""
    mapped = program.query(
        cfg, 'select count(*) from nova_api.host_mappings')
    if int(mapped) < cfg.computes:
        _manage(cfg, 'nova', 'nova-manage', '--config-file',
                f'{cfg.etc}/nova/nova.conf', 'cell_v2', 'discover_hosts')


def save_seed(cfg, supervisor):
    """Keep a cold copy of the databases with schemas and identities.

    They are the same for every first start; making them takes longest.
    """
    seed = seed_path(cfg)
    if seed.exists():
        return False
    mariadb = [p for p in services.programs(cfg) if p.name == 'mariadb']
    supervisor.stop_program('mariadb')
    try:
        new = seed.with_suffix('.new')
        ui.run(['tar', '--create', '--use-compress-program=gzip -1', '--file',
                new, '--directory', cfg.state, 'mariadb', 'keystone/fernet',
                'keystone/credential', 'schemas.done', 'identity.done'])
        for old in cfg.cache.glob('databases-*.tar.gz'):
            old.unlink()
        new.rename(seed)
    finally:
        supervisor.start_program('mariadb')
        supervisor.wait_healthy(mariadb)
    return True


def _script_path(name):
    return pyenv.CONSTRAINTS.parent / 'scripts' / f'{name}.py'


def script(cfg, name, *args):
    """Run a script of scripts/ with the venv's Python and the admin login."""
    ui.run([cfg.venv_bin('python'), '-B', _script_path(name), *args],
           log=cfg.log / f'{name}.log', env=cloud_env(cfg),
           what=f'setting up: {name}')


def cloud_env(cfg):
    return ui.clean_env(OS_CLIENT_CONFIG_FILE=cfg.etc / 'clouds.yaml',
                        OS_CLOUD='aio', PYTHONWARNINGS='ignore')


def identities(cfg):
    """Make users, projects and the catalogue, once for this checkout."""
    done = cfg.state / 'identity.done'
    key = hashlib.sha256(_script_path('identity').read_bytes()).hexdigest()
    if done.exists() and done.read_text() == key:
        return False
    script(cfg, 'identity', settings_mod.PASSWORD, settings_mod.REGION)
    host.write(done, key)
    return True


def objects(cfg):
    """Make networks, flavors and rules, once for these settings."""
    done = cfg.state / 'objects.done'
    key = f'{cfg.public_cidr} {cfg.public_cidr6}'
    if done.exists() and done.read_text() == key:
        return False
    script(cfg, 'objects', cfg.public_cidr, cfg.public_cidr6)
    host.write(done, key)
    return True
