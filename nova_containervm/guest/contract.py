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

"""Contract version 1: everything a guest gets, as files of its config drive.

``containervm/config.json``
    OCI runtime-spec of the container (spec.py).

``containervm/health.json``
    The process of the health check, as ``process`` of config.json; only if
    the image has a check.

``containervm/guest.json``
    For guests with a JSON parser. All members are always present::

        {"version": 1, "instance": "<uuid>",
         "hostname": "web1", "domain": "",
         "transport": "9p|virtiofs|block",
         "rootfs": {"tag": "containervm-rootfs", "serial": "",
                    "options": "ro,..."},
         "writable": "disk|share", "runtime": "crun|runc|chroot",
         "process": {"args": [str], "env": [str], "cwd": "/", "uid": 0,
                     "gid": 0, "groups": [int], "umask": "0022",
                     "tty": false, "read_only": false, "init": false,
                     "privileged": false, "cgroup_writable": false,
                     "capabilities": ["CAP_CHOWN"],
                     "rlimits": {"nofile": [1024, 524288]}},
         "shm_size": 67108864, "tmpfs": {"/run": ["noexec"]},
         "stop": {"signal": 15, "timeout": 10},
         "restart": {"policy": "no|on-failure|always|unless-stopped",
                     "max_retries": 0},
         "sysctls": {"net.ipv4...": "0"},
         "file_capabilities": [{"path": "/bin/ping", "value": "<hex>"}],
         "nics": [{"mac": "fa:16:3e:...", "mtu": 1450,
                   "addresses": ["10.0.0.5/24"],
                   "routes": [{"destination": "0.0.0.0/0",
                               "gateway": "10.0.0.1"}],
                   "dhcp": ["4", "6"]}],
         "dns": ["10.0.0.2"], "search": [str],
         "channel": "org.openstack.containervm.0",
         "swap": false,
         "volumes": [{"id": "<uuid>|ephemeral0|image0", "path": "/data",
                      "read_only": false}],
         "volume_wait": 120,
         "health": null or {"command": [str], "interval_ms": 30000,
                            "timeout_ms": 30000, "start_period_ms": 0,
                            "start_interval_ms": 5000, "retries": 3}}

    An empty gateway means that the destination is on the link; mtu 0 leaves
    the device's; max_retries 0 is no limit; stop.timeout is in seconds,
    volume_wait, too: for how long a guest waits for a volume that is not
    attached yet; shm_size in bytes; an rlimit of -1 is unlimited. A volume
    image0 is a directory of the server's own disk.

``containervm/guest.env``
    The same for guests without one: ``CVM_NAME='value'`` lines that a POSIX
    shell can source (guestenv.py). Values may contain line breaks. Lists have
    a count ``..C`` and numbered members, or are separated by spaces where
    members have none.

``containervm/guest.sh``, ``mounts.sh`` and ``launch.py`` beside it
    Only for base images of type cloud: the guest itself (cloud.py).
"""

import collections.abc
import dataclasses
import json
import typing

from nova_containervm.guest import cloud
from nova_containervm.guest import container as container_lib
from nova_containervm.guest import guestenv
from nova_containervm.guest import network as network_lib
from nova_containervm.guest import overrides as overrides_lib
from nova_containervm.guest import spec

VERSION = 1
DIRECTORY = 'containervm'
CHANNEL = 'org.openstack.containervm.0'
ROOTFS_TAG = 'containervm-rootfs'

TRANSPORTS = ('9p', 'virtiofs', 'block')
WRITABLE = ('disk', 'share')
RUNTIMES = ('crun', 'runc', 'chroot')
BASE_TYPES = ('minimal', 'cloud')

# Seconds. Nova attaches what a create names before the server starts; this is
# for the user who attaches a volume by hand to a server just created.
VOLUME_WAIT = 120

_9P_OPTIONS = 'trans=virtio,version=9p2000.L,msize=512000'


@dataclasses.dataclass(frozen=True)
class Contract:
    """All that a guest is told. See the module's docstring for the files."""

    instance_uuid: str
    container: container_lib.Container
    network: network_lib.Network
    transport: str
    rootfs_tag: str
    rootfs_serial: str
    rootfs_options: str
    writable: str
    runtime: str
    base_type: str
    domain: str
    channel: str
    file_caps: tuple[tuple[str, str], ...]
    overridden: tuple[str, ...] = ()
    swap: bool = False

    @property
    def stop_timeout(self) -> int:
        """Seconds from the stop signal until the container is killed."""
        return self.container.stop_timeout

    def files(self) -> dict[str, bytes]:
        """Return the files for the config drive by their paths in it.

        The same contract gives the same bytes.

        :raises ContractError: a value that no guest could be given
        """
        files = {
            f'{DIRECTORY}/config.json': _json(spec.build(self.container)),
            f'{DIRECTORY}/guest.json': _json(self.guest_json()),
            f'{DIRECTORY}/guest.env': self.guest_env(),
        }
        health = spec.health_process(self.container)
        if health:
            files[f'{DIRECTORY}/health.json'] = _json(health)
        if self.base_type == 'cloud':
            for name, content in cloud.guest_files().items():
                files[f'{DIRECTORY}/{name}'] = content
        return files

    def summary(self) -> str:
        """Return one line for the log: nothing in it is secret or long."""
        container = self.container
        parts = [
            f'{self.runtime} on {self.transport}/{self.writable}',
            f'{len(container.args)} args',
            f'{len(container.env)} variables',
            f'uid {container.user.uid} gid {container.user.gid}',
            f'restart {container.restart.name}',
            f'{len(self.network.nics)} nics',
        ]
        if container.privileged:
            parts.append('privileged')
        if self.overridden:
            parts.append('overrides ' + ' '.join(self.overridden))
        return ', '.join(parts)

    def guest_json(self) -> dict[str, typing.Any]:
        """Return guest.json as an object."""
        container = self.container
        return {
            'version': VERSION,
            'instance': self.instance_uuid,
            'hostname': container.hostname,
            'domain': self.domain,
            'transport': self.transport,
            'rootfs': {'tag': self.rootfs_tag, 'serial': self.rootfs_serial,
                       'options': self.rootfs_options},
            'writable': self.writable,
            'runtime': self.runtime,
            'process': {
                'args': list(container.args),
                'env': list(container.env),
                'cwd': container.cwd,
                'uid': container.user.uid,
                'gid': container.user.gid,
                'groups': list(container.user.groups),
                'umask': f'{container.umask:04o}',
                'tty': container.tty,
                'read_only': container.read_only,
                'init': container.init,
                'privileged': container.privileged,
                'cgroup_writable': spec.cgroup_is_writable(container),
                'capabilities': list(container.capabilities),
                'rlimits': {name: [_limit(soft), _limit(hard)]
                            for name, (soft, hard)
                            in container.rlimits.items()},
            },
            'shm_size': container.shm_size,
            'tmpfs': spec.tmpfs_mounts(container),
            'stop': {'signal': container.stop_signal,
                     'timeout': container.stop_timeout},
            'restart': {'policy': container.restart.name,
                        'max_retries': container.restart.max_retries},
            'sysctls': spec.split_sysctls(container.sysctls)[1],
            'file_capabilities': [{'path': path, 'value': value}
                                  for path, value in self.file_caps],
            'nics': [dataclasses.asdict(nic) for nic in self.network.nics],
            'dns': list(self.network.dns),
            'search': [self.domain] if self.domain else [],
            'channel': self.channel,
            'swap': self.swap,
            'volumes': [{'id': v.volume_id, 'path': v.path,
                         'read_only': v.read_only}
                        for v in container.volumes],
            'volume_wait': VOLUME_WAIT,
            'health': (dataclasses.asdict(container.health)
                       if container.health else None),
        }

    def guest_env(self) -> bytes:
        """Return guest.env."""
        return guestenv.render(self.guest_json())


def build(instance_uuid: str, hostname: str,
          image_config: collections.abc.Mapping[str, typing.Any],
          passwd: bytes, group: bytes,
          file_caps: collections.abc.Iterable[tuple[str, str]],
          network_info: typing.Any,
          overrides_sources: collections.abc.Mapping[str, typing.Any], *,
          transport: str = '9p', writable: str = 'disk',
          access_mode: str = 'mapped', runtime: str = 'crun',
          base_type: str = 'minimal', share_options: str | None = None,
          rootfs_tag: str = ROOTFS_TAG, rootfs_serial: str = '',
          domain: str = '', channel: str = CHANNEL, swap: bool = False,
          image_volumes: bool = False,
          network: network_lib.Network | None = None) -> Contract:
    """Make a server's contract. This is what the driver calls.

    :param hostname: the server's, used where no override gives another
    :param image_config: the docker or OCI image config, whole
    :param passwd: /etc/passwd of the image, b'' if it has none
    :param group: /etc/group of the image, b'' if it has none
    :param file_caps: (path in the rootfs, hex of security.capability); what
        the transport loses and the guest puts back
    :param network_info: nova.network.model.NetworkInfo, or None
    :param overrides_sources: ``image`` (Glance properties or the instance's
        system_metadata as it is), ``metadata`` (of the server), ``user_data``
        (decoded bytes or None); each may be missing
    :param access_mode: ``mapped`` or ``passthrough``, of a 9p share
    :param share_options: mount options instead of the transport's usual ones
    :param rootfs_serial: virtio serial of the rootfs disk (block only)
    :param domain: DNS search domain, may be empty
    :param swap: whether the machine has a disk for it
    :param image_volumes: whether the guest knows what a ``VOLUME`` of the
        image is, and has known it since the server's first start
    :param network: in place of ``network_info``
    :raises InvalidOverride: the user's fault, naming key, value and source
    :raises InvalidImageConfig: the image's fault
    :raises ValueError: the caller's fault
    """
    for value, allowed in ((transport, TRANSPORTS), (writable, WRITABLE),
                           (runtime, RUNTIMES), (base_type, BASE_TYPES),
                           (access_mode, ('mapped', 'passthrough'))):
        if value not in allowed:
            raise ValueError(f'{value!r} is not one of {allowed}')
    overrides = overrides_lib.parse(
        image=overrides_sources.get('image'),
        metadata=overrides_sources.get('metadata'),
        user_data=overrides_sources.get('user_data'))
    container = container_lib.resolve(
        image_config, overrides, hostname=hostname, passwd=passwd,
        group=group, image_volumes=image_volumes)
    if share_options is None:
        share_options = mount_options(transport, writable)
    contract = Contract(
        instance_uuid=instance_uuid,
        container=container,
        network=network or network_lib.from_network_info(network_info),
        transport=transport,
        rootfs_tag='' if transport == 'block' else rootfs_tag,
        rootfs_serial=rootfs_serial,
        rootfs_options=share_options,
        writable=writable,
        runtime=runtime,
        base_type=base_type,
        domain=domain,
        channel=channel,
        # Where the share itself is written to, the host's files keep theirs.
        file_caps=(tuple(sorted(file_caps)) if transport == '9p' and
                   writable == 'disk' else ()),
        overridden=tuple(overrides.names()),
        swap=swap,
    )
    contract.files()  # a value that cannot be given is an error of this call
    return contract


def _limit(value: int) -> int:
    return -1 if value == container_lib.UNLIMITED else value


def mount_options(transport: str, writable: str) -> str:
    """Return the mount options of a transport's root filesystem.

    An immutable tree can be cached for good (cache=loose). A share that is
    written to gets cache=mmap, the weakest with which shared mappings of
    files, and so databases, work.
    """
    mode = 'ro' if writable == 'disk' else 'rw'
    if transport == '9p':
        cache = 'loose' if writable == 'disk' else 'mmap'
        return f'{mode},{_9P_OPTIONS},cache={cache}'
    return mode


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + '\n').encode('ascii')
