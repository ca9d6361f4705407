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

"""The OCI runtime-spec config.json of a container, as docker would make it.

The differences from docker are those that a VM of one's own makes:

* no network namespace: the VM's network is the container's. Kernel parameters
  that a runtime would set in one go to the guest init instead;
* no limits of memory, CPU or pids: the VM is the limit;
* the sources of bind mounts are below GUEST_DIR, where the guest init makes
  them before it starts the runtime.

https://github.com/opencontainers/runtime-spec, version 1.0.2.
"""

import typing

from nova_containervm.guest import container as container_lib
from nova_containervm.guest import seccomp

OCI_VERSION = '1.0.2'

# The guest's own directory in the VM; the bundle is in bundle/ below it.
GUEST_DIR = '/run/containervm'
ETC_FILES = ('hosts', 'hostname', 'resolv.conf')
# The guest init of our base images does this, too, under its other name.
INIT_SOURCE = '/init'
INIT_TARGET = '/sbin/docker-init'
VOLUMES_DIR = GUEST_DIR + '/volumes'

Mount = dict[str, typing.Any]

MASKED_PATHS = (
    '/proc/acpi', '/proc/asound', '/proc/interrupts', '/proc/kcore',
    '/proc/keys', '/proc/latency_stats', '/proc/sched_debug', '/proc/scsi',
    '/proc/timer_list', '/proc/timer_stats', '/sys/devices/virtual/powercap',
    '/sys/firmware')
READONLY_PATHS = (
    '/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger')

# (major, minor) of what a container may open: zero, null, urandom, random,
# tty, console. The runtime adds full, ptmx and the pts devices by itself.
_ALLOWED_CHAR_DEVICES = ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))

# A runtime sets these in the container's IPC namespace and refuses all others
# (apart from net.*, which has no namespace here).
_IPC_SYSCTLS = frozenset((
    'kernel.msgmax', 'kernel.msgmnb', 'kernel.msgmni', 'kernel.sem',
    'kernel.shmall', 'kernel.shmmax', 'kernel.shmmni',
    'kernel.shm_rmid_forced'))
_IPC_SYSCTL_PREFIX = 'fs.mqueue.'

# Mounts that stay writable under a read-only root.
_WRITABLE_UNDER_READONLY = frozenset((
    '/proc', '/dev', '/dev/pts', '/dev/shm', '/dev/mqueue'))


def split_sysctls(sysctls: dict[str, str]
                  ) -> tuple[dict[str, str], dict[str, str]]:
    """Part kernel parameters into the runtime's and the guest init's."""
    runtime: dict[str, str] = {}
    guest: dict[str, str] = {}
    for name, value in sysctls.items():
        owned = name in _IPC_SYSCTLS or name.startswith(_IPC_SYSCTL_PREFIX)
        (runtime if owned else guest)[name] = value
    return runtime, guest


def build(container: container_lib.Container,
          rootfs: str = 'rootfs') -> dict[str, typing.Any]:
    """Return the config.json of a container.

    :param rootfs: the root filesystem's directory, relative to the bundle
    """
    args = list(container.args)
    if container.init:
        args = [INIT_TARGET, '--', *args]
    return {
        'ociVersion': OCI_VERSION,
        'process': _process(container, args, container.tty),
        'root': {'path': rootfs, 'readonly': container.read_only},
        'hostname': container.hostname,
        'mounts': mounts(container),
        'linux': _linux(container),
    }


def health_process(container: container_lib.Container
                   ) -> dict[str, typing.Any] | None:
    """Return the process of the health check, None if there is none.

    As with ``docker exec``: the container's own user, variables, directory
    and rights, and no terminal.
    """
    if container.health is None:
        return None
    return _process(container, list(container.health.command), False)


def _process(container: container_lib.Container, args: list[str],
             terminal: bool) -> dict[str, typing.Any]:
    capabilities = list(container.capabilities)
    return {
        'terminal': terminal,
        'user': {
            'uid': container.user.uid,
            'gid': container.user.gid,
            'additionalGids': list(container.user.groups),
            'umask': container.umask,
        },
        'args': args,
        'env': list(container.env),
        'cwd': container.cwd,
        # Neither inheritable nor ambient ones: a user other than root gets
        # capabilities only from a file that has them.
        'capabilities': {
            'bounding': capabilities,
            'effective': capabilities,
            'permitted': capabilities,
        },
        'rlimits': [
            {'type': 'RLIMIT_' + name.upper(), 'soft': soft, 'hard': hard}
            for name, (soft, hard) in sorted(container.rlimits.items())],
        'noNewPrivileges': False,
        'oomScoreAdj': 0,
    }


def mounts(container: container_lib.Container) -> list[Mount]:
    """Return the mounts: docker's own ones, then those asked for by depth."""
    requested = _requested_mounts(container)
    targets = {mount['destination'] for mount in requested}
    result = [mount for mount in _default_mounts(container)
              if mount['destination'] not in targets]
    if container.read_only:
        for mount in result:
            if (mount['destination'] not in _WRITABLE_UNDER_READONLY and
                    'ro' not in mount['options']):
                mount['options'].append('ro')
    return result + sorted(
        requested, key=lambda m: m['destination'].rstrip('/').count('/'))


def _default_mounts(container: container_lib.Container) -> list[Mount]:
    sys_mode = [] if container.privileged else ['ro']
    cgroup_mode = [] if cgroup_is_writable(container) else ['ro']
    if container.privileged:
        # docker copies the host's device nodes as they are at the start; the
        # VM's own devtmpfs also shows what is attached later.
        dev = _mount('/dev', 'bind', '/dev', 'rbind', 'rprivate')
    else:
        dev = _mount('/dev', 'tmpfs', 'tmpfs', 'nosuid', 'strictatime',
                     'mode=755', 'size=65536k')
    return [
        _mount('/proc', 'proc', 'proc', 'nosuid', 'noexec', 'nodev'),
        dev,
        _mount('/dev/pts', 'devpts', 'devpts', 'nosuid', 'noexec',
               'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'),
        _mount('/sys', 'sysfs', 'sysfs', 'nosuid', 'noexec', 'nodev',
               *sys_mode),
        _mount('/sys/fs/cgroup', 'cgroup', 'cgroup', *cgroup_mode, 'nosuid',
               'noexec', 'nodev'),
        _mount('/dev/mqueue', 'mqueue', 'mqueue', 'nosuid', 'noexec',
               'nodev'),
        _mount('/dev/shm', 'tmpfs', 'shm', 'nosuid', 'noexec', 'nodev',
               'mode=1777', f'size={container.shm_size}'),
    ]


def _requested_mounts(container: container_lib.Container) -> list[Mount]:
    readonly = ['ro'] if container.read_only else []
    result = [
        _mount(f'/etc/{name}', 'bind', f'{GUEST_DIR}/etc/{name}', 'rbind',
               'rprivate', *readonly)
        for name in ETC_FILES]
    if container.init:
        result.append(_mount(INIT_TARGET, 'bind', INIT_SOURCE, 'bind', 'ro'))
    result += [
        _mount(path, 'tmpfs', 'tmpfs', *options)
        for path, options in sorted(tmpfs_mounts(container).items())]
    result += [
        _mount(volume.path, 'bind', f'{VOLUMES_DIR}/{volume.volume_id}',
               'rbind', 'rprivate', *(['ro'] if volume.read_only else []))
        for volume in container.volumes]
    return result


def tmpfs_mounts(container: container_lib.Container
                 ) -> dict[str, list[str]]:
    """Return the tmpfs mounts by path: those asked for, and an init's."""
    tmpfs = dict(container.tmpfs)
    if container.system_init:
        for path, options in container_lib.SYSTEM_INIT_TMPFS.items():
            tmpfs.setdefault(path, ('exec', *options))
    return {path: _tmpfs_options(options) for path, options in tmpfs.items()}


def cgroup_is_writable(container: container_lib.Container) -> bool:
    """Whether the container may make control groups below its own.

    docker leaves that to privileged containers, and has users mount the
    host's groups for an operating system's own init, which needs some.
    """
    return container.privileged or container.system_init


def _tmpfs_options(options: tuple[str, ...]) -> list[str]:
    """Put docker's defaults under the given options; the last one wins."""
    kept: dict[str, str] = {}
    for option in ('noexec', 'nosuid', 'nodev', 'rprivate', *options):
        if option == 'defaults':
            continue
        name = option.partition('=')[0]
        kind = _OPTION_KINDS.get(name, name)
        kept.pop(kind, None)
        kept[kind] = option
    return list(kept.values())


# Options that exclude each other share a kind.
_OPTION_KINDS = {
    **{name: name.removeprefix('no') for name in (
        'nosuid', 'nodev', 'noexec', 'nomand', 'noatime', 'nodiratime',
        'norelatime', 'nostrictatime')},
    'ro': 'write', 'rw': 'write', 'sync': 'sync', 'async': 'sync',
    **dict.fromkeys(('private', 'rprivate', 'shared', 'rshared', 'slave',
                     'rslave', 'unbindable', 'runbindable'), 'propagation'),
}


def _linux(container: container_lib.Container) -> dict[str, typing.Any]:
    sysctl, _ = split_sysctls(container.sysctls)
    privileged = container.privileged
    linux: dict[str, typing.Any] = {
        'namespaces': [{'type': kind} for kind in (
            'pid', 'mount', 'uts', 'ipc', 'cgroup')],
        'cgroupsPath': '/containervm/container',
        'resources': {'devices': _device_rules(privileged)},
    }
    if sysctl:
        linux['sysctl'] = sysctl
    profile = seccomp.profile(container)
    if profile:
        linux['seccomp'] = profile
    if not privileged:
        linux['maskedPaths'] = list(MASKED_PATHS)
        linux['readonlyPaths'] = list(READONLY_PATHS)
    return linux


def _device_rules(privileged: bool) -> list[dict[str, typing.Any]]:
    if privileged:
        return [{'allow': True, 'access': 'rwm'}]
    return [{'allow': False, 'access': 'rwm'}] + [
        {'allow': True, 'type': 'c', 'major': major, 'minor': minor,
         'access': 'rwm'} for major, minor in _ALLOWED_CHAR_DEVICES]


def _mount(destination: str, kind: str, source: str,
           *options: str) -> Mount:
    return {'destination': destination, 'type': kind, 'source': source,
            'options': list(options)}
