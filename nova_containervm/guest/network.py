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

"""Nova's network model, per interface, as the guest's network settings.

Neutron knows the address of every port before the server boots, also where
the subnet is managed by DHCP or SLAAC, so that the guest gets it statically:
no DHCP round trip at boot, and no DHCP client to keep running. DHCP is left
for ports without a subnet.
"""

import collections.abc
import dataclasses
import ipaddress
import typing

if typing.TYPE_CHECKING:
    from nova.network import model

METADATA_ROUTE = '169.254.169.254/32'
_DEFAULTS = ('0.0.0.0/0', '::/0')


@dataclasses.dataclass(frozen=True)
class Route:
    """A destination network in CIDR form; no gateway means on the link."""

    destination: str
    gateway: str = ''


@dataclasses.dataclass(frozen=True)
class Nic:
    """One interface, known to the guest by its MAC address.

    ``mtu`` 0 leaves the device's own. ``addresses`` have their prefix length.
    ``dhcp`` holds '4' and/or '6' for what has to come from the network.
    """

    mac: str
    mtu: int = 0
    addresses: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    dhcp: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Network:
    """All interfaces, in Nova's order, and the name servers."""

    nics: tuple[Nic, ...] = ()
    dns: tuple[str, ...] = ()


def from_network_info(network_info: 'model.NetworkInfo | None') -> Network:
    """Translate Nova's model.

    :param network_info: as the driver's spawn() gets it; None is no network
    """
    nics = []
    dns: list[str] = []
    for vif in network_info or ():
        subnets = (vif.get('network') or {}).get('subnets') or []
        nics.append(_nic(vif, subnets))
        for subnet in subnets:
            dns += [a for a in _name_servers(subnet) if a not in dns]
    return Network(nics=tuple(nics), dns=tuple(dns))


def _nic(vif: collections.abc.Mapping[str, typing.Any],
         subnets: collections.abc.Sequence[typing.Any]) -> Nic:
    network_meta = (vif.get('network') or {}).get('meta') or {}
    addresses: list[str] = []
    routes: list[Route] = []
    for subnet in subnets:
        prefix = ipaddress.ip_network(subnet['cidr'], strict=False).prefixlen
        own = [f"{ip['address']}/{prefix}" for ip in subnet.get('ips') or ()]
        if not own:
            # A subnet of the network in which this port has no address.
            continue
        addresses += [a for a in own if a not in addresses]
        routes += [r for r in _routes(subnet) if r not in routes]
    # A port whose network has no subnet: whatever the wire offers.
    dhcp = () if addresses else ('4', '6')
    return Nic(mac=str(vif['address']).lower(),
               mtu=int(network_meta.get('mtu') or 0),
               addresses=tuple(addresses), routes=tuple(routes), dhcp=dhcp)


def _routes(subnet: collections.abc.Mapping[str, typing.Any]) -> list[Route]:
    network = ipaddress.ip_network(subnet['cidr'], strict=False)
    routes = []
    for entry in subnet.get('routes') or ():
        destination = str(ipaddress.ip_network(entry['cidr'], strict=False))
        routes.append(Route(destination, _address(entry.get('gateway'))))
    default = _DEFAULTS[network.version == 6]
    gateway = _address(subnet.get('gateway'))
    # As with DHCP (RFC 3442), a default among the host routes replaces the
    # subnet's gateway.
    if gateway and not any(r.destination == default for r in routes):
        routes.insert(0, Route(default, gateway))
    dhcp_server = _dhcp_server(subnet)
    if (network.version == 4 and not gateway and dhcp_server and
            not any(r.destination == METADATA_ROUTE for r in routes)):
        # An isolated network: Neutron's DHCP agent serves the metadata.
        routes.append(Route(METADATA_ROUTE, dhcp_server))
    return with_link_routes(routes, network)


def with_link_routes(
        routes: list[Route],
        network: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> list[Route]:
    """Make gateways outside of the subnet reachable, ahead of their use."""
    result: list[Route] = []
    for route in routes:
        if route.gateway:
            hop = ipaddress.ip_address(route.gateway)
            if hop not in network and not hop.is_link_local:
                link = Route(f'{hop}/{hop.max_prefixlen}')
                if link not in result:
                    result.append(link)
        result.append(route)
    return result


def _name_servers(subnet: collections.abc.Mapping[str, typing.Any]
                  ) -> list[str]:
    """Return the subnet's servers, or Neutron's own where DHCP would."""
    given = [a for a in map(_address, subnet.get('dns') or ()) if a]
    if given:
        return given
    server = _dhcp_server(subnet)
    return [server] if server and subnet.get('ips') else []


def _dhcp_server(subnet: collections.abc.Mapping[str, typing.Any]) -> str:
    return str((subnet.get('meta') or {}).get('dhcp_server') or '')


def _address(ip: collections.abc.Mapping[str, typing.Any] | None) -> str:
    return str((ip or {}).get('address') or '')
