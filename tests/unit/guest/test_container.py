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

from nova_containervm.guest import container
from nova_containervm.guest import errors
from nova_containervm.guest import overrides
from nova_containervm.guest import values

PATH = 'PATH=' + container.DEFAULT_PATH
PASSWD = b'root:x:0:0::/root:\napp:x:1000:1001::/home/app:\n'
GROUP = b'app:x:1001:\nextra:x:7:app\n'


def resolve(config=None, metadata=None, **kwargs):
    """Resolve an image config with server metadata, names without prefix."""
    given = overrides.parse(metadata={
        overrides.PREFIX + key: value
        for key, value in (metadata or {}).items()})
    kwargs.setdefault('passwd', PASSWD)
    kwargs.setdefault('group', GROUP)
    return container.resolve({'config': {'Cmd': ['sh'], **(config or {})}},
                             given, hostname='web1', **kwargs)


@ddt.ddt
class ArgumentsTest(unittest.TestCase):

    @ddt.data(
        # entrypoint, cmd, overrides, expected
        (None, ['a', 'b'], {}, ('a', 'b')),
        (['e'], None, {}, ('e',)),
        (['e', '1'], ['a'], {}, ('e', '1', 'a')),
        ([], ['a'], {}, ('a',)),
        ('e', 'a b', {}, ('e', 'a b')),
        (['e'], ['a'], {'command': 'x y'}, ('e', 'x', 'y')),
        (None, ['a'], {'command': '["x y"]'}, ('x y',)),
        (['e'], ['a'], {'command': ''}, ('e', 'a')),
        (['e'], ['a'], {'entrypoint': 'n'}, ('n',)),
        (['e'], ['a'], {'entrypoint': 'n', 'command': 'x'}, ('n', 'x')),
        (['e'], ['a'], {'entrypoint': '', 'command': 'x'}, ('x',)),
        (['e'], ['a'], {'entrypoint': '[""]', 'command': 'x'}, ('x',)),
        (['e'], [''], {}, ('e', '')),
    )
    @ddt.unpack
    def test_known(self, entrypoint, command, given, expected):
        found = resolve({'Entrypoint': entrypoint, 'Cmd': command}, given)
        self.assertEqual(expected, found.args)

    @ddt.data(
        ({'Cmd': None}, {}, 'No command.*containervm_command'),
        ({'Cmd': []}, {}, 'No command'),
        ({'Entrypoint': ['e'], 'Cmd': ['a']}, {'entrypoint': ''},
         'No command'),
        ({'Cmd': ['']}, {}, 'empty'),
        ({'Cmd': [1]}, {}, 'Cmd'),
        ({'Cmd': {'a': 1}}, {}, 'Cmd'),
        ({'Entrypoint': True}, {}, 'Entrypoint'),
        ({'Entrypoint': ['e', 'a\0b']}, {}, 'Entrypoint.*NUL'),
        ({'Cmd': 'a\ud800'}, {}, 'Cmd.*surrogate'),
        ({'Cmd': ['a'], 'Env': ['A=\0']}, {}, 'Env.*NUL'),
    )
    @ddt.unpack
    def test_refused(self, config, given, words):
        self.assertRaisesRegex(errors.InvalidImageConfig, words,
                               resolve, config, given)

    @ddt.data({}, {'config': None}, {'config': {}})
    def test_an_image_without_a_config(self, image_config):
        self.assertRaisesRegex(
            errors.InvalidImageConfig, 'No command', container.resolve,
            image_config, overrides.Overrides(), hostname='h')

    def test_a_config_that_is_no_object(self):
        self.assertRaisesRegex(
            errors.InvalidImageConfig, 'object', container.resolve,
            {'config': ['sh']}, overrides.Overrides(), hostname='h')


@ddt.ddt
class EnvironmentTest(unittest.TestCase):

    @ddt.data(
        (None, {}, (PATH, 'HOSTNAME=web1', 'HOME=/root')),
        (['A=1', 'B='], {},
         (PATH, 'HOSTNAME=web1', 'A=1', 'B=', 'HOME=/root')),
        (['PATH=/x'], {}, ('PATH=/x', 'HOSTNAME=web1', 'HOME=/root')),
        (['HOSTNAME=me'], {}, (PATH, 'HOSTNAME=me', 'HOME=/root')),
        (['HOME=/h', 'A=1'], {}, (PATH, 'HOSTNAME=web1', 'HOME=/h', 'A=1')),
        (['HOME='], {}, (PATH, 'HOSTNAME=web1', 'HOME=/root')),
        (['A=1=2'], {}, (PATH, 'HOSTNAME=web1', 'A=1=2', 'HOME=/root')),
        (None, {'tty': 'yes'},
         (PATH, 'HOSTNAME=web1', 'TERM=xterm', 'HOME=/root')),
        (['TERM=vt100'], {'tty': 'yes'},
         (PATH, 'HOSTNAME=web1', 'TERM=vt100', 'HOME=/root')),
        (None, {'hostname': 'db'}, (PATH, 'HOSTNAME=db', 'HOME=/root')),
        # the user's come first, as docker merges them
        (['A=1', 'B=2'], {'env': 'B=3 C=4'},
         (PATH, 'HOSTNAME=web1', 'B=3', 'C=4', 'A=1', 'HOME=/root')),
        # no "=" removes
        (['A=1'], {'env': 'A PATH'}, ('HOSTNAME=web1', 'HOME=/root')),
        (['HOSTNAME'], {}, (PATH, 'HOME=/root')),
    )
    @ddt.unpack
    def test_known(self, env, given, expected):
        self.assertEqual(expected, resolve({'Env': env}, given).env)

    @ddt.data(('app', '/home/app'), ('1000:0', '/home/app'),
              ('4242', '/'))
    @ddt.unpack
    def test_home_is_the_users(self, user, home):
        self.assertEqual('HOME=' + home, resolve({'User': user}).env[-1])

    def test_an_env_that_is_no_list(self):
        self.assertRaisesRegex(errors.InvalidImageConfig, 'Env',
                               resolve, {'Env': {'A': '1'}})


@ddt.ddt
class ContainerTest(unittest.TestCase):

    def test_defaults_are_dockers(self):
        found = resolve()
        self.assertEqual(
            ('/', 'web1', False, False, False, False, False, 64 << 20, 15,
             10, 0o022, 'no'),
            (found.cwd, found.hostname, found.tty, found.read_only,
             found.privileged, found.init, found.system_init, found.shm_size,
             found.stop_signal, found.stop_timeout, found.umask,
             found.restart.name))
        self.assertEqual(14, len(found.capabilities))
        self.assertEqual((1024, 524288), found.rlimits['nofile'])
        self.assertEqual(
            '0', found.sysctls['net.ipv4.ip_unprivileged_port_start'])

    @ddt.data(('a.b', 'a.b'), ('x' * 61 + '.ab', 'x' * 61 + '.ab'),
              ('x' * 62 + '.ab', 'x' * 62), ('x' * 70, 'x' * 63),
              ('x' * 62 + '-yz', 'x' * 62), ('x.' * 40, 'x'))
    @ddt.unpack
    def test_hostname_of_the_server(self, name, expected):
        """Nova takes longer ones than Linux."""
        found = container.resolve({'config': {'Cmd': ['sh']}},
                                  overrides.Overrides(), hostname=name)
        self.assertEqual(expected, found.hostname)
        self.assertIn('HOSTNAME=' + expected, found.env)

    def test_overrides_of_simple_values(self):
        found = resolve(
            {'WorkingDir': '/image', 'StopSignal': 'SIGQUIT'},
            {'workdir': '/mine', 'stop_signal': 'INT', 'stop_timeout': '0',
             'read_only': 'true', 'shm_size': '1g', 'init': 'true',
             'restart_policy': 'always', 'tmpfs': '/run',
             'ulimits': 'nofile=7'})
        self.assertEqual(
            ('/mine', 2, 0, True, 1 << 30, True, 'always', {'/run': ()}),
            (found.cwd, found.stop_signal, found.stop_timeout,
             found.read_only, found.shm_size, found.init, found.restart.name,
             found.tmpfs))
        self.assertEqual((7, 7), found.rlimits['nofile'])
        self.assertIn('core', found.rlimits)

    @ddt.data((None, '/'), ('', '/'), ('/srv/', '/srv'), ('srv', '/srv'),
              ('//a/../b', '/b'))
    @ddt.unpack
    def test_cwd_of_the_image(self, given, expected):
        self.assertEqual(expected, resolve({'WorkingDir': given}).cwd)

    @ddt.data('/a\0b', '/' + 4095 * 'a', 2040 * '/ä')
    def test_cwd_that_cannot_be(self, given):
        with self.assertRaisesRegex(errors.InvalidImageConfig, 'WorkingDir'):
            resolve({'WorkingDir': given})

    @ddt.data((None, 15), ('SIGQUIT', 3), ('28', 28), ('nonsense', 15),
              ('0', 15))
    @ddt.unpack
    def test_stop_signal_of_the_image(self, given, expected):
        self.assertEqual(expected, resolve({'StopSignal': given}).stop_signal)

    def test_the_user_of_the_image(self):
        found = resolve({'User': 'app'})
        self.assertEqual((1000, 1001, (1001, 7)),
                         (found.user.uid, found.user.gid, found.user.groups))
        self.assertRaisesRegex(errors.InvalidImageConfig, 'ghost',
                               resolve, {'User': 'ghost'})

    def test_the_user_of_an_override(self):
        self.assertEqual(1000, resolve({'User': 'ghost'},
                                       {'user': ' app '}).user.uid)
        with self.assertRaises(errors.InvalidOverride) as caught:
            resolve(metadata={'user': 'ghost'})
        self.assertIn('containervm_user', str(caught.exception))
        self.assertIn('/etc/passwd', str(caught.exception))

    @ddt.data(
        ({}, container.DEFAULT_CAPABILITIES),
        ({'cap_drop': 'ALL'}, ()),
        ({'cap_drop': 'ALL', 'cap_add': 'CHOWN SYS_TIME'},
         ('CAP_CHOWN', 'CAP_SYS_TIME')),
        ({'cap_add': 'CHOWN'}, container.DEFAULT_CAPABILITIES),
        ({'cap_add': 'BPF'}, (*container.DEFAULT_CAPABILITIES, 'CAP_BPF')),
        ({'cap_add': 'ALL'}, values.CAPABILITIES),
        ({'cap_add': 'ALL', 'cap_drop': 'SYS_ADMIN'},
         tuple(c for c in values.CAPABILITIES if c != 'CAP_SYS_ADMIN')),
        ({'privileged': 'true', 'cap_drop': 'ALL'}, values.CAPABILITIES),
    )
    @ddt.unpack
    def test_capabilities(self, given, expected):
        self.assertEqual(expected, resolve(metadata=given).capabilities)

    def test_cap_drop_of_a_default(self):
        found = resolve(metadata={'cap_drop': 'MKNOD,NET_RAW'}).capabilities
        self.assertEqual(12, len(found))
        self.assertNotIn('CAP_MKNOD', found)

    def test_sysctls_that_leave_the_container(self):
        given = {'sysctls': 'kernel.core_pattern="|/x"'}
        with self.assertRaises(errors.InvalidOverride) as caught:
            resolve(metadata=given)
        self.assertIn('privileged', str(caught.exception))
        found = resolve(metadata={**given, 'privileged': 'true'})
        self.assertEqual('|/x', found.sysctls['kernel.core_pattern'])

    @ddt.data(
        ('/sbin/init', True), ('/usr/sbin/init', True),
        ('/lib/systemd/systemd', True), ('/usr/lib/systemd/systemd', True),
        ('systemd', True), ('/init', False), ('/srv/init', False),
        ('/usr/bin/systemd-run', False), ('sh', False))
    @ddt.unpack
    def test_system_init(self, program, expected):
        found = resolve({'Cmd': [program]}, {'init': 'true'})
        self.assertEqual(expected, found.system_init)
        self.assertEqual(not expected, found.init)
        self.assertEqual(expected, 'container=docker' in found.env)
        self.assertEqual(37 if expected else 15, found.stop_signal)

    @ddt.data(
        (None, None), ({}, None), ({'Test': []}, None),
        ({'Test': ['NONE']}, None), ({'Test': ['CMD']}, None),
        ({'Test': ['WHAT', 'x']}, None), ('x', None),
        ({'Test': ['CMD', 'a', 'b c']}, ('a', 'b c')),
        ({'Test': ['CMD-SHELL', 'a b']}, ('/bin/sh', '-c', 'a b')))
    @ddt.unpack
    def test_health_command(self, check, expected):
        found = resolve({'Healthcheck': check}).health
        self.assertEqual(expected, found and found.command)

    def test_health_times(self):
        second = 1_000_000_000
        self.assertEqual(
            container.Health(('a',), 30000, 30000, 0, 5000, 3),
            resolve({'Healthcheck': {'Test': ['CMD', 'a'], 'Interval': 0,
                                     'Retries': 0}}).health)
        self.assertEqual(
            container.Health(('bash', '-lc', 'a'), 1000, 2000, 3000, 4000, 5),
            resolve({'Shell': ['bash', '-lc'], 'Healthcheck': {
                'Test': ['CMD-SHELL', 'a'], 'Interval': second,
                'Timeout': 2 * second, 'StartPeriod': 3 * second,
                'StartInterval': 4 * second, 'Retries': 5}}).health)

    def test_system_init_keeps_the_images_stop_signal(self):
        found = resolve({'Cmd': ['/sbin/init'], 'StopSignal': 'SIGPWR'})
        self.assertEqual(30, found.stop_signal)


@ddt.ddt
class ImageVolumesTest(unittest.TestCase):

    def paths(self, volumes, metadata=None, **config):
        made = resolve({'Volumes': volumes, **config}, metadata,
                       image_volumes=True)
        return {v.volume_id: v.path for v in made.volumes}

    @ddt.data(
        (None, {}),
        ({}, {}),
        ({'/b': {}, '/a': {}}, {'image0': '/a', 'image1': '/b'}),
        # Sorted: one in another comes after it.
        ({'/a/b/': {}, '//a/./': {}}, {'image0': '/a', 'image1': '/a/b'}),
        # Relative ones are so to the root, as an old WORKDIR is.
        ({'data': {}, '/data': None}, {'image0': '/data'}),
        # Mounts of the system, which nothing may cover
        ({'/proc/x': {}, '/sys/fs/cgroup': {}, '/dev/shm': {}, '/proc': {},
          '/etc/hosts': {}, '/etc/x': {}}, {'image0': '/etc/x'}),
    )
    @ddt.unpack
    def test_paths(self, volumes, expected):
        self.assertEqual(expected, self.paths(volumes))

    def test_not_known_to_the_guest(self):
        self.assertEqual((), resolve({'Volumes': {'/a': {}}}).volumes)

    def test_the_users_mounts_come_first(self):
        volume = '0f3e2a90-7d0b-4c3e-9a56-1c2d3e4f5a6b'
        self.assertEqual(
            {volume: '/a', 'image0': '/c'},
            self.paths({'/a': {}, '/b': {}, '/c': {}},
                       {'volumes': volume + ':/a', 'tmpfs': '/b'}))

    def test_an_init_has_its_own_tmpfs(self):
        self.assertEqual(
            {'image0': '/var/x'},
            self.paths({'/run': {}, '/tmp': {}, '/var/x': {}},
                       Cmd=['/sbin/init']))

    @ddt.data(({'/': {}}, "VOLUME of the image is '/'"),
              ({'': {}}, "VOLUME of the image is '/'"),
              (['/a'], 'Volumes of the image'),
              ('/a', 'Volumes of the image'),
              ({'/a\0b': {}}, 'VOLUME'),
              ({'/' + 4095 * 'a': {}}, 'VOLUME of the image: .* 4096 bytes'))
    @ddt.unpack
    def test_refused(self, volumes, text):
        with self.assertRaisesRegex(errors.InvalidImageConfig, text):
            self.paths(volumes)
