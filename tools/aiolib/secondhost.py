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
"""The second compute host: namespaces, and its links to the machine.

It has its own mount namespace, in which its directories lie over those of the
machine (/run, libvirt's, Nova's state with the instances), a network
namespace, and a hostname. Processes and users are the machine's. Two pairs of
veth devices lead there: one for the hosts themselves (API, ssh, libvirt), one
between the two br-ex, which carries the network `public` and, tagged, those of
the projects. An HAProxy listens on its 127.0.0.1 for the control plane's
services.
"""

import os
import pathlib
import re
import shutil
import subprocess
import uuid

from aiolib import host
from aiolib import network
from aiolib import nodes
from aiolib import program
from aiolib import settings as settings_mod
from aiolib import ui

# Where the second host's nova-compute and agent find the control plane: where
# the first's do.
_SERVICES = {
    'keystone': 5000, 'rabbitmq': 5672, 'nova-api': 8774, 'placement': 8778,
    'glance': 9292, 'neutron': 9696, 'cinder': 8776,
}
_RUN_DIRS = ('libvirt', 'openvswitch', 'netns', 'sshd', 'lock')


def create(cfg):
    """Make the namespaces.

    :returns: whether there was anything to do
    """
    node = nodes.second(cfg)
    ready = node.namespaces / 'ready'
    # After a reboot of the machine the file lies.
    if ready.exists() and _identity(node.namespaces / 'net') == \
            _identity(f'/run/netns/{node.netns}'):
        return False
    remove(cfg)
    host.make_dir(node.namespaces)
    ui.run(['ip', 'netns', 'add', node.netns])
    _hold(node)
    _mount(node)
    _link(node)
    ready.touch()
    return True


def _hold(node):
    """Start the process that keeps the namespaces, and link to them.

    A mount namespace could be kept in a file, too, as ip-netns keeps that of
    the network; but Linux refuses that (EINVAL) now and then since 6.18,
    where the numbers of namespaces do not only grow.
    """
    process = subprocess.Popen(
        ['nsenter', f'--net=/run/netns/{node.netns}', '--',
         'unshare', '--mount', '--propagation', 'private', '--uts', 'sh', '-c',
         # Whoever reads what `up` prints does not have to wait for its end.
         'hostname "$1" && echo ready && exec sleep infinity >/dev/null 2>&1',
         'sh',
         node.name],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        env=ui.clean_env(), cwd='/', start_new_session=True)
    with process.stdout as output:
        if output.readline() != 'ready\n':
            process.kill()
            raise ui.Failure('cannot make mount and UTS namespaces',
                             'It needs CAP_SYS_ADMIN and CAP_NET_ADMIN.')
    for kind in ('mnt', 'uts', 'net'):
        (node.namespaces / kind).symlink_to(f'/proc/{process.pid}/ns/{kind}')


def make_dirs(cfg):
    """Make the directories that are the second host's own."""
    node = nodes.second(cfg)
    nova = host.ids(settings_mod.NOVA_USER)
    host.make_dir(node.state)
    for name in ('ovs', 'neutron'):
        host.make_dir(node.state / name)
    for kind in ('etc', 'lib', 'log', 'cache'):
        host.make_dir(node.libvirt(kind))
    for name in ('nova', 'nova/instances'):
        host.make_dir(node.state / name, 0o755, nova)
    identity = node.state / 'identity'
    host.make_dir(identity)
    both = ''.join(f'{n.address} {n.name}\n' for n in nodes.every(cfg))
    host.write(identity / 'hosts', '127.0.0.1 localhost\n' + both)
    host.write(identity / 'hostname', f'{node.name}\n')
    if not (identity / 'machine-id').exists():
        host.write(identity / 'machine-id', f'{uuid.uuid4().hex}\n')


def _mount(node):
    """Lay the second host's own directories over the machine's."""
    cfg = node.cfg
    # What servers of the first host have mounted.
    for point in reversed(mounts_below(cfg.state / 'nova')):
        node.run(['umount', '--lazy', point])
    # /sys shows the network of the namespace in which it was mounted.
    spare = node.namespaces / 'cgroup'
    spare.mkdir()
    node.run(['mount', '--rbind', '/sys/fs/cgroup', spare])
    node.run(['mount', '-t', 'sysfs', 'sysfs', '/sys'])
    node.run(['mount', '--rbind', spare, '/sys/fs/cgroup'])
    node.run(['umount', '--lazy', spare])
    node.run(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', '/run'])
    node.run(['mkdir', *(f'/run/{name}' for name in _RUN_DIRS)])
    over = {node.state / name: cfg.state / name for name in ('nova',
                                                            'neutron')}
    here = nodes.first(cfg)
    over.update({node.libvirt(kind): here.libvirt(kind)
                 for kind in ('etc', 'lib', 'log', 'cache')})
    for name in ('hosts', 'hostname', 'machine-id'):
        target = pathlib.Path('/etc', name)
        if target.exists():
            over[node.state / 'identity' / name] = target
    for source, target in over.items():
        node.run(['mount', '--bind', source, target])


def _link(node):
    """Connect the network namespace with the machine."""
    here = nodes.first(node.cfg)
    length = node.cfg.internal_cidr.partition('/')[2]
    node.run(['ip', 'link', 'set', 'lo', 'up'])
    for kind in (network.INTERNAL, network.TRUNK):
        ui.run(['ip', 'link', 'add', f'{kind}2', 'type', 'veth', 'peer',
                'name', f'{kind}1', 'netns', node.netns])
        for near, end in ((here, 2), (node, 1)):
            near.run(['ip', 'link', 'set', f'{kind}{end}', 'up'])
    for near, end in ((here, 2), (node, 1)):
        near.run(['ip', 'address', 'add', f'{near.address}/{length}', 'dev',
                  f'{network.INTERNAL}{end}'])


def remove(cfg):
    """End what runs on the second host and take its namespaces away.

    Its files stay. Nothing happens where there is no second host.

    :returns: what there was, in words
    """
    node = nodes.second(cfg)
    found = []
    pids = processes(node)
    network.kill(pids)
    if pids:
        found.append(f'{len(pids)} processes of {node.name}')
    present = os.listdir('/sys/class/net')
    for kind in (network.INTERNAL, network.TRUNK):
        if f'{kind}2' in present:
            ui.run(['ip', 'link', 'delete', f'{kind}2'], check=False)
    if os.path.exists(f'/run/netns/{node.netns}'):
        found.append(f'the namespaces of {node.name}')
        ui.run(['ip', 'netns', 'delete', node.netns], check=False)
    shutil.rmtree(node.namespaces, ignore_errors=True)
    return found


def processes(node):
    """Return the pids of what runs in the second host's network namespace."""
    own = _identity(f'/run/netns/{node.netns}')
    return {int(entry.name) for entry in pathlib.Path('/proc').iterdir()
            if own and entry.name.isdigit() and
            _identity(entry / 'ns' / 'net') == own}


def _identity(path):
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_dev, state.st_ino


def mounts_below(path):
    """Return the mount points at and below a path, in mount order."""
    points = []
    for line in pathlib.Path('/proc/self/mountinfo').read_text().splitlines():
        point = re.sub(r'\\(\d{3})', lambda m: chr(int(m[1], 8)),
                       line.split()[4])
        if point == str(path) or point.startswith(f'{path}/'):
            points.append(point)
    return points


def proxy_conf(cfg):
    """HAProxy's configuration: the control plane, as the second host has it.

    The sockets that it listens on are of the second host's network, its
    connections go out here.
    """
    node = nodes.second(cfg)
    lines = ['# Written by tools/aio.',
             'global',
             f'    user {settings_mod.CONTROL_USER}',
             f'    group {settings_mod.CONTROL_USER}',
             '    maxconn 500',
             '    nbthread 1',
             'defaults',
             '    mode tcp',
             '    timeout connect 10s',
             '    timeout client 24h',
             '    timeout server 24h']
    for name, port in _SERVICES.items():
        lines += [f'listen {name}',
                  f'    bind 127.0.0.1:{port} namespace {node.netns}',
                  f'    server {name} 127.0.0.1:{port}']
    return '\n'.join(lines) + '\n'


def check_retirable(cfg):
    """Refuse to do without the second host while it has servers.

    :raises ui.Failure: if it has
    """
    node = nodes.second(cfg)
    names = sorted(p.stem for p in (node.libvirt('etc') / 'qemu').glob(
        '*.xml'))
    if names:
        raise ui.Failure(
            f'{node.name} has servers: {", ".join(names)}',
            'Delete them, or migrate them away (openstack server migrate), '
            'or give up everything: tools/aio down --wipe')


def left(cfg):
    """Say whether there is a second host that is not wanted any more."""
    return cfg.computes == 1 and nodes.second(cfg).state.exists()


def retire(cfg, script):
    """Let the cloud forget the second host, and remove its files.

    :param script: database.script
    """
    node = nodes.second(cfg)
    remove(cfg)
    script(cfg, 'remove_host', node.name)
    # Of a server on a host of that name Nova would ask the first service that
    # it ever had, deleted or not, and refuse to migrate it: it is down.
    program.query(cfg, 'delete from nova_cell1.services where deleted != 0')
    for path in (node.state, node.etc):
        shutil.rmtree(path, ignore_errors=True)


def write_conf(cfg):
    """Write HAProxy's configuration."""
    path = cfg.etc / 'api' / 'haproxy.cfg'
    host.make_dir(path.parent)
    host.write(path, proxy_conf(cfg), 0o640)
