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
"""The all-in-one with a second compute host."""

import configparser
import dataclasses
import pathlib
import pwd
from unittest import mock

from tests.unit.tools import test_aio

# isort: split
from aiolib import cli
from aiolib import host
from aiolib import migration
from aiolib import nodes
from aiolib import nodeservices
from aiolib import render
from aiolib import secondhost
from aiolib import services
from aiolib import settings
from aiolib import steps
from aiolib import supervisor
from aiolib import ui


class TwoHosts(test_aio.WithDirectory):

    def setUp(self):
        super().setUp()
        self.cfg = dataclasses.replace(self.cfg, computes=2)
        self.cfg.dir.mkdir()
        self.first, self.second = nodes.every(self.cfg)

    def programs(self):
        return {p.name: p for p in services.programs(self.cfg)}


class NodesTest(TwoHosts):

    def test_names_differ(self):
        self.assertEqual('aio2', self.second.name)
        self.assertNotEqual(self.first.name, self.second.name)

    def test_addresses_are_the_first_of_the_range(self):
        self.assertEqual(['192.168.79.1', '192.168.79.2'],
                         [n.address for n in nodes.every(self.cfg)])

    def test_a_single_host_has_no_address_of_its_own(self):
        cfg = dataclasses.replace(self.cfg, computes=1)
        self.assertEqual(['127.0.0.1'],
                         [n.address for n in nodes.every(cfg)])

    def test_nothing_of_the_second_is_the_first_s(self):
        for name in ('etc', 'state', 'nova_conf', 'nova_override',
                     'qemu_conf'):
            self.assertNotEqual(getattr(self.first, name),
                                getattr(self.second, name), name)

    def test_by_name(self):
        self.assertEqual(self.second, nodes.by_name(self.cfg, 'aio2'))
        error = self.assertRaises(ui.Failure, nodes.by_name, self.cfg, 'aio3')
        self.assertIn('aio2', error.remedy)

    def test_the_number_is_kept(self):
        environ = {'AIO_DIR': str(self.cfg.dir)}
        self.assertEqual(1, settings.load(environ).computes)
        (self.cfg.dir / 'host.json').touch()
        settings.keep_computes(self.cfg)
        self.assertEqual(2, settings.load(environ).computes)


class ProgramsTest(TwoHosts):

    def test_each_of_a_host_is_there_twice(self):
        cfg = dataclasses.replace(self.cfg, computes=1)
        own = [p.name for p in nodeservices.programs(nodes.first(cfg))]
        there = self.programs()
        for name in own:
            self.assertIn(name, there)
            self.assertIn(f'{name}@aio2', there)
            self.assertEqual(there[name].stage, there[f'{name}@aio2'].stage)

    def test_one_host_has_nothing_of_two(self):
        cfg = dataclasses.replace(self.cfg, computes=1)
        names = {p.name for p in services.programs(cfg)}
        self.assertEqual(set(), {n for n in names if '@' in n})
        self.assertEqual((), nodeservices.between(cfg))
        self.assertFalse(any('--listen' in p.args
                             for p in services.programs(cfg)))

    def test_the_second_runs_in_its_namespaces(self):
        for name, program in self.programs().items():
            if name.endswith('@aio2'):
                self.assertEqual(self.second.enter,
                                 program.args[:len(self.second.enter)])

    def test_the_second_nova_compute_is_unprivileged(self):
        program = self.programs()['nova-compute@aio2']
        self.assertEqual('root', program.user)
        end = program.args[len(self.second.enter):]
        self.assertEqual(('/usr/bin/setpriv', '--reuid=nova', '--regid=nova',
                          '--init-groups', '--'), end[:5])
        self.assertTrue(end[5].endswith('/nova-compute'))

    def test_supervisor_gets_every_program(self):
        conf = test_aio.parse(
            supervisor.render(self.cfg).replace('; Written', '#'))
        for name in self.programs():
            self.assertIn(f'program:{name}', conf)


class ChangesTest(TwoHosts):

    def affected(self, *changed):
        return {name for name in self.programs()
                if steps.uses_changed(name, set(changed))}

    def test_of_the_second_host(self):
        self.assertEqual({'nova-compute@aio2'}, self.affected(
            'hosts/aio2/nova/nova-compute.d/90-reconfigure.conf'))
        self.assertEqual({'libvirtd@aio2'},
                         self.affected('hosts/aio2/libvirt/libvirtd.conf'))

    def test_of_the_first_host(self):
        self.assertEqual({'nova-compute'},
                         self.affected('nova/nova-compute.conf'))
        self.assertEqual({'libvirtd'},
                         self.affected('libvirt/libvirtd.conf'))
        self.assertEqual({'sshd'}, self.affected('sshd/sshd_config'))

    def test_of_both(self):
        found = self.affected('nova/nova.conf')
        self.assertLessEqual({'nova-compute', 'nova-compute@aio2',
                              'nova-scheduler'}, found)
        self.assertEqual({'neutron-ovs-agent', 'neutron-ovs-agent@aio2'},
                         {n for n in self.affected('neutron/neutron.conf')
                          if 'ovs' in n})


class ConfigurationTest(TwoHosts):

    def compute(self, node):
        return test_aio.parse(render.nova_compute(
            node, 'containervm.ContainerVMDriver', 'qemu'))

    def test_nova_compute(self):
        conf = self.compute(self.second)
        self.assertEqual('192.168.79.2', conf['DEFAULT']['my_ip'])
        self.assertEqual('192.168.79.2',
                         conf['libvirt']['live_migration_inbound_addr'])
        # Migrating needs the same paths on both.
        for group, option in (('DEFAULT', 'instances_path'),
                              ('libvirt', 'base_vm_image')):
            self.assertEqual(self.compute(self.first)[group][option],
                             conf[group][option])

    def test_a_single_nova_compute_has_none_of_it(self):
        conf = self.compute(nodes.first(
            dataclasses.replace(self.cfg, computes=1)))
        self.assertNotIn('my_ip', conf['DEFAULT'])
        self.assertNotIn('live_migration_uri', conf['libvirt'])

    def test_resize_goes_to_the_other_host(self):
        for computes, expected in ((1, 'true'), (2, 'false')):
            conf = test_aio.parse(render.nova(
                dataclasses.replace(self.cfg, computes=computes)))
            self.assertEqual(
                expected, conf['DEFAULT']['allow_resize_to_same_host'])

    def test_libvirtd_listens_with_certificates_only(self):
        (self.cfg.state / 'pki').mkdir(parents=True)
        text = '[x]\n' + migration.libvirtd_conf(self.second)
        parser = configparser.ConfigParser()
        parser.read_string(text)
        conf = {k: v.strip('"') for k, v in parser['x'].items()}
        self.assertEqual('192.168.79.2', conf['listen_addr'])
        self.assertEqual(('1', '0'), (conf['listen_tls'], conf['listen_tcp']))
        self.assertIn('ca_file', conf)
        # A host keeps its UUID, and libvirt refuses to migrate to itself.
        self.assertEqual(conf['host_uuid'], migration.host_uuid(self.second))
        self.assertNotEqual(conf['host_uuid'],
                            migration.host_uuid(self.first))

    def test_ssh_is_for_nova_alone(self):
        self.assertIn('AllowUsers nova\n', migration.sshd_conf(self.second))
        self.assertIn('ListenAddress 192.168.79.2:10022\n',
                      migration.sshd_conf(self.second))
        self.assertIn(
            'Match localuser nova host 192.168.79.1,192.168.79.2\n',
            migration.ssh_conf(self.cfg))

    def test_the_control_plane_is_at_the_second_s_localhost(self):
        lines = secondhost.proxy_conf(self.cfg).splitlines()
        self.assertIn('    bind 127.0.0.1:9292 namespace containervm-aio2',
                      lines)
        self.assertIn('    server glance 127.0.0.1:9292', lines)


class AccountTest(TwoHosts):
    """User nova must be one that sshd lets in, and as before after it."""

    def setUp(self):
        super().setUp()
        self.record = host.Record(self.cfg)
        self.account = ['/usr/sbin/nologin', '!']
        self.ran = []
        for target, new in (
                ('pwd.getpwnam', lambda name: pwd.struct_passwd(
                    (name, 'x', 995, 995, '', '/', self.account[0]))),
                ('pwd.getpwall', list),
                ('aiolib.ui.run', self.run_program)):
            patch = mock.patch(target, new)
            patch.start()
            self.addCleanup(patch.stop)

    def run_program(self, args, **kwargs):
        if args[0] == 'getent':
            return f'nova:{self.account[1]}:20778::::::\n'
        self.ran.append(args)
        if args[0] == 'usermod':
            self.account = [args[2], args[4]]
        return ''

    def test_open_and_restore(self):
        host.open_account('nova', self.record)
        self.assertEqual(['/bin/sh', '*'], self.account)
        host.open_account('nova', self.record)
        self.assertEqual(1, len(self.ran))
        with mock.patch.object(host, 'RUNNING', self.dir / 'none'):
            host.restore(self.cfg, host.Record(self.cfg))
        self.assertEqual(['/usr/sbin/nologin', '!'], self.account)

    def test_a_password_is_left_alone(self):
        self.account = ['/bin/sh', '$6$salt$hash']
        host.open_account('nova', self.record)
        self.assertEqual([], self.ran)

    def test_a_user_of_ours_goes_anyway(self):
        self.record.data['users'] = ['nova']
        host.open_account('nova', self.record)
        self.assertEqual(['/bin/sh', '*'], self.account)
        self.assertNotIn('accounts', self.record.data)


class RetireTest(TwoHosts):

    def setUp(self):
        super().setUp()
        self.domains = self.second.libvirt('etc') / 'qemu'
        self.domains.mkdir(parents=True)

    def test_left(self):
        self.assertFalse(secondhost.left(self.cfg))
        self.assertTrue(secondhost.left(
            dataclasses.replace(self.cfg, computes=1)))

    def test_with_servers_it_stays(self):
        (self.domains / 'instance-00000001.xml').touch()
        error = self.assertRaises(ui.Failure, secondhost.check_retirable,
                                  self.cfg)
        self.assertIn('instance-00000001', error.what)

    def test_without_servers_it_may_go(self):
        (self.domains / 'networks').mkdir()
        secondhost.check_retirable(self.cfg)


class MountsTest(test_aio.WithDirectory):

    def test_nothing_is_mounted_there(self):
        self.assertEqual([], secondhost.mounts_below(self.dir))

    def test_a_name_that_only_begins_alike_is_another(self):
        self.assertIn('/proc', secondhost.mounts_below(pathlib.Path('/proc')))
        self.assertEqual([], secondhost.mounts_below(pathlib.Path('/pro')))


class CommandLineTest(TwoHosts):

    def test_computes(self):
        parse = cli.parser().parse_args
        self.assertIsNone(parse(['up']).computes)
        self.assertEqual(2, parse(['up', '--computes', '2']).computes)

    def test_on(self):
        args = cli.parser().parse_args(
            ['on', 'aio2', 'virsh', 'list', '--all'])
        self.assertEqual(['virsh', 'list', '--all'], args.words)
