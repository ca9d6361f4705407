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

"""Nova's network_data.json as the guest's network settings.

Where the subnet has a DHCP server, Nova says so and gives no address: the
guest has to ask for it.
"""

import collections.abc
import ipaddress
import typing

from nova_containervm.guest import network as network_lib

_Entry = collections.abc.Mapping[str, typing.Any]


def parse(data: _Entry | None) -> network_lib.Network:
    """Translate it.

    :param data: the file's object; None is no network
    :raises ValueError: it makes no sense; the text says what
    """
    data = data or {}
    try:
        networks = list(data.get('networks') or ())
        nics = tuple(
            _nic(link, [n for n in networks if n['link'] == link['id']])
            for link in data.get('links') or ())
        dns: list[str] = []
        for holder in (data, *networks):
            for service in holder.get('services') or ():
                if service['type'] == 'dns':
                    dns.append(str(ipaddress.ip_address(service['address'])))
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ValueError(f'network_data.json: {type(exc).__name__}: '
                         f'{exc}') from None
    return network_lib.Network(nics=nics, dns=tuple(dict.fromkeys(dns)))


def _nic(link: _Entry, networks: list[_Entry]) -> network_lib.Nic:
    addresses: list[str] = []
    routes: list[network_lib.Route] = []
    dhcp: list[str] = []
    for entry in networks:
        kind = str(entry['type'])
        version = kind[3:4]
        if kind in ('ipv4', 'ipv6'):
            address = ipaddress.ip_interface('%s/%d' % (
                entry['ip_address'], _prefix(entry['netmask'])))
            addresses.append(str(address))
            routes += network_lib.with_link_routes([
                _route(r) for r in entry.get('routes') or ()],
                address.network)
        elif version not in dhcp:
            # ipv4_dhcp, ipv6_dhcp, ipv6_slaac, ipv6_dhcpv6-stateless ...
            dhcp.append(version)
    return network_lib.Nic(
        mac=str(link['ethernet_mac_address']).lower(),
        mtu=int(link.get('mtu') or 0),
        addresses=tuple(dict.fromkeys(addresses)),
        routes=tuple(dict.fromkeys(routes)), dhcp=tuple(dhcp))


def _route(entry: _Entry) -> network_lib.Route:
    destination = ipaddress.ip_network('%s/%d' % (
        entry['network'], _prefix(entry['netmask'])), strict=False)
    gateway = entry.get('gateway')
    return network_lib.Route(
        str(destination),
        str(ipaddress.ip_address(gateway)) if gateway else '')


def _prefix(mask: object) -> int:
    """The bits of a netmask: 255.255.255.0, ffff:ffff::, or 24."""
    if isinstance(mask, int) or str(mask).isdigit():
        return int(str(mask))
    address = ipaddress.ip_address(str(mask))
    bits = f'{int(address):0{address.max_prefixlen}b}'
    prefix = bits.count('1')
    if not bits.startswith('1' * prefix):
        raise ValueError(f'{mask} is no netmask')
    return prefix
