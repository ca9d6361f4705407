# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""The guest's network, static from the contract and from DHCP."""

MAC = 'fa:16:3e:12:34:56'
OTHER_MAC = 'fa:16:3e:65:43:21'
# QEMU's user network: gateway 10.0.2.2, DNS 10.0.2.3, DHCP, and IPv6 router
# advertisements for fd00:1::/64. What connects to .100:7 talks to cat.
USER_NET = ('user,net=10.0.2.0/24,ipv6-net=fd00:1::/64,'
            'guestfwd=tcp:10.0.2.100:7-cmd:cat')
SHOW = "ip addr show dev %s | grep -E 'mtu|inet' | tr -s ' '; "


def nic(number=0, **values):
    values.setdefault('MAC', MAC)
    return {f'NIC_{number}_{name}': value for name, value in values.items()}


def nics(*macs):
    return [{'backend': USER_NET, 'mac': mac} for mac in macs]


def test_static_addresses_and_routes(make_vm):
    vm = make_vm(
        ('sh', '-c', SHOW % 'eth0' + 'ip route; ip -6 route | grep -v fe80; '
         'cat /etc/resolv.conf; grep web1 /etc/hosts; '
         'echo ping | nc 10.0.2.100 7'),
        nics=nics(MAC),
        contract={'NICC': 1, 'DNS': '10.0.2.3 fd00:1::3',
                  'SEARCH': 'example.org', 'DOMAIN': 'example.org',
                  **nic(ADDRS='10.0.2.15/24 fd00:1::15/64', MTU=1400,
                        ROUTES='0.0.0.0/0,10.0.2.2 '
                               '169.254.169.254/32,10.0.2.3 '
                               '10.9.0.0/16, ::/0,fd00:1::2')})
    vm.run()
    out = vm.console()
    assert 'mtu 1400' in out
    assert 'inet 10.0.2.15/24 brd 10.0.2.255' in out
    assert 'inet6 fd00:1::15/64 scope global' in out
    assert 'tentative' not in out
    assert 'default via 10.0.2.2 dev eth0' in out
    assert '169.254.169.254 via 10.0.2.3 dev eth0' in out
    assert '10.9.0.0/16 dev eth0 scope link' in out
    assert 'default via fd00:1::2 dev eth0' in out
    assert ('search example.org\nnameserver 10.0.2.3\n'
            'nameserver fd00:1::3\n') in out
    assert '10.0.2.15\tweb1.example.org web1\n' in out
    assert out.endswith('ping\n')


def test_no_router_advertisements_with_static_ipv6(make_vm):
    vm = make_vm(('sh', '-c', 'sleep 2; ip addr show dev eth0 | '
                              'grep -c inet6'),
                 nics=nics(MAC),
                 contract={'NICC': 1, **nic(ADDRS='fd00:1::15/64')})
    vm.run()
    assert vm.console() == '2\n'  # its own and the link's


def test_nics_are_found_by_mac(make_vm):
    vm = make_vm(
        ('sh', '-c', 'for i in eth0 eth1; do ip addr show dev $i | '
                     "grep -oE 'ether [^ ]*|inet [^ ]*'; done; ip route"),
        nics=nics(OTHER_MAC, MAC),
        contract={'NICC': 2,
                  **nic(0, ADDRS='10.1.0.5/24', ROUTES='0.0.0.0/0,10.1.0.1'),
                  **nic(1, MAC=OTHER_MAC, ADDRS='10.2.0.5/24',
                        ROUTES='0.0.0.0/0,10.2.0.1')})
    vm.run()
    assert vm.console().startswith(
        f'ether {OTHER_MAC}\ninet 10.2.0.5/24\n'
        f'ether {MAC}\ninet 10.1.0.5/24\n'
        'default via 10.1.0.1 dev eth1  metric 100 \n'
        'default via 10.2.0.1 dev eth0  metric 101 \n')


def test_gateway_outside_the_own_network(make_vm):
    vm = make_vm(('ip', 'route'), nics=nics(MAC),
                 contract={'NICC': 1, **nic(ADDRS='10.0.2.15/32',
                                            ROUTES='0.0.0.0/0,10.0.2.2')})
    vm.run()
    assert vm.console().startswith('default via 10.0.2.2 dev eth0')


def test_dhcp(make_vm):
    vm = make_vm(
        ('sh', '-c', SHOW % 'eth0' + 'ip route; cat /etc/resolv.conf; '
         'grep web1 /etc/hosts; echo ping | nc 10.0.2.100 7'),
        nics=nics(MAC), contract={'NICC': 1, **nic(DHCP='4')})
    vm.run()
    out = vm.console()
    assert 'inet 10.0.2.15/24' in out
    assert 'default via 10.0.2.2 dev eth0' in out
    assert 'nameserver 10.0.2.3' in out
    assert '10.0.2.15\tweb1\n' in out
    assert out.endswith('ping\n')


def test_slaac(make_vm):
    vm = make_vm(('sh', '-c', SHOW % 'eth0' + 'ip -6 route | grep default'),
                 nics=nics(MAC), contract={'NICC': 1, **nic(DHCP='6')})
    vm.run()
    out = vm.console()
    assert 'inet6 fd00:1::f816:3eff:fe12:3456/64 scope global' in out
    assert 'default via fe80::2 dev eth0' in out


def test_dhcp_that_does_not_answer_is_a_warning(make_vm):
    vm = make_vm(('echo', 'hello'),
                 nics=[{'backend': 'user,restrict=on,ipv4=off', 'mac': MAC}],
                 contract={'NICC': 1, **nic(DHCP='4')})
    vm.run()
    assert vm.console() == (
        'containervm: warning: network: no answer from a DHCP server yet; '
        'still asking\r\nhello\n')


def test_no_network(make_vm):
    vm = make_vm(('sh', '-c', "ip addr show dev lo | grep -o 'inet.*host'"))
    vm.run()
    assert vm.console() == ('inet 127.0.0.1/8 scope host\n'
                            'inet6 ::1/128 scope host\n')


def test_sysctls(make_vm):
    names = ('net.ipv4.ip_unprivileged_port_start=0',
             'vm.max_map_count=262144', 'net.core.somaxconn=1024')
    vm = make_vm(
        ('cat', *('/proc/sys/' + n.partition('=')[0].replace('.', '/')
                  for n in names)),
        contract={'SYSCTL': [*names, 'net.no.such=1']})
    vm.run()
    assert vm.console() == (
        'containervm: warning: sysctl: net.no.such=1: No such file or '
        'directory\r\n0\n262144\n1024\n')
