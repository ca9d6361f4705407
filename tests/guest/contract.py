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

"""Hand-made contracts: guest.env, and the JSON files that go with it."""

import json

from nova_containervm.baseimage import tools
from nova_containervm.guest import container as container_lib
from nova_containervm.guest import spec
from nova_containervm.guest import users
from nova_containervm.guest import values as values_lib

PATH = '/bin'
PRIVILEGED = {'PRIVILEGED': 1, 'CAPS': 'f' * 16}


def quote(value):
    """NAME='value' quoting of guest.env."""
    return "'" + value.replace("'", "'\\''") + "'"


def guest_env(values):
    """Text of guest.env for a dict of names to strings."""
    return ''.join(f'{name}={quote(value)}\n'
                   for name, value in values.items())


def numbered(prefix, items):
    """CVM_ARGC, CVM_ARG_0, ... for a list."""
    result = {f'{prefix}C': str(len(items))}
    result.update((f'{prefix}_{i}', item) for i, item in enumerate(items))
    return result


def values(args, *, runtime='crun', env=(), **changes):
    """The names and values of a contract; *changes* without CVM_."""
    result = {
        'CVM_VERSION': '1',
        'CVM_INSTANCE': '11111111-2222-3333-4444-555555555555',
        'CVM_HOSTNAME': 'web1', 'CVM_DOMAIN': '',
        'CVM_TRANSPORT': '9p', 'CVM_ROOTFS_TAG': 'containervm-rootfs',
        'CVM_ROOTFS_SERIAL': '',
        'CVM_ROOTFS_OPTIONS': 'ro,trans=virtio,version=9p2000.L,'
                              'msize=512000,cache=loose',
        'CVM_WRITABLE': 'disk', 'CVM_RUNTIME': runtime,
        'CVM_CWD': '/', 'CVM_UID': '0', 'CVM_GID': '0', 'CVM_GROUPS': '',
        'CVM_UMASK': '0022', 'CVM_TTY': '0', 'CVM_READONLY': '0',
        'CVM_INIT': '0', 'CVM_STOP_SIGNAL': '15', 'CVM_STOP_TIMEOUT': '10',
        'CVM_RESTART': 'no', 'CVM_RESTART_MAX': '0',
        'CVM_CAPS': '00000000a80425fb', 'CVM_PRIVILEGED': '0',
        'CVM_SHM_SIZE': str(64 << 20), 'CVM_TMPFSC': '0',
        'CVM_RLIMITC': '0', 'CVM_VOLUMEC': '0', 'CVM_HEALTHC': '0',
        'CVM_SYSCTLC': '0', 'CVM_FILECAPC': '0', 'CVM_NICC': '0',
        'CVM_DNS': '', 'CVM_SEARCH': '',
        'CVM_CHANNEL': 'org.openstack.containervm.0',
    }
    result.update(numbered('CVM_ARG', list(args)))
    result.update(numbered('CVM_ENV', [f'PATH={PATH}', 'HOSTNAME=web1',
                                       *env]))
    for name, value in changes.items():
        if isinstance(value, (list, tuple)):
            result.update(numbered(f'CVM_{name}', value))
        else:
            result[f'CVM_{name}'] = str(value)
    return result


def _list(contract, prefix):
    return [contract[f'{prefix}_{i}']
            for i in range(int(contract[f'{prefix}C']))]


def container(contract):
    """The container of a contract, as the host side has it."""
    bits = int(contract['CVM_CAPS'], 16)
    health = None
    if contract['CVM_HEALTHC'] != '0':
        health = container_lib.Health(
            tuple(_list(contract, 'CVM_HEALTH')),
            **{name: int(contract[f'CVM_HEALTH_{name.upper()}'])
               for name in ('interval_ms', 'timeout_ms', 'start_period_ms',
                            'start_interval_ms', 'retries')
               if f'CVM_HEALTH_{name.upper()}' in contract})
    user = users.ExecUser(
        uid=int(contract['CVM_UID']), gid=int(contract['CVM_GID']),
        groups=tuple(map(int, contract['CVM_GROUPS'].split())), home='/')
    rlimits = {}
    for entry in _list(contract, 'CVM_RLIMIT'):
        name, *limits = entry.split()
        rlimits[name] = tuple(
            container_lib.UNLIMITED if limit == '-1' else int(limit)
            for limit in limits)
    volumes = (entry.split(' ', 2) for entry in _list(contract, 'CVM_VOLUME'))
    tmpfs = (entry.split(' ', 1) for entry in _list(contract, 'CVM_TMPFS'))
    flags = {name: contract[f'CVM_{variable}'] == '1' for name, variable in (
        ('tty', 'TTY'), ('read_only', 'READONLY'), ('init', 'INIT'),
        ('privileged', 'PRIVILEGED'))}
    return container_lib.Container(
        args=tuple(_list(contract, 'CVM_ARG')),
        env=tuple(_list(contract, 'CVM_ENV')), cwd=contract['CVM_CWD'],
        user=user, hostname=contract['CVM_HOSTNAME'],
        capabilities=tuple(
            name for bit, name in enumerate(values_lib.CAPABILITIES)
            if bits >> bit & 1),
        rlimits=rlimits, sysctls={},
        shm_size=int(contract['CVM_SHM_SIZE']),
        tmpfs={path: ('exec', 'dev', 'suid', *options.split(','))
               for options, path in tmpfs},
        volumes=tuple(values_lib.Volume(volume, path, mode == 'ro')
                      for volume, mode, path in volumes),
        umask=int(contract['CVM_UMASK'], 8), health=health, **flags)


def files(contract, *, config=None, env_text=None):
    """The files of the config drive for a contract.

    :param config: text of config.json in place of the right one
    :param env_text: text of guest.env in place of the right one
    """
    made = container(contract)
    env = guest_env(contract) if env_text is None else env_text
    if config is None:
        config = json.dumps(spec.build(made), indent=1)
    result = {'guest.env': env, 'config.json': config}
    if made.health:
        result['health.json'] = json.dumps(spec.health_process(made))
    return {f'containervm/{name}': text.encode()
            for name, text in result.items()}


def config_drive(path, files, work):
    """Make an ISO 9660 image labelled config-2 with ``{name: bytes}``."""
    tree = work / 'drive'
    for name, content in files.items():
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    tools.run(['genisoimage', '-quiet', '-o', path, '-ldots',
               '-allow-lowercase', '-allow-multidot', '-l', '-J', '-r',
               '-V', 'config-2', tree])
