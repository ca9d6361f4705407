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


"""Routes to the metadata service, by what Neutron has on a network."""

from unittest import mock

import ddt
from keystoneauth1 import exceptions as ksa_exceptions
from neutronclient.common import exceptions as neutron_exceptions
from nova import exception
from nova.network import model
from nova.network import neutron
from oslotest import base

from nova_containervm import metadataroute

ROUTER = ('network:router_interface', '10.0.0.1')
HA = ('network:ha_router_replicated_interface', '10.0.0.1')
OVN = ('network:distributed', '10.0.0.2')
FULL = '169.254.169.254/32'


def subnet(cidr='10.0.0.0/24', ips=('10.0.0.5',), gateway='10.0.0.1',
           dhcp='10.0.0.2', routes=()):
    return model.Subnet(
        cidr=cidr, ips=[model.FixedIP(address=a) for a in ips], dns=[],
        gateway=model.IP(address=gateway) if gateway else None,
        routes=[model.Route(cidr=destination,
                            gateway=model.IP(address=hop))
                for destination, hop in routes], dhcp_server=dhcp)


def network_info(*subnets):
    return model.NetworkInfo([model.VIF(
        id='port', address='fa:16:3e:00:00:01',
        network=model.Network(id='net', subnets=list(subnets)))])


@ddt.ddt
class MetadataRouteTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.client = mock.Mock()
        self.get_client = self.enterContext(mock.patch.object(
            neutron, 'get_client', return_value=self.client))

    def _added(self, given, ports=()):
        self.client.list_ports.return_value = {'ports': [
            {'device_owner': owner,
             'fixed_ips': [{'subnet_id': 's', 'ip_address': address}]}
            for owner, address in ports]}
        return metadataroute.added('context', given, None)

    @ddt.data(
        # ports of Neutron's, the subnet, the way to the service
        ([ROUTER], {}, []),
        ([HA], {}, []),
        # the datacentre's router
        ([], {}, ['10.0.0.2']),
        ([], {'dhcp': None}, []),
        # a router of Neutron's that is not the gateway
        ([('network:router_interface', '10.0.0.9')], {}, ['10.0.0.2']),
        # one in another subnet of the network
        ([('network:router_interface', '10.1.0.1')], {}, ['10.0.0.2']),
        # OVN's routers do not pass it on.
        ([ROUTER, OVN], {'dhcp': None}, ['10.0.0.2']),
        ([('network:distributed', '10.1.0.2')], {'dhcp': None}, []),
        ([], {'gateway': None}, ['10.0.0.2']),
        ([OVN], {'gateway': None, 'dhcp': None}, ['10.0.0.2']),
    )
    @ddt.unpack
    def test_route(self, ports, given, expected):
        info = network_info(subnet(**given))
        before = info.json()
        found = self._added(info, ports)[0]['network']['subnets'][0]
        self.assertEqual([(FULL, hop) for hop in expected],
                         [(r['cidr'], r['gateway']['address'])
                          for r in found['routes']])
        self.assertEqual(before, info.json())
        self.get_client.assert_called_once_with('context', admin=True)

    @ddt.data({'routes': [(FULL, '10.0.0.7')]}, {'ips': ()},
              {'cidr': 'fd00::/64', 'ips': ['fd00::5'],
               'gateway': 'fd00::1', 'dhcp': 'fd00::2'})
    def test_neutron_is_not_asked(self, given):
        info = network_info(subnet(**given))
        self.assertEqual(info.json(), self._added(info).json())
        self.get_client.assert_not_called()

    def test_neutron_is_asked_once_for_two_ports(self):
        found = self._added(model.NetworkInfo(
            [*network_info(subnet()), *network_info(subnet())]))
        self.assertEqual(
            [1, 1], [len(vif['network']['subnets'][0]['routes'])
                     for vif in found])
        self.assertEqual(1, self.client.list_ports.call_count)

    def test_no_network(self):
        self.assertEqual([], list(self._added(None)))

    @ddt.data(neutron_exceptions.ServiceUnavailable(),
              ksa_exceptions.ConnectFailure(), exception.Forbidden(),
              exception.NeutronAdminCredentialConfigurationInvalid())
    def test_neutron_does_not_answer(self, error):
        self.client.list_ports.side_effect = error
        info = network_info(subnet())
        self.assertEqual(info.json(),
                         metadataroute.added(None, info, None).json())
