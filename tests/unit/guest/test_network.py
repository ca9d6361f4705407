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

import unittest

import ddt
from nova.network import model

from nova_containervm.guest import network

MAC = 'fa:16:3e:00:00:01'


def subnet(cidr, ips=(), gateway=None, dns=(), routes=(), **meta):
    return model.Subnet(
        cidr=cidr, gateway=model.IP(gateway, 'gateway'),
        ips=[model.FixedIP(address=address) for address in ips],
        dns=[model.IP(address, 'dns') for address in dns],
        routes=[model.Route(cidr=destination,
                            gateway=model.IP(hop, 'gateway'))
                for destination, hop in routes], **meta)


def vif(*subnets, address=MAC, **meta):
    return model.VIF(id='v', address=address, network=model.Network(
        id='n', label='private', subnets=list(subnets), **meta))


def translate(*vifs):
    return network.from_network_info(model.NetworkInfo(vifs))


def routes(nic):
    return [f'{r.destination},{r.gateway}' for r in nic.routes]


@ddt.ddt
class NetworkTest(unittest.TestCase):

    @ddt.data(None, [], model.NetworkInfo([]))
    def test_no_network(self, network_info):
        self.assertEqual(network.Network(),
                         network.from_network_info(network_info))

    def test_static_v4(self):
        found = translate(vif(
            subnet('10.0.0.0/24', ['10.0.0.5'], '10.0.0.1', ['8.8.8.8']),
            mtu=1450))
        self.assertEqual(network.Network(
            nics=(network.Nic(
                mac=MAC, mtu=1450, addresses=('10.0.0.5/24',),
                routes=(network.Route('0.0.0.0/0', '10.0.0.1'),)),),
            dns=('8.8.8.8',)), found)

    @ddt.data('slaac', 'dhcpv6-stateful', 'dhcpv6-stateless', None)
    def test_v6_is_static_whatever_manages_it(self, mode):
        found = translate(vif(subnet(
            'fd00::/64', ['fd00::f816:3eff:fe00:1'], 'fd00::1',
            dhcp_server='fd00::2', enable_dhcp=True,
            ipv6_address_mode=mode)))
        self.assertEqual((('fd00::f816:3eff:fe00:1/64',), ()),
                         (found.nics[0].addresses, found.nics[0].dhcp))
        self.assertEqual(['::/0,fd00::1'], routes(found.nics[0]))

    def test_dual_stack_and_several_addresses(self):
        found = translate(vif(
            subnet('10.0.0.0/24', ['10.0.0.5', '10.0.0.6'], '10.0.0.1',
                   ['10.0.0.53', '10.0.0.54']),
            subnet('fd00::/64', ['fd00::5'], 'fe80::1',
                   ['10.0.0.53', 'fd00::53'])))
        self.assertEqual(('10.0.0.5/24', '10.0.0.6/24', 'fd00::5/64'),
                         found.nics[0].addresses)
        self.assertEqual(['0.0.0.0/0,10.0.0.1', '::/0,fe80::1'],
                         routes(found.nics[0]))
        self.assertEqual(('10.0.0.53', '10.0.0.54', 'fd00::53'), found.dns)

    def test_several_interfaces_keep_their_order(self):
        found = translate(
            vif(subnet('10.0.1.0/24', ['10.0.1.5']), address='FA:16:3E:0:0:2'),
            vif(subnet('10.0.0.0/24', ['10.0.0.5']), mtu=9000))
        self.assertEqual([('fa:16:3e:0:0:2', 0), (MAC, 9000)],
                         [(n.mac, n.mtu) for n in found.nics])

    def test_dhcp_where_there_is_no_subnet(self):
        self.assertEqual(
            network.Nic(mac=MAC, mtu=1500, dhcp=('4', '6')),
            translate(vif(mtu=1500)).nics[0])

    def test_dhcp_where_no_subnet_has_an_address_of_the_port(self):
        found = translate(vif(subnet('10.0.0.0/24', [], '10.0.0.1',
                                     dhcp_server='10.0.0.2')))
        self.assertEqual(network.Nic(mac=MAC, dhcp=('4', '6')),
                         found.nics[0])
        self.assertEqual((), found.dns)

    def test_a_port_without_a_network(self):
        self.assertEqual(
            ('4', '6'),
            translate(model.VIF(id='v', address=MAC)).nics[0].dhcp)

    @ddt.data(
        # gateway, host routes, expected
        ('10.0.0.1', [('10.9.0.0/16', '10.0.0.9')],
         ['0.0.0.0/0,10.0.0.1', '10.9.0.0/16,10.0.0.9']),
        # a default among the host routes replaces the gateway
        ('10.0.0.1', [('0.0.0.0/0', '10.0.0.9')], ['0.0.0.0/0,10.0.0.9']),
        (None, [], []),
        (None, [('10.9.0.0/16', '10.0.0.9')], ['10.9.0.0/16,10.0.0.9']),
        # a gateway that is not on the subnet
        ('10.1.1.1', [('10.9.0.0/16', '10.1.1.1')],
         ['10.1.1.1/32,', '0.0.0.0/0,10.1.1.1', '10.9.0.0/16,10.1.1.1']),
        ('10.0.0.1', [('10.9.0.7/16', '10.0.0.9')],
         ['0.0.0.0/0,10.0.0.1', '10.9.0.0/16,10.0.0.9']),
    )
    @ddt.unpack
    def test_routes(self, gateway, given, expected):
        found = translate(vif(
            subnet('10.0.0.0/24', ['10.0.0.5'], gateway, routes=given)))
        self.assertEqual(expected, routes(found.nics[0]))

    def test_metadata_route_of_an_isolated_network(self):
        found = translate(vif(
            subnet('10.0.0.0/24', ['10.0.0.5'], dhcp_server='10.0.0.2')))
        self.assertEqual(['169.254.169.254/32,10.0.0.2'],
                         routes(found.nics[0]))
        found = translate(vif(
            subnet('10.0.0.0/24', ['10.0.0.5'], dhcp_server='10.0.0.2',
                   routes=[('169.254.169.254/32', '10.0.0.3')])))
        self.assertEqual(['169.254.169.254/32,10.0.0.3'],
                         routes(found.nics[0]))

    def test_neutrons_own_name_server_where_the_subnet_names_none(self):
        found = translate(vif(
            subnet('10.0.0.0/24', ['10.0.0.5'], '10.0.0.1',
                   dhcp_server='10.0.0.2')))
        self.assertEqual(('10.0.0.2',), found.dns)

    def test_a_model_from_nova_s_cache(self):
        info = model.NetworkInfo([vif(subnet('10.0.0.0/24', ['10.0.0.5']))])
        again = model.NetworkInfo.hydrate(info.json())
        self.assertEqual(network.from_network_info(info),
                         network.from_network_info(again))
