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

from nova_containervm.guest import values

INFINITY = 2 ** 64 - 1
UUID = '0f3e2a90-7d0b-4c3e-9a56-1c2d3e4f5a6b'


@ddt.ddt
class ValuesTest(unittest.TestCase):

    def assertParses(self, parse, value, expected):
        self.assertEqual(expected, parse(value))

    def assertRefuses(self, parse, value):
        with self.assertRaises(ValueError) as caught:
            parse(value)
        # A clause for the user, without Python in it.
        self.assertNotIn('Traceback', str(caught.exception))
        self.assertTrue(str(caught.exception))

    @ddt.data(
        ('true', True), ('True', True), ('yes', True), ('on', True),
        ('1', True), (' true ', True), ('false', False), ('No', False),
        ('off', False), ('0', False))
    @ddt.unpack
    def test_boolean(self, value, expected):
        self.assertIs(expected, values.boolean(value))

    @ddt.data('', 'maybe', '2', None, [], 'true\0')
    def test_boolean_refused(self, value):
        self.assertRefuses(values.boolean, value)

    @ddt.data(
        ('nginx', ['nginx']),
        ('nginx -g "daemon off;"', ['nginx', '-g', 'daemon off;']),
        ("sh -c 'echo $HOME *'", ['sh', '-c', 'echo $HOME *']),
        ('a\\ b c', ['a b', 'c']),
        ('', []),
        ('[ -e /x ]', ['[', '-e', '/x', ']']),
        ('["sh", "-c", "echo \'a\' \\"b\\""]',
         ['sh', '-c', 'echo \'a\' "b"']),
        ('[]', []),
        ('[""]', ['']),
        (' ["a"] ', ['a']),
        (['sh', '-c', 'a b'], ['sh', '-c', 'a b']),
        ('echo \u00e9\n', ['echo', '\u00e9']),
    )
    @ddt.unpack
    def test_command(self, value, expected):
        self.assertParses(values.command, value, expected)

    @ddt.data('a "b', '["a", ', '["a", true]', '["a"] x', ['a', None],
              {'a': 'b'}, None, ['a\0b'], '["a\\u0000"]')
    def test_command_refused(self, value):
        self.assertRefuses(values.command, value)

    def test_values_of_absurd_length_refused(self):
        self.assertRefuses(values.command, '["a",' + '[' * 100000)
        self.assertRefuses(values.stop_timeout, '9' * 5000)
        self.assertRefuses(values.stop_signal, '9' * 5000)
        self.assertRefuses(values.size, '9' * 5000 + 'p')
        self.assertRefuses(values.ulimits, 'core=' + '9' * 5000)

    @ddt.data(
        ('A=1', {'A': '1'}),
        ('A=1 B="x y" C=', {'A': '1', 'B': 'x y', 'C': ''}),
        ('A=b=c', {'A': 'b=c'}),
        ('A', {'A': None}),
        ('{"A": "1", "V": 1.10, "N": null}',
         {'A': '1', 'V': '1.10', 'N': None}),
        ('["A=x y", "B"]', {'A': 'x y', 'B': None}),
        (['A=1', 'B=2 3'], {'A': '1', 'B': '2 3'}),
        ({'A': '1', 'B': None}, {'A': '1', 'B': None}),
        ('', {}),
    )
    @ddt.unpack
    def test_env(self, value, expected):
        self.assertParses(values.env, value, expected)

    @ddt.data('=1', '{"": "x"}', '{"A=": "x"}', '{"A": true}', '{"A"',
              {'A': ['x']}, None, '{"A": {"B": "C"}}')
    def test_env_refused(self, value):
        self.assertRefuses(values.env, value)

    @ddt.data(('/srv', '/srv'), ('/', '/'), ('//srv//x/', '/srv/x'),
              ('/a/../b/.', '/b'), ('/../..', '/'))
    @ddt.unpack
    def test_workdir(self, value, expected):
        self.assertParses(values.workdir, value, expected)

    @ddt.data('srv', '', '.', None, '/a\0', '/' + 4095 * 'a')
    def test_workdir_refused(self, value):
        self.assertRefuses(values.workdir, value)

    @ddt.data('web1', 'a', 'WEB-1', 'web.example.org', '1a', 'a' * 63)
    def test_hostname(self, value):
        self.assertParses(values.hostname, value, value)

    @ddt.data('', '-web', 'web-', 'a_b', 'a b', 'a..b', '.a', 'a' * 64,
              'a.' * 40 + 'a', 'w\u00e9b', 'a\nb', None)
    def test_hostname_refused(self, value):
        self.assertRefuses(values.hostname, value)

    @ddt.data(
        ('no', 'no', 0), ('always', 'always', 0),
        ('unless-stopped', 'unless-stopped', 0),
        ('on-failure', 'on-failure', 0), ('on-failure:5', 'on-failure', 5),
        ('on-failure:0', 'on-failure', 0))
    @ddt.unpack
    def test_restart_policy(self, value, name, retries):
        self.assertParses(values.restart_policy, value,
                          values.RestartPolicy(name, retries))

    @ddt.data('', 'never', 'Always', 'always:3', 'on-failure:',
              'on-failure:-1', 'on-failure:x', 'on-failure:1:2', None)
    def test_restart_policy_refused(self, value):
        self.assertRefuses(values.restart_policy, value)

    @ddt.data(
        ('TERM', 15), ('SIGTERM', 15), ('sigquit', 3), ('15', 15), ('1', 1),
        ('64', 64), ('SIGRTMIN', 34), ('RTMIN+3', 37), ('SIGRTMIN+3', 37),
        ('RTMAX', 64), ('SIGRTMAX-1', 63), ('SIGWINCH', 28), ('usr1', 10))
    @ddt.unpack
    def test_stop_signal(self, value, expected):
        self.assertParses(values.stop_signal, value, expected)

    @ddt.data('', '0', '65', '-1', 'SIGFOO', 'RTMIN-1', 'RTMIN+31',
              'RTMAX+1', 'RTMAX-31', 'SIG', '\u0661', None)
    def test_stop_signal_refused(self, value):
        self.assertRefuses(values.stop_signal, value)

    @ddt.data(('0', 0), ('10', 10), ('86400', 86400))
    @ddt.unpack
    def test_stop_timeout(self, value, expected):
        self.assertParses(values.stop_timeout, value, expected)

    @ddt.data('', '-1', '86401', '10s', '1.5', None)
    def test_stop_timeout_refused(self, value):
        self.assertRefuses(values.stop_timeout, value)

    @ddt.data(
        ('67108864', 67108864), ('64m', 64 << 20), ('64M', 64 << 20),
        ('64mb', 64 << 20), ('64MiB', 64 << 20), ('64 MB', 64 << 20),
        ('1g', 1 << 30), ('1.5g', 3 << 29), ('512k', 512 << 10),
        ('1t', 1 << 40), ('100b', 100), ('.5m', 1 << 19), ('2.', 2))
    @ddt.unpack
    def test_size(self, value, expected):
        self.assertParses(values.size, value, expected)

    @ddt.data('', '0', '0m', '-1', 'm', '1x', '1 2', '1.2.3', '64mm', '8192p',
              '1e3', None)
    def test_size_refused(self, value):
        self.assertRefuses(values.size, value)

    @ddt.data(
        ('NET_ADMIN', ('CAP_NET_ADMIN',)),
        ('cap_net_admin,SYS_TIME', ('CAP_NET_ADMIN', 'CAP_SYS_TIME')),
        ('NET_ADMIN SYS_TIME net_admin', ('CAP_NET_ADMIN', 'CAP_SYS_TIME')),
        ('["bpf"]', ('CAP_BPF',)),
        (['ALL'], ('ALL',)), ('all', ('ALL',)), ('', ()))
    @ddt.unpack
    def test_capabilities(self, value, expected):
        self.assertParses(values.capabilities, value, expected)

    @ddt.data('NET_FOO', 'CAP_ALL', None, [None])
    def test_capabilities_refused(self, value):
        self.assertRefuses(values.capabilities, value)

    @ddt.data(
        ('nofile=1024:4096', {'nofile': (1024, 4096)}),
        ('nofile=1024', {'nofile': (1024, 1024)}),
        ('memlock=-1 nproc=1,core=0',
         {'memlock': (INFINITY, INFINITY), 'nproc': (1, 1), 'core': (0, 0)}),
        ('stack=8388608:-1', {'stack': (8388608, INFINITY)}),
        ({'nofile': '1:2'}, {'nofile': (1, 2)}),
        ('{"nofile": 65536}', {'nofile': (65536, 65536)}),
        (['nofile=1:2'], {'nofile': (1, 2)}))
    @ddt.unpack
    def test_ulimits(self, value, expected):
        self.assertParses(values.ulimits, value, expected)

    @ddt.data('nofile', 'nofile=', 'nofile=a', 'nofile=2:1', 'files=1',
              'nofile=-1:5', 'nofile=1:2:3', 'as=1', None, 'nofile=-2')
    def test_ulimits_refused(self, value):
        self.assertRefuses(values.ulimits, value)

    @ddt.data(
        ('net.core.somaxconn=1024', {'net.core.somaxconn': '1024'}),
        ('net/core/somaxconn=1', {'net.core.somaxconn': '1'}),
        ("net.ipv4.ip_local_port_range='1024 65535' vm.swappiness=1",
         {'net.ipv4.ip_local_port_range': '1024 65535',
          'vm.swappiness': '1'}),
        ({'kernel.sem': '250 32000 32 128'},
         {'kernel.sem': '250 32000 32 128'}))
    @ddt.unpack
    def test_sysctls(self, value, expected):
        self.assertParses(values.sysctls, value, expected)

    @ddt.data('net.core.somaxconn', 'somaxconn=1', '../../etc/passwd=1',
              'net..x=1', '/net/x=1', 'a.b/c=1', '=1', None)
    def test_sysctls_refused(self, value):
        self.assertRefuses(values.sysctls, value)

    @ddt.data(
        ('/run', {'/run': ()}),
        ('/run:rw,noexec,size=64m /tmp',
         {'/run': ('rw', 'noexec', 'size=64m'), '/tmp': ()}),
        ({'/run/': 'mode=755', '/x': None},
         {'/run': ('mode=755',), '/x': ()}))
    @ddt.unpack
    def test_tmpfs(self, value, expected):
        self.assertParses(values.tmpfs, value, expected)

    @ddt.data('run', '/', '/run:bogus', '/run:size', '/run:lowerdir=/x',
              '/run:bind', None)
    def test_tmpfs_refused(self, value):
        self.assertRefuses(values.tmpfs, value)

    @ddt.data(
        (UUID + ':/data', (values.Volume(UUID, '/data'),)),
        (UUID.upper() + ':/data/:ro', (values.Volume(UUID, '/data', True),)),
        ([UUID + ':/a:rw'], (values.Volume(UUID, '/a'),)),
        ('ephemeral0:/scratch', (values.Volume('ephemeral0', '/scratch'),)))
    @ddt.unpack
    def test_volumes(self, value, expected):
        self.assertParses(values.volumes, value, expected)

    @ddt.data('data:/data', UUID, UUID + ':data', UUID + ':/',
              UUID + ':/a:rx', 'ephemeral:/a', 'Ephemeral0:/a',
              UUID + ':/a,' + UUID + ':/a', None)
    def test_volumes_refused(self, value):
        self.assertRefuses(values.volumes, value)
