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

"""The way to the metadata service, where only DHCP would tell it.

A guest has its addresses from the contract. Neutron's DHCP adds a route to
the metadata service (RFC 3442) where the subnet's gateway does not lead to
it: always with OVN, else where the gateway is no router of Neutron's.
"""

import copy
import ipaddress

from keystoneauth1 import exceptions as ksa_exceptions
from neutronclient.common import exceptions as neutron_exceptions
from nova import exception
from nova.network import model
from nova.network import neutron
from oslo_log import log as logging

from nova_containervm.guest import network as network_lib

LOG = logging.getLogger(__name__)

# OVN's agent answers at a port of this kind, in each of the network's subnets.
_OVN = 'network:distributed'
# Routers of Neutron's, which pass requests on to the service.
_ROUTERS = ('network:router_interface', 'network:router_interface_distributed',
            'network:ha_router_replicated_interface')


def added(context, network_info, instance):
    """Return a server's network with routes to the metadata service.

    Neutron is asked once per network. If it does not answer, the network is
    returned as it is: the server can do without.

    :param network_info: Nova's model, which is not changed
    """
    result = model.NetworkInfo(copy.deepcopy(list(network_info or ())))
    ports = {}
    for vif in result:
        network = vif.get('network') or {}
        subnets = [s for s in network.get('subnets') or () if _lacks_it(s)]
        if not subnets:
            continue
        try:
            if network['id'] not in ports:
                ports[network['id']] = neutron.get_client(
                    context, admin=True).list_ports(
                        network_id=network['id'],
                        device_owner=[_OVN, *_ROUTERS],
                        fields=['device_owner', 'fixed_ips'])['ports']
        except (neutron_exceptions.NeutronClientException,
                ksa_exceptions.ClientException, exception.Forbidden,
                exception.NeutronAdminCredentialConfigurationInvalid) as e:
            LOG.warning('Neutron does not say how network %s reaches the '
                        'metadata service, and the server gets no route to '
                        'it: %s', network['id'], e, instance=instance)
            return result
        for subnet in subnets:
            hop = _hop(subnet, ports[network['id']])
            if hop:
                subnet.add_route(model.Route(
                    cidr=network_lib.METADATA_ROUTE,
                    gateway=model.IP(address=hop, type='gateway')))
    return result


def _lacks_it(subnet):
    """Whether servers have an address of an IPv4 subnet, and no such route."""
    return (ipaddress.ip_network(subnet['cidr'], strict=False).version == 4
            and subnet.get('ips')
            and not any(route['cidr'] == network_lib.METADATA_ROUTE
                        for route in subnet.get('routes') or ()))


def _hop(subnet, ports):
    """Return the address that requests go by, or None for the gateway."""
    network = ipaddress.ip_network(subnet['cidr'], strict=False)
    routers = set()
    for port in ports:
        for ip in port['fixed_ips']:
            if ipaddress.ip_address(ip['ip_address']) not in network:
                continue
            if port['device_owner'] == _OVN:
                return ip['ip_address']
            routers.add(ip['ip_address'])
    if (subnet.get('gateway') or {}).get('address') in routers:
        return None
    return (subnet.get('meta') or {}).get('dhcp_server')
