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

import json
import subprocess
import unittest

import ddt
from nova.network import model

from nova_containervm.guest import contract
from nova_containervm.guest import errors

UUID = '8a1c1f4e-0c59-4a7e-8d06-3c2f5f0f1a2b'
VOLUME = '0f3e2a90-7d0b-4c3e-9a56-1c2d3e4f5a6b'
CONFIG = {'architecture': 'amd64', 'config': {
    'Entrypoint': ['/entry.sh'], 'Cmd': ['nginx', '-g', 'daemon off;'],
    'Env': ['NGINX_VERSION=1.22'], 'WorkingDir': '/srv', 'User': 'www'}}
PASSWD = b'root:x:0:0::/root:/bin/sh\nwww:x:33:33::/var/www:/bin/sh\n'
GROUP = b'www:x:33:\nssl:x:101:www\n'
# What a value may hold that a shell, a parser or a terminal could trip over.
NASTY = ("it's", '"', '`id`', '$(id)', '$HOME', '\\', '\\n', 'a\nb', '', ' ',
         '\t', "'", "''", "'\\''", '!', '*', '#x', '; id', '&', '|', '\r',
         '\x1b[31m', '\u00e9\u20ac\U0001f600', '-n', '-e x', '=', "\n'\n")


def network_info():
    return model.NetworkInfo([model.VIF(
        id='v', address='fa:16:3e:00:00:01', network=model.Network(
            id='n', label='private', mtu=1450, subnets=[
                model.Subnet(
                    cidr='10.0.0.0/24', gateway=model.IP('10.0.0.1'),
                    dns=[model.IP('8.8.8.8'), model.IP('1.1.1.1')],
                    ips=[model.FixedIP(address='10.0.0.5')],
                    routes=[model.Route(cidr='10.9.0.0/16',
                                        gateway=model.IP('10.0.0.9'))]),
                model.Subnet(
                    cidr='fd00::/64', gateway=model.IP('fd00::1'), dns=[],
                    ips=[model.FixedIP(address='fd00::5')], routes=[]),
            ]))])


def build(config=None, metadata=None, **kwargs):
    given = {'passwd': PASSWD, 'group': GROUP, 'file_caps': [],
             'network_info': network_info()}
    given.update(kwargs)
    return contract.build(
        UUID, 'web1', config or CONFIG, given.pop('passwd'),
        given.pop('group'), given.pop('file_caps'),
        given.pop('network_info'), {'metadata': metadata or {}}, **given)


def variables(built):
    """Read guest.env with a real shell; names and values."""
    env = built.files()['containervm/guest.env']
    names = [line.split(b'=', 1)[0].decode() for line in env.split(b'\n')
             if line.startswith(b'CVM_')]
    script = b'set -eu\n' + env + b'printf "%s\\0" ' + b' '.join(
        b'"$' + name.encode() + b'"' for name in names)
    shown = subprocess.run(['/bin/sh'], input=script, capture_output=True,
                           check=True, env={'PATH': '/nonexistent'})
    values = shown.stdout.decode().split('\0')[:-1]
    return dict(zip(names, values, strict=True))


@ddt.ddt
class GuestEnvTest(unittest.TestCase):

    def test_everything(self):
        found = variables(build(
            metadata={'containervm_stop_signal': 'QUIT',
                      'containervm_stop_timeout': '30',
                      'containervm_restart_policy': 'on-failure:3',
                      'containervm_volumes': f'["{VOLUME}:/data dir:ro"]',
                      'containervm_tmpfs': '/run:size=1m',
                      'containervm_init': 'true'},
            file_caps=[('/bin/ping', '0100000200200000')],
            domain='example.org'))
        self.assertEqual({
            'CVM_VERSION': '1', 'CVM_INSTANCE': UUID, 'CVM_HOSTNAME': 'web1',
            'CVM_DOMAIN': 'example.org', 'CVM_TRANSPORT': '9p',
            'CVM_ROOTFS_TAG': 'containervm-rootfs', 'CVM_ROOTFS_SERIAL': '',
            'CVM_ROOTFS_OPTIONS': 'ro,trans=virtio,version=9p2000.L,'
                                  'msize=512000,cache=loose',
            'CVM_WRITABLE': 'disk', 'CVM_RUNTIME': 'crun',
            'CVM_ARGC': '4', 'CVM_ARG_0': '/entry.sh', 'CVM_ARG_1': 'nginx',
            'CVM_ARG_2': '-g', 'CVM_ARG_3': 'daemon off;',
            'CVM_ENVC': '4',
            'CVM_ENV_0': 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:'
                         '/usr/bin:/sbin:/bin',
            'CVM_ENV_1': 'HOSTNAME=web1', 'CVM_ENV_2': 'NGINX_VERSION=1.22',
            'CVM_ENV_3': 'HOME=/var/www',
            'CVM_CWD': '/srv', 'CVM_UID': '33', 'CVM_GID': '33',
            'CVM_GROUPS': '33 101', 'CVM_UMASK': '0022', 'CVM_TTY': '0',
            'CVM_READONLY': '0', 'CVM_INIT': '1', 'CVM_PRIVILEGED': '0',
            'CVM_CGROUP_WRITABLE': '0',
            'CVM_CAPS': '00000000a80425fb', 'CVM_SHM_SIZE': '67108864',
            'CVM_RLIMITC': '3', 'CVM_RLIMIT_0': 'core -1 -1',
            'CVM_RLIMIT_1': 'nofile 1024 524288',
            'CVM_RLIMIT_2': 'nproc -1 -1',
            'CVM_TMPFSC': '1',
            'CVM_TMPFS_0': 'noexec,nosuid,nodev,rprivate,size=1m /run',
            'CVM_STOP_SIGNAL': '3',
            'CVM_STOP_TIMEOUT': '30', 'CVM_RESTART': 'on-failure',
            'CVM_RESTART_MAX': '3', 'CVM_SYSCTLC': '3',
            'CVM_SYSCTL_0': 'net.ipv4.ip_unprivileged_port_start=0',
            'CVM_SYSCTL_1': 'net.ipv4.ping_group_range=0 2147483647',
            'CVM_SYSCTL_2': 'vm.max_map_count=262144',
            'CVM_FILECAPC': '1',
            'CVM_FILECAP_0': '0100000200200000 /bin/ping',
            'CVM_NICC': '1', 'CVM_NIC_0_MAC': 'fa:16:3e:00:00:01',
            'CVM_NIC_0_MTU': '1450',
            'CVM_NIC_0_ADDRS': '10.0.0.5/24 fd00::5/64',
            'CVM_NIC_0_ROUTES': '0.0.0.0/0,10.0.0.1 10.9.0.0/16,10.0.0.9 '
                                '::/0,fd00::1',
            'CVM_NIC_0_DHCP': '', 'CVM_DNS': '8.8.8.8 1.1.1.1',
            'CVM_SEARCH': 'example.org',
            'CVM_CHANNEL': 'org.openstack.containervm.0',
            'CVM_SWAP': '0',
            'CVM_VOLUMEC': '1', 'CVM_VOLUME_0': f'{VOLUME} ro /data dir',
            'CVM_VOLUME_WAIT': '120',
            'CVM_HEALTHC': '0',
        }, found)

    @ddt.data(*range(len(NASTY)))
    def test_nasty_values_survive_a_shell(self, index):
        value = NASTY[index]
        found = variables(build({'config': {
            'Cmd': ['sh', value], 'Env': ['X=' + value]}}))
        self.assertEqual(value, found['CVM_ARG_1'])
        self.assertIn('X=' + value, [found[f'CVM_ENV_{i}'] for i in range(4)])

    def test_only_quoted_assignments(self):
        env = build({'config': {'Cmd': ['sh', *NASTY]}}).files()[
            'containervm/guest.env'].decode()
        # The grammar that guest.sh and the guest init accept.
        self.assertRegex(
            env, r"""\A(CVM_[A-Z0-9_]+=('[^']*'|\\')+\n)+\Z""")

    @ddt.data('a\0b', '\ud800')
    def test_what_cannot_be_given(self, value):
        self.assertRaises(errors.InvalidImageConfig, build,
                          {'config': {'Cmd': ['sh', value]}})
        self.assertRaises(errors.InvalidImageConfig, build,
                          {'config': {'Cmd': ['sh'], 'Env': ['A=' + value]}})

    def test_health(self):
        found = variables(build({'config': {'Cmd': ['sh'], 'Healthcheck': {
            'Test': ['CMD-SHELL', 'curl -f http://localhost/ || exit 1'],
            'Retries': 5}}}))
        self.assertEqual({
            'CVM_HEALTHC': '3', 'CVM_HEALTH_0': '/bin/sh',
            'CVM_HEALTH_1': '-c',
            'CVM_HEALTH_2': 'curl -f http://localhost/ || exit 1',
            'CVM_HEALTH_INTERVAL_MS': '30000',
            'CVM_HEALTH_TIMEOUT_MS': '30000',
            'CVM_HEALTH_START_PERIOD_MS': '0',
            'CVM_HEALTH_START_INTERVAL_MS': '5000',
            'CVM_HEALTH_RETRIES': '5',
        }, {name: value for name, value in found.items()
            if name.startswith('CVM_HEALTH')})

    def test_health_process(self):
        image = {'config': {
            'Cmd': ['sh'], 'User': '33', 'WorkingDir': '/srv',
            'Healthcheck': {'Test': ['CMD', 'check', '-q']}}}
        files = build(image, {'containervm_tty': 'true',
                              'containervm_init': 'true'}).files()
        main = json.loads(files['containervm/config.json'])['process']
        self.assertTrue(main['terminal'])
        self.assertEqual(
            {**main, 'args': ['check', '-q'], 'terminal': False},
            json.loads(files['containervm/health.json']))

    def test_system_init(self):
        found = variables(build({'config': {'Cmd': ['/sbin/init']}}))
        self.assertEqual('1', found['CVM_CGROUP_WRITABLE'])
        self.assertEqual('37', found['CVM_STOP_SIGNAL'])
        self.assertEqual(
            ['/run', '/run/lock', '/tmp'],
            [found[f'CVM_TMPFS_{i}'].split(' ')[1] for i in range(3)])

    def test_no_health_process(self):
        for test in (['NONE'], [], None):
            files = build({'config': {'Cmd': ['sh'], 'Healthcheck': {
                'Test': test}}}).files()
            self.assertNotIn('containervm/health.json', files)

    def test_no_network(self):
        found = variables(build(network_info=None))
        self.assertEqual(('0', ''), (found['CVM_NICC'], found['CVM_DNS']))

    def test_dhcp(self):
        info = model.NetworkInfo([model.VIF(
            id='v', address='fa:16:3e:00:00:02',
            network=model.Network(id='n', subnets=[]))])
        found = variables(build(network_info=info))
        self.assertEqual(
            ('4 6', '', '', ''),
            tuple(found['CVM_NIC_0_' + name] for name in (
                'DHCP', 'MTU', 'ADDRS', 'ROUTES')))


@ddt.ddt
class ContractTest(unittest.TestCase):

    def test_files(self):
        self.assertEqual(
            {'containervm/config.json', 'containervm/guest.json',
             'containervm/guest.env'}, set(build().files()))
        cloud = build(base_type='cloud', runtime='chroot').files()
        self.assertTrue(
            cloud['containervm/guest.sh'].startswith(b'#!/bin/sh\n'))

    def test_the_same_inputs_give_the_same_bytes(self):
        metadata = {'containervm_env': 'B=1 A=2', 'containervm_tty': '1'}
        self.assertEqual(build(metadata=metadata).files(),
                         build(metadata=dict(reversed(metadata.items())))
                         .files())

    def test_guest_json_says_what_guest_env_says(self):
        built = build(domain='example.org',
                      file_caps=[('/b', '02'), ('/a', '01')])
        found = json.loads(built.files()['containervm/guest.json'])
        env = variables(built)
        self.assertEqual(1, found['version'])
        self.assertEqual(
            [env[f'CVM_ARG_{i}'] for i in range(int(env['CVM_ARGC']))],
            found['process']['args'])
        self.assertEqual(env['CVM_GROUPS'],
                         ' '.join(map(str, found['process']['groups'])))
        self.assertEqual(env['CVM_NIC_0_ADDRS'],
                         ' '.join(found['nics'][0]['addresses']))
        self.assertEqual({'destination': '0.0.0.0/0', 'gateway': '10.0.0.1'},
                         found['nics'][0]['routes'][0])
        self.assertEqual(['example.org'], found['search'])
        self.assertEqual([{'path': '/a', 'value': '01'},
                          {'path': '/b', 'value': '02'}],
                         found['file_capabilities'])
        self.assertEqual({'policy': 'no', 'max_retries': 0},
                         found['restart'])

    def test_config_json_runs_the_same_program(self):
        found = json.loads(build().files()['containervm/config.json'])
        self.assertEqual(['/entry.sh', 'nginx', '-g', 'daemon off;'],
                         found['process']['args'])
        self.assertEqual('rootfs', found['root']['path'])

    @ddt.data(
        ('9p', 'disk', 'ro,trans=virtio,version=9p2000.L,msize=512000,'
                       'cache=loose'),
        ('9p', 'share', 'rw,trans=virtio,version=9p2000.L,msize=512000,'
                        'cache=mmap'),
        ('virtiofs', 'disk', 'ro'), ('virtiofs', 'share', 'rw'),
        ('block', 'disk', 'ro'))
    @ddt.unpack
    def test_mount_options(self, transport, writable, expected):
        self.assertEqual(expected, build(
            transport=transport, writable=writable).rootfs_options)

    def test_mount_options_of_the_caller(self):
        self.assertEqual('ro,x', build(share_options='ro,x').rootfs_options)

    def test_a_block_rootfs_has_a_serial_and_no_tag(self):
        found = variables(build(transport='block', rootfs_serial='abc'))
        self.assertEqual(('', 'abc'), (found['CVM_ROOTFS_TAG'],
                                       found['CVM_ROOTFS_SERIAL']))

    @ddt.data(('9p', 'disk', '1'), ('9p', 'share', '0'),
              ('virtiofs', 'disk', '0'), ('block', 'disk', '0'))
    @ddt.unpack
    def test_file_capabilities_are_given_where_they_get_lost(
            self, transport, writable, expected):
        found = variables(build(transport=transport, writable=writable,
                                file_caps=[('/bin/ping', '01')]))
        self.assertEqual(expected, found['CVM_FILECAPC'])

    @ddt.data({'transport': 'nfs'}, {'writable': 'both'},
              {'runtime': 'docker'}, {'base_type': 'big'},
              {'access_mode': 'squash'})
    def test_a_wrong_call(self, kwargs):
        with self.assertRaises(ValueError) as caught:
            build(**kwargs)
        self.assertNotIsInstance(caught.exception, errors.ContractError)

    def test_summary(self):
        text = build(metadata={'containervm_env_SECRET': 'hunter2',
                               'containervm_privileged': 'true'}).summary()
        self.assertIn('crun on 9p/disk', text)
        self.assertIn('privileged, overrides env privileged', text)
        self.assertNotIn('hunter2', text)
        self.assertNotIn('\n', text)
