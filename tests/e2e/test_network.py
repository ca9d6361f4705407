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


"""The network as Neutron describes it, seen from inside and from outside."""

import contextlib
import ipaddress
import json
import subprocess
import uuid

import pytest

from tests.e2e import cloud as cloud_lib

DNS = ['192.0.2.53', '2001:db8::53']


@contextlib.contextmanager
def _networks(cloud):
    """A function that makes networks, which go at the end."""
    neutron = cloud.sdk.network
    with contextlib.ExitStack() as stack:
        def create(subnets=(), ports=(), **kwargs):
            net = neutron.create_network(
                name='e2e-%s' % uuid.uuid4().hex[:8], **kwargs)
            stack.callback(neutron.delete_network, net.id)
            for subnet in subnets:
                neutron.create_subnet(network_id=net.id, **subnet)
            return net

        def port(net, **kwargs):
            made = neutron.create_port(network_id=net.id, **kwargs)
            stack.callback(neutron.delete_port, made.id)
            return made
        create.port = port
        yield create


@pytest.fixture(scope='module')
def networks(cloud):
    """A function that makes networks; they go at the end of the module."""
    with _networks(cloud) as create:
        yield create


@pytest.fixture
def own_networks(cloud, clean_host):
    """The same, for those with DHCP: its ports on this host go with them.

    Name it before ``server``, that the servers go first.
    """
    with _networks(cloud) as create:
        yield create


@pytest.fixture(scope='module')
def static(networks):
    """A network that nobody answers DHCP or router solicitations on."""
    return networks(
        mtu=1380, subnets=[
            {'ip_version': 4, 'cidr': '10.88.1.0/24', 'enable_dhcp': False,
             'gateway_ip': None, 'dns_nameservers': [DNS[0]],
             'host_routes': [{'destination': '10.99.0.0/16',
                              'nexthop': '10.88.1.9'}]},
            {'ip_version': 6, 'cidr': 'fd88:1::/64', 'enable_dhcp': False,
             'gateway_ip': None, 'dns_nameservers': [DNS[1]]}])


@pytest.fixture(scope='module')
def web(static, shared_server, probe, cloud):
    """A server on two networks; the first is the static one."""
    public = cloud.sdk.network.find_network('public', ignore_missing=False)
    made = shared_server(probe, name='e2e-two-nics',
                         networks=[{'uuid': static.id}, {'uuid': public.id}])
    cloud_lib.http_get(public_address(cloud, made))
    return made


def public_address(cloud, server, version=4):
    for entry in cloud.compute.get_server(server.id).addresses['public']:
        if entry['version'] == version:
            return entry['addr']
    raise AssertionError('no address on public: %s' % server.addresses)


def ping(address):
    subprocess.run(['ping', '-c', '1', '-W', '10', address], check=True,
                   stdout=subprocess.DEVNULL)


def test_addresses_and_mtu_by_mac(web, cloud):
    """As Neutron has them, on the interface that Neutron means."""
    neutron = cloud.sdk.network
    seen = cloud_lib.interfaces(public_address(cloud, web))
    ports = list(neutron.ports(device_id=web.id))
    assert len(ports) == 2
    for port in ports:
        wanted = set()
        for fixed in port.fixed_ips:
            cidr = neutron.get_subnet(fixed['subnet_id']).cidr
            wanted.add('%s/%s' % (fixed['ip_address'], cidr.split('/')[1]))
        assert len(wanted) == 2, port.fixed_ips
        mtu = neutron.get_network(port.network_id).mtu
        assert seen[port.mac_address] == (mtu, wanted)
    assert {mtu for mtu, _addresses in seen.values()} >= {1380}


def test_routes(web, cloud):
    address = public_address(cloud, web)
    neutron = cloud.sdk.network
    subnets = {s.ip_version: s for s in neutron.subnets(
        network_id=neutron.find_network('public').id)}
    routes4 = cloud_lib.shell(address, 'ip -4 route').splitlines()
    routes6 = cloud_lib.shell(address, 'ip -6 route').splitlines()
    for routes, version in ((routes4, 4), (routes6, 6)):
        defaults = [r for r in routes if r.startswith('default ')]
        assert len(defaults) == 1, routes
        assert ' via %s ' % subnets[version].gateway_ip in defaults[0]
    assert any(r.startswith('10.99.0.0/16 via 10.88.1.9 ') for r in routes4)


def test_from_outside(web, cloud):
    """ping and curl, IPv4 and IPv6."""
    for version in (4, 6):
        address = public_address(cloud, web, version)
        ping(address)
        host = '[%s]' % address if version == 6 else address
        page = subprocess.run(['curl', '-sS', '-m', '30', 'http://%s/' % host],
                              check=True, capture_output=True, text=True)
        assert page.stdout == 'probe\n'


def test_names(web, cloud):
    """hostname, /etc/hostname, /etc/hosts, /etc/resolv.conf."""
    address = public_address(cloud, web)
    assert cloud_lib.shell(address, 'hostname; cat /etc/hostname') == (
        'e2e-two-nics\n' * 2)
    hosts = {}
    for line in cloud_lib.shell(address, 'cat /etc/hosts').splitlines():
        words = line.partition('#')[0].split()
        for name in words[1:]:
            hosts.setdefault(name, []).append(words[0])
    assert '127.0.0.1' in hosts['localhost']
    assert '::1' in hosts['localhost']
    # As with docker, the host name is the container's own address.
    own = set(hosts['e2e-two-nics'])
    assert own & {entry['addr'] for entries in cloud.compute.get_server(
        web.id).addresses.values() for entry in entries}, hosts
    resolv = cloud_lib.shell(address, 'cat /etc/resolv.conf').splitlines()
    servers = [line.split()[1] for line in resolv
               if line.startswith('nameserver')]
    # Neutron gives a port's subnets in no order of its own.
    assert set(servers[:2]) == set(DNS), resolv


def test_names_survive_a_change_of_the_network(web, cloud):
    """/etc/hosts and its like are of the boot, not of the image."""
    address = public_address(cloud, web)
    mounted = cloud_lib.shell(address, 'cat /proc/self/mountinfo')
    points = {line.split()[4] for line in mounted.splitlines()}
    assert points >= {'/etc/hosts', '/etc/hostname', '/etc/resolv.conf'}


MODES = ('slaac', 'dhcpv6-stateless', 'dhcpv6-stateful')


def test_ipv6_address_modes(own_networks, server, probe, cloud):
    """However the subnet has its addresses given out: the port's, at once.

    Nobody sends advertisements on these networks.
    """
    neutron = cloud.sdk.network
    public = neutron.find_network('public')
    made = [own_networks(subnets=[
        {'ip_version': 6, 'cidr': 'fd88:%d::/64' % number,
         'ipv6_address_mode': mode, 'ipv6_ra_mode': mode}])
        for number, mode in enumerate(MODES, start=16)]
    address = public_address(cloud, server(probe, networks=[
        {'uuid': net.id} for net in (public, *made)]))
    wanted = {}
    for net in made:
        port, = [p for p in neutron.ports(network_id=net.id)
                 if p.device_owner.startswith('compute:')]
        fixed, = port.fixed_ips
        wanted[port.mac_address] = {fixed['ip_address'] + '/64'}
    seen = cloud_lib.interfaces(address)
    assert {mac: seen[mac][1] for mac in wanted} == wanted


def test_private_network(web, server, probe, cloud):
    """Two servers on `private` talk to each other."""
    first = server(probe, network='private', name='e2e-inside')
    addresses = [cloud.address(first, version) for version in (4, 6)]
    private = cloud.sdk.network.find_network('private')
    public = cloud.sdk.network.find_network('public')
    second = server(probe, networks=[{'uuid': public.id},
                                     {'uuid': private.id}])
    outside = public_address(cloud, second)
    for address in addresses:
        host = ('[%s]' % address if ipaddress.ip_address(address).version == 6
                else address)
        assert cloud_lib.shell(outside, '''
            for n in $(seq 60); do
                answer=$(printf 'GET / HTTP/1.0\\r\\n\\r\\n' |
                    nc -w 5 %s 80) && break
                sleep 0.5
            done
            echo "$answer" | tail -n 1''' % host.strip('[]')) == 'probe\n'


def test_floating_ip(server, probe, cloud):
    """A server on `private` is reached through the router."""
    neutron = cloud.sdk.network
    made = server(probe, network='private')
    port = next(neutron.ports(device_id=made.id))
    floating = neutron.create_ip(
        floating_network_id=neutron.find_network('public').id,
        port_id=port.id)
    try:
        assert cloud_lib.http_get(floating.floating_ip_address) == (
            200, 'probe\n')
        # The router passes it on.
        assert metadata(floating.floating_ip_address)['uuid'] == made.id
    finally:
        neutron.delete_ip(floating.id)


def metadata(address):
    """What the metadata service says to a server."""
    # busybox's wget wants a resolver's library, which is not in the image.
    answer = cloud_lib.shell(
        address, r"printf 'GET /openstack/latest/meta_data.json HTTP/1.0\r\n"
        r"Host: 169.254.169.254\r\n\r\n' | nc -w 30 169.254.169.254 80")
    return json.loads(answer.partition('\r\n\r\n')[2])


def test_metadata_on_a_provider_network(server, probe, cloud):
    """Its router is not Neutron's: others learn the way by DHCP."""
    made = server(probe, networks=[
        {'uuid': cloud.sdk.network.find_network('public').id}])
    address = cloud.address(made)
    assert metadata(address)['uuid'] == made.id
    assert '169.254.169.254 via' in cloud_lib.shell(address, 'ip route')


DHCP_SERVER = '''
cat >/tmp/udhcpd.conf <<END
start 10.88.2.100
end 10.88.2.110
interface $(ip -o address | awk '$4 == "10.88.2.1/24" { print $2 }')
lease_file /tmp/leases
pidfile /tmp/pid
option subnet 255.255.255.0
option dns 198.51.100.53
END
touch /tmp/leases
udhcpd -f /tmp/udhcpd.conf >/tmp/log 2>&1 &
sleep 1
kill -0 $! || { cat /tmp/log; exit 1; }
'''


@pytest.mark.slow
def test_dhcp_where_the_contract_has_no_address(
        server, probe, cloud, networks):
    """A port without addresses: whatever the wire offers."""
    neutron = cloud.sdk.network
    net = networks(port_security_enabled=False, subnets=[
        {'ip_version': 4, 'cidr': '10.88.2.0/24', 'enable_dhcp': False,
         'gateway_ip': None}])
    public = neutron.find_network('public')
    fixed = networks.port(net, fixed_ips=[{'ip_address': '10.88.2.1'}])
    bare = networks.port(net, fixed_ips=[])
    assert bare.ip_allocation == 'none', bare
    dhcpd = server(probe, networks=[{'uuid': public.id}, {'port': fixed.id}])
    cloud_lib.shell(public_address(cloud, dhcpd), DHCP_SERVER)
    client = server(probe, networks=[{'uuid': public.id}, {'port': bare.id}])
    address = public_address(cloud, client)

    def leased():
        return cloud_lib.interfaces(address)[bare.mac_address][1]

    got = cloud.until(leased, bool, 60, 'address by DHCP')
    assert {ipaddress.ip_interface(a).ip for a in got} <= {
        ipaddress.ip_address('10.88.2.%d' % n) for n in range(100, 111)}
