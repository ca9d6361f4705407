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
"""Flavors, networks and security group rules.

Arguments: the IPv4 and the IPv6 range of the network `public` (the latter may
be empty). Everything is looked up first, so this can run again.
"""

import ipaddress
import sys

import openstack

FLAVORS = (  # name, vCPUs, MB, GB
    ('c1.tiny', 1, 256, 1),
    ('c1.small', 1, 512, 5),
    ('c1.medium', 2, 2048, 10),
)
PRIVATE_CIDR = '10.77.0.0/24'
PRIVATE_CIDR6 = 'fd77:77:78::/64'


def main(cidr, cidr6=''):
    cloud = openstack.connect(cloud='aio')
    for name, vcpus, ram, disk in FLAVORS:
        if not cloud.compute.find_flavor(name):
            # With an id that one can write down: tempest wants that.
            cloud.compute.create_flavor(id=name, name=name, vcpus=vcpus,
                                        ram=ram, disk=disk)
    network = cloud.network
    public = network.find_network('public') or network.create_network(
        name='public', provider_network_type='flat',
        provider_physical_network='public', is_shared=True,
        is_router_external=True)
    subnet(network, public, 'public4', cidr, 50, 250)
    if cidr6:
        # The host sends no router advertisements; addresses are static.
        subnet(network, public, 'public6', cidr6, 0x1000, 0x1fff)

    # Shared, so that the project `demo` has it, too.
    private = network.find_network('private') or network.create_network(
        name='private', is_shared=True)
    inside = [subnet(network, private, 'private4', PRIVATE_CIDR, 50, 250)]
    if cidr6:
        inside.append(subnet(network, private, 'private6', PRIVATE_CIDR6,
                             0x1000, 0x1fff, mode='dhcpv6-stateful'))
    router = network.find_router('router1')
    if not router:
        router = network.create_router(
            name='router1', external_gateway_info={'network_id': public.id})
        for each in inside:
            network.add_interface_to_router(router, subnet_id=each.id)

    for name in ('admin', 'demo'):
        project = cloud.identity.find_project(name)
        # Neutron makes a project's default group when it is first asked.
        group = next(network.security_groups(name='default',
                                             project_id=project.id))
        for protocol in ('icmp', 'tcp', 'udp'):
            for ether_type in ('IPv4', 'IPv6'):
                rule(network, group, ether_type, protocol)


def subnet(network, net, name, cidr, first, last, mode=None):
    found = network.find_subnet(name, network_id=net.id)
    if found:
        return found
    cidr = ipaddress.ip_network(cidr)
    more = {}
    if mode:
        more = {'ipv6_address_mode': mode, 'ipv6_ra_mode': mode}
    last = min(last, cidr.num_addresses - 2)
    first = min(first, max(2, last // 2))
    return network.create_subnet(
        name=name, network_id=net.id, ip_version=cidr.version, cidr=str(cidr),
        gateway_ip=str(cidr[1]), allocation_pools=[
            {'start': str(cidr[first]), 'end': str(cidr[last])}], **more)


def rule(network, group, ether_type, protocol):
    if protocol == 'icmp' and ether_type == 'IPv6':
        protocol = 'ipv6-icmp'
    try:
        network.create_security_group_rule(
            security_group_id=group.id, direction='ingress',
            ether_type=ether_type, protocol=protocol,
            project_id=group.project_id)
    except openstack.exceptions.ConflictException:
        pass


if __name__ == '__main__':
    main(*sys.argv[1:])
