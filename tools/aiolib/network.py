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
"""Open vSwitch's first settings, br-ex, and what Neutron leaves behind."""

import functools
import ipaddress
import os
import pathlib
import signal

from aiolib import nodes
from aiolib import program
from aiolib import ui

# Between two compute hosts: the hosts' own network, and the one between the
# two br-ex. Each end has the number of the host to which it leads.
INTERNAL = 'aio-int'
TRUNK = 'aio-ex'
HELPERS = ('dnsmasq', 'haproxy', 'radvd', 'keepalived')


def prepare_ovs(node):
    """Make the database of Open vSwitch (before ovsdb-server starts)."""
    if node.first:
        pathlib.Path('/run/openvswitch').mkdir(exist_ok=True)
    database = node.state / 'ovs' / 'conf.db'
    if not database.exists():
        ui.run(['ovsdb-tool', 'create', database,
                '/usr/share/openvswitch/vswitch.ovsschema'])


def configure_ovs(node):
    """Set what ovs-vswitchd must find when it starts."""
    # Without userspace-tso TCP does not pass the userspace datapath's
    # conntrack: DHCP works, connections hang in SYN_SENT.
    node.run(['ovs-vsctl', '--no-wait', 'init', '--', 'set', 'Open_vSwitch',
              '.', 'other_config:userspace-tso-enable=true',
              f'external-ids:system-id=aio{"" if node.first else 2}'])


def host_addresses(cfg):
    """Return the host's addresses in `public`, as "address/length"."""
    found = []
    for text in (cfg.public_cidr, cfg.public_cidr6):
        if text:
            network = ipaddress.ip_network(text)
            found.append(f'{network[1]}/{network.prefixlen}')
    return found


def ipv6_works():
    try:
        disabled = pathlib.Path(
            '/proc/sys/net/ipv6/conf/all/disable_ipv6').read_text()
    except OSError:
        return False
    return disabled.strip() == '0'


def setup_bridges(cfg):
    """Make each host's br-ex; give the first its addresses in `public`."""
    for node in nodes.every(cfg):
        port = f'{TRUNK}{2 if node.first else 1}'
        node.run(['ovs-vsctl', '--timeout=20', '--may-exist', 'add-br',
                  'br-ex', '--', 'set', 'bridge', 'br-ex',
                  'datapath_type=netdev', '--',
                  *(('--if-exists', 'del-port') if cfg.computes == 1 else
                    ('--may-exist', 'add-port')), 'br-ex', port])
        if not node.first:
            node.run(['ip', 'link', 'set', 'br-ex', 'up'])
    for address in host_addresses(cfg):
        more = ['nodad'] if ':' in address else []
        ui.run(['ip', 'address', 'replace', address, 'dev', 'br-ex', *more])
    ui.run(['ip', 'link', 'set', 'br-ex', 'up'])


_PREFIXES = {'network:dhcp': 'tap', 'network:router_interface': 'qr-',
             'network:router_gateway': 'qg-'}


def missing_ports(rows, present):
    """Return which ports of the DHCP and L3 agents are not there yet.

    :param rows: "network owner port-id status" of each network with DHCP and
        each of its ports of the agents; without a port "-" in place of these
    :param present: the ports that Open vSwitch has
    """
    networks, served, missing = set(), set(), set()
    for network, owner, port, status in map(str.split, rows):
        networks.add(network)
        if owner == 'network:dhcp':
            served.add(network)
        if owner in _PREFIXES:
            name = _PREFIXES[owner] + port[:11]
            if status != 'ACTIVE' or name not in present:
                missing.add(name)
    return missing | {f'DHCP of network {n}' for n in networks - served}


def agents_done(cfg):
    """Say whether the agents have set up what the networks need."""
    rows = program.query(cfg, """
        select distinct s.network_id, coalesce(p.device_owner, '-'),
            coalesce(p.id, '-'), coalesce(p.status, '-')
        from neutron.subnets s left join neutron.ports p
            on p.network_id = s.network_id
            and p.device_owner like 'network:%'
        where s.enable_dhcp""").splitlines()
    present = ui.run(['ovs-vsctl', '--timeout=10', 'list-ports', 'br-int'],
                     check=False).split()
    return rows != ['0'] and not missing_ports(rows, present)


def wait_agents(cfg):
    """Wait for the ports of the DHCP and L3 agents.

    :raises ui.Failure: they do not come
    """
    if not ui.wait_until(lambda: agents_done(cfg), 120, 0.5):
        raise ui.Failure(
            'the Neutron agents do not set up the networks',
            'Look for what they say: tools/aio logs neutron-dhcp-agent, '
            'neutron-l3-agent, neutron-ovs-agent; then run tools/aio restart '
            'neutron-dhcp-agent and tools/aio up again.')


def check_ranges(cfg):
    """Refuse ranges that the host uses already on another device."""
    wanted = {ipaddress.ip_network(t): 'of the network `public`'
              for t in (cfg.public_cidr, cfg.public_cidr6) if t}
    if cfg.computes > 1:
        wanted[ipaddress.ip_network(cfg.internal_cidr)] = \
            'between the compute hosts'
    for line in ui.run(['ip', '--oneline', 'address']).splitlines():
        words = line.split()
        if words[2] not in ('inet', 'inet6') or \
                words[1] in ('br-ex', f'{INTERNAL}2'):
            continue
        have = ipaddress.ip_interface(words[3]).network
        for network, what in wanted.items():
            if have.version == network.version and have.overlaps(network):
                raise ui.Failure(
                    f'the host\'s {words[1]} has an address in {network}, '
                    f'the range {what}',
                    'Choose another range: AIO_PUBLIC_CIDR=192.168.78.0/24 '
                    'tools/aio up (AIO_PUBLIC_CIDR6 for IPv6, '
                    'AIO_INTERNAL_CIDR for that of the hosts)')


def remove_datapath(node):
    """Let ovs-vswitchd end and take its devices along.

    Without --cleanup the tap devices of all bridges and ports stay.
    """
    node.run(['ovs-appctl', '--timeout=20', '--target=ovs-vswitchd', 'exit',
              '--cleanup'], check=False)


def remove_devices():
    """Remove the bridges' devices after a crash of ovs-vswitchd."""
    present = os.listdir('/sys/class/net')
    for name in ('br-ex', 'br-int', 'br-tun', 'ovs-netdev'):
        if name in present:
            ui.run(['ip', 'link', 'delete', name], check=False)


def clean(cfg):
    """Take away namespaces and helpers of the DHCP and L3 agents.

    Their ports end with ovs-vswitchd, and the agents do not plug a device
    again that is still in its namespace; they make all of it anew.
    """
    kill(processes(f'{cfg.state}/neutron', HELPERS))
    for line in ui.run(['ip', 'netns', 'list']).splitlines():
        name = line.split()[0]
        if name.startswith(('qdhcp-', 'qrouter-')):
            ui.run(['ip', 'netns', 'delete', name], check=False)


def processes(text, names=None):
    """Return pids of processes with `text` in their command line.

    :param names: only these programs; None: all
    """
    found = []
    for entry in pathlib.Path('/proc').iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / 'cmdline').read_bytes().decode(errors='replace')
            comm = (entry / 'comm').read_text().strip()
        except OSError:
            continue
        if text in line and (names is None or comm in names):
            found.append(int(entry.name))
    return found


def orphans(cfg):
    """Return pids of services that outlived their supervisord.

    It gives each of them its address in the environment; those that set a
    title overwrite that, but have the venv's libraries mapped.
    """
    mark = f'SUPERVISOR_SERVER_URL=unix://{cfg.run}/supervisor.sock'.encode()
    libraries = f' {cfg.venv}/lib/'.encode()
    found = []
    for entry in pathlib.Path('/proc').iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if mark in (entry / 'environ').read_bytes().split(b'\0') or (
                    libraries in (entry / 'maps').read_bytes() and
                    b'/openstack\0' not in (entry / 'cmdline').read_bytes()):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill(pids):
    """End processes, gently first."""
    left = set(pids)
    for sig, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 10)):
        for pid in left:
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass
        ui.wait_until(functools.partial(_all_gone, left), seconds, 0.05)
        left = {pid for pid in left if _alive(pid)}


def _all_gone(pids):
    return not any(_alive(pid) for pid in pids)


def _alive(pid):
    try:
        text = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return False
    return text.rpartition(')')[2].split()[0] != 'Z'
