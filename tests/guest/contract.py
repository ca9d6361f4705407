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

"""Hand-made contracts: guest.env, and a config.json like docker's."""

import json

from nova_containervm.baseimage import tools

PATH = '/bin'

_CAPS = ['CAP_' + name for name in (
    'AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL',
    'MKNOD', 'NET_BIND_SERVICE', 'NET_RAW', 'SETFCAP', 'SETGID', 'SETPCAP',
    'SETUID', 'SYS_CHROOT')]
_COMMON = ['nosuid', 'noexec', 'nodev']


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
        'CVM_TRANSPORT': '9p', 'CVM_ROOTFS_TAG': 'rootfs',
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


def config_json(contract):
    """config.json of an OCI bundle for the same contract."""
    args = _list(contract, 'CVM_ARG')
    mounts = [
        ('/proc', 'proc', 'proc', _COMMON),
        ('/dev', 'tmpfs', 'tmpfs',
         ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
        ('/dev/pts', 'devpts', 'devpts',
         ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620',
          'gid=5']),
        ('/sys', 'sysfs', 'sysfs', [*_COMMON, 'ro']),
        ('/sys/fs/cgroup', 'cgroup', 'cgroup', [*_COMMON, 'ro']),
        ('/dev/mqueue', 'mqueue', 'mqueue', _COMMON),
        ('/dev/shm', 'tmpfs', 'shm',
         [*_COMMON, 'mode=1777', 'size=65536k']),
    ]
    mounts += [(f'/etc/{name}', 'bind', f'/run/containervm/etc/{name}',
                ['rbind', 'rprivate'])
               for name in ('hosts', 'hostname', 'resolv.conf')]
    if contract['CVM_INIT'] == '1':
        args = ['/sbin/docker-init', '--', *args]
        mounts.append(('/sbin/docker-init', 'bind', '/init',
                       ['bind', 'ro']))
    caps = dict.fromkeys(('bounding', 'effective', 'permitted'), _CAPS)
    return json.dumps({
        'ociVersion': '1.0.2',
        'hostname': contract['CVM_HOSTNAME'],
        'root': {'path': 'rootfs',
                 'readonly': contract['CVM_READONLY'] == '1'},
        'process': {
            'terminal': contract['CVM_TTY'] == '1',
            'args': args, 'env': _list(contract, 'CVM_ENV'),
            'cwd': contract['CVM_CWD'],
            'user': {'uid': int(contract['CVM_UID']),
                     'gid': int(contract['CVM_GID']),
                     'umask': int(contract['CVM_UMASK'], 8),
                     'additionalGids': [
                         int(g) for g in contract['CVM_GROUPS'].split()]},
            'capabilities': caps,
        },
        'mounts': [{'destination': d, 'type': t, 'source': s, 'options': o}
                   for d, t, s, o in mounts],
        'linux': {
            'namespaces': [{'type': kind} for kind in
                           ('pid', 'mount', 'uts', 'ipc', 'cgroup')],
            'maskedPaths': ['/proc/acpi', '/proc/kcore', '/proc/keys',
                            '/proc/timer_list', '/proc/scsi',
                            '/sys/firmware'],
            'readonlyPaths': ['/proc/bus', '/proc/fs', '/proc/irq',
                              '/proc/sys', '/proc/sysrq-trigger'],
        },
    }, indent=1)


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
