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
"""The all-in-one: settings, configuration, command line."""

import configparser
import io
import os
import pathlib
import tempfile
from unittest import mock

from oslotest import base

from tests.unit import tools  # noqa: F401  (finds aiolib)

# isort: split
from aiolib import cli
from aiolib import demo
from aiolib import logs
from aiolib import network
from aiolib import nodeconfig
from aiolib import nodes
from aiolib import pyenv
from aiolib import render
from aiolib import services
from aiolib import settings
from aiolib import steps
from aiolib import supervisor
from aiolib import ui


def parse(text):
    # Some options are there several times.
    parser = configparser.RawConfigParser(default_section='none', strict=False)
    parser.optionxform = str
    parser.read_string(text)
    return parser


class WithDirectory(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        # Below /var/tmp: TMPDIR may be a directory of mode 0700.
        directory = tempfile.TemporaryDirectory(dir='/var/tmp')
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)
        self.dir.chmod(0o755)
        self.cfg = settings.Settings(dir=self.dir / 'aio')


class SettingsTest(WithDirectory):

    def test_default_is_in_the_checkout(self):
        cfg = settings.load({}, checkout=self.dir)
        self.assertEqual(self.dir / '.aio', cfg.dir)
        self.assertEqual('auto', cfg.virt_type)
        self.assertFalse(cfg.dir.exists())

    def test_closed_checkout_gets_a_directory_elsewhere(self):
        checkout = self.dir / 'closed' / 'checkout'
        checkout.mkdir(parents=True)
        (self.dir / 'closed').chmod(0o700)
        other = self.dir / 'elsewhere'
        other.mkdir(0o700)
        with mock.patch('tempfile.mkdtemp', return_value=str(other)):
            cfg = settings.load({}, checkout=checkout)
        self.assertEqual(other, cfg.dir)
        self.assertEqual(0o755, other.stat().st_mode & 0o777)
        # The second time the link leads there.
        self.assertEqual(other, settings.load({}, checkout=checkout).dir)

    def test_closed_checkout_is_left_alone_by_reading_commands(self):
        self.dir.chmod(0o700)
        settings.load({}, checkout=self.dir, create=False)
        self.assertEqual([], list(self.dir.iterdir()))

    def test_chosen_directory_must_be_open(self):
        self.dir.chmod(0o700)
        error = self.assertRaises(
            ui.Failure, settings.load,
            {'AIO_DIR': str(self.dir / 'new')}, checkout=self.dir)
        self.assertIn('may not enter', error.what)

    def test_directory_with_a_space(self):
        self.assertRaises(ui.Failure, settings.load,
                          {'AIO_DIR': '/srv/a b'}, checkout=self.dir)

    def test_directory_of_somebody_else(self):
        (self.dir / 'file').touch()
        error = self.assertRaises(ui.Failure, settings.load,
                                  {'AIO_DIR': str(self.dir)},
                                  checkout=self.dir)
        self.assertIn('other things', error.what)
        (self.dir / 'host.json').touch()
        settings.load({'AIO_DIR': str(self.dir)}, checkout=self.dir)

    def test_unknown_virt_type(self):
        self.assertRaises(ui.Failure, settings.load,
                          {'AIO_VIRT_TYPE': 'xen'}, checkout=self.dir)

    def test_no_ipv6(self):
        cfg = settings.load({'AIO_PUBLIC_CIDR6': ''}, checkout=self.dir)
        self.assertEqual(['192.168.77.1/24'], network.host_addresses(cfg))


class RenderTest(WithDirectory):

    def test_ini(self):
        self.assertEqual('# Written by tools/aio.\n[a]\nx = true\ny = 1\n',
                         render.ini({'a': {'x': True, 'y': 1}}))

    def test_our_driver(self):
        conf = parse(render.nova_compute(
            nodes.first(self.cfg), 'containervm.ContainerVMDriver', 'qemu'))
        self.assertEqual('containervm.ContainerVMDriver',
                         conf['DEFAULT']['compute_driver'])
        self.assertEqual('container', conf['libvirt']['sub_virt_type'])
        self.assertEqual(f'{self.dir}/aio/base/minimal/base.qcow2',
                         conf['libvirt']['base_vm_image'])
        self.assertEqual('none', conf['libvirt']['cpu_mode'])

    def test_plain_driver_has_no_option_of_ours(self):
        conf = parse(render.nova_compute(
            nodes.first(self.cfg), 'libvirt.LibvirtDriver', 'kvm'))
        self.assertEqual({'virt_type': 'kvm'}, dict(conf['libvirt']))

    def test_every_service_has_its_login(self):
        conf = parse(render.nova(self.cfg))
        for group in ('keystone_authtoken', 'placement', 'glance', 'neutron',
                      'cinder', 'service_user'):
            self.assertEqual('service', conf[group]['username'])

    def test_qemu_user(self):
        self.assertIn('user = "libvirt-qemu"',
                      render.qemu_conf('libvirt-qemu'))
        self.assertIn('user = "root"', render.qemu_conf('root'))

    def test_sudo_allows_one_program_each(self):
        rules = [line for line in render.sudoers(self.cfg).splitlines()
                 if 'NOPASSWD' in line]
        self.assertEqual(
            [f'nova ALL=(root) NOPASSWD: {self.dir}/aio/venv/bin/'
             'privsep-helper *',
             f'openstack-aio ALL=(root) NOPASSWD: {self.dir}/aio/venv/bin/'
             f'cinder-rootwrap {self.dir}/aio/etc/cinder/rootwrap.conf *'],
            rules)


class ServicesTest(WithDirectory):

    def test_supervisor_gets_every_program(self):
        conf = parse(supervisor.render(self.cfg).replace('; Written', '#'))
        names = [p.name for p in services.programs(self.cfg)]
        self.assertEqual(len(names), len(set(names)))
        for name in names:
            self.assertEqual('false', conf[f'program:{name}']['autostart'])

    def test_every_program_has_a_stage(self):
        for program in services.programs(self.cfg):
            self.assertIn(program.stage,
                          (*services.STAGES, services.OPTIONAL))

    def test_compute_is_unprivileged_and_not_revived(self):
        conf = parse(supervisor.render(self.cfg).replace('; Written', '#'))
        compute = conf['program:nova-compute']
        self.assertEqual('nova', compute['user'])
        self.assertEqual('false', compute['autorestart'])

    def test_libvirtd_does_not_find_machined(self):
        conf = parse(supervisor.render(self.cfg).replace('; Written', '#'))
        self.assertIn('DBUS_SYSTEM_BUS_ADDRESS="unix:path=/nonexistent"',
                      conf['program:libvirtd']['environment'])

    def test_last_error_ends_with_the_exception(self):
        log = self.dir / 'log'
        prefix = '2026-01-01 00:00:00.0 1 '
        log.write_text('\n'.join(
            [f'{prefix}INFO start'] * 50 +
            [f'{prefix}ERROR nova Traceback', f'{prefix}ERROR nova ValueError']
            + [f'{prefix}INFO end'] * 50))
        self.assertIn('ValueError', supervisor.last_error(log))

    def test_demo_says_why_there_is_no_server(self):
        self.cfg.log.mkdir(parents=True)
        log = self.cfg.log / 'nova-compute.log'
        log.write_text('1 ERROR of before\n')
        tour = mock.Mock()

        def fail(*args):
            with open(log, 'a') as f:
                f.write('2 INFO create\n2 ERROR libvirtError: no bus\n')
            raise ui.Failure('the command ended with 1')

        tour.show.side_effect = fail
        error = self.assertRaises(ui.Failure, demo._server, self.cfg, tour)
        self.assertIn('no bus', error.detail)
        self.assertNotIn('before', error.detail)

    def test_last_error_without_an_error(self):
        log = self.dir / 'log'
        log.write_text('one\ntwo\n')
        self.assertEqual('one\ntwo', supervisor.last_error(log))

    def test_last_error_ignores_what_is_older(self):
        log = self.dir / 'log'
        log.write_text('1 ERROR old\n')
        begin = logs.mark(log)
        with log.open('a') as f:
            f.write('new\n')
        self.assertEqual('new', supervisor.last_error(log, begin))

    def test_finish_program_that_ends_just_then(self):
        """Between the look at it and the signal nova-compute may be gone."""
        self.cfg.log.mkdir(parents=True)
        compute = next(p for p in services.programs(self.cfg) if p.idle_mark)
        log = self.cfg.log / f'{compute.name}.log'
        log.write_text('')
        of_program = mock.Mock(side_effect=[41, 41, 41, 0])
        rpc = mock.Mock()
        rpc.getAllProcessInfo.side_effect = lambda: [
            {'name': compute.name, 'pid': of_program()}]
        rpc.stopProcess.side_effect = lambda *args: log.write_text(
            f'{compute.idle_mark}\n')
        with mock.patch.object(supervisor.Supervisor, 'rpc', rpc), \
                mock.patch.object(supervisor.os, 'killpg',
                                  side_effect=ProcessLookupError) as kill:
            supervisor.Supervisor(self.cfg).finish_program(compute)
        kill.assert_called_once_with(41, supervisor.signal.SIGKILL)
        self.assertEqual(4, of_program.call_count)


class AgentsTest(base.BaseTestCase):

    def test_missing_ports(self):
        port = '0123456789abcdef'
        dhcp = f'n1 network:dhcp {port} '
        for rows, present, missing in (
                ([dhcp + 'ACTIVE'], ['tap0123456789a'], set()),
                ([dhcp + 'ACTIVE'], [], {'tap0123456789a'}),
                ([dhcp + 'DOWN'], ['tap0123456789a'], {'tap0123456789a'}),
                (['n1 - - -'], [], {'DHCP of network n1'}),
                ([dhcp + 'ACTIVE', f'n1 network:router_interface {port} DOWN'],
                 ['tap0123456789a', 'qr-0123456789a'], {'qr-0123456789a'}),
                ([dhcp + 'ACTIVE', f'n1 network:floatingip {port} N/A'],
                 ['tap0123456789a'], set()),
                (['n1 network:router_gateway %s ACTIVE' % port],
                 ['qg-0123456789a'], {'DHCP of network n1'})):
            self.assertEqual(missing, network.missing_ports(rows, present),
                             rows)


class ChangesTest(base.BaseTestCase):

    def affected(self, *changed):
        cfg = settings.Settings(dir=pathlib.Path('/srv/aio'))
        return {p.name for p in services.programs(cfg)
                if steps.uses_changed(p.name, set(changed))}

    def test_compute_settings_concern_compute_only(self):
        self.assertEqual({'nova-compute'},
                         self.affected('nova/nova-compute.conf'))

    def test_neutron(self):
        found = self.affected('neutron/neutron.conf')
        self.assertIn('neutron-rpc', found)
        self.assertIn('neutron-ovs-agent', found)
        self.assertNotIn('vswitchd', found)
        self.assertNotIn('nova-api', found)

    def test_one_agent(self):
        for name, path in (('ovs', 'openvswitch'), ('dhcp', 'dhcp')):
            self.assertEqual({f'neutron-{name}-agent'},
                             self.affected(f'neutron/{path}_agent.ini'))

    def test_one_api(self):
        self.assertEqual({'glance'}, self.affected('uwsgi/glance.ini'))

    def test_client_settings_concern_nobody(self):
        self.assertEqual(set(), self.affected('clouds.yaml'))


class NewCodeTest(WithDirectory):

    def setUp(self):
        super().setUp()
        self.cfg.venv.mkdir(parents=True)
        self.stamp = pyenv.project_stamp(self.cfg)
        self.stamp.touch()
        open_ = mock.patch.object(settings.Settings, 'checkout_is_open', False)
        open_.start()
        self.addCleanup(open_.stop)

    def newer(self, installed, started, state='RUNNING'):
        os.utime(self.stamp, (installed, installed))
        return steps.code_is_newer(self.cfg, {
            'nova-compute': {'statename': state, 'start': started}})

    def test_installed_before(self):
        self.assertFalse(self.newer(100, 200))

    def test_installed_since(self):
        self.assertTrue(self.newer(300, 200))

    def test_stopped(self):
        self.assertFalse(self.newer(300, 200, 'STOPPED'))


class NodeConfigTest(WithDirectory):

    def setUp(self):
        super().setUp()
        self.cfg.state.mkdir(parents=True)
        self.node = nodeconfig.NodeConfig(nodes.first(self.cfg))

    def test_set_and_take_away(self):
        self.node.set('libvirt.virt_type=qemu')
        self.node.set('DEFAULT.debug = false')
        self.assertEqual('# Written by tools/aio.\n[DEFAULT]\ndebug = false\n'
                         '[libvirt]\nvirt_type = qemu\n', self.node.render())
        self.node.set('libvirt.virt_type=')
        self.assertNotIn('virt_type', self.node.render())

    def test_value_with_equals_sign(self):
        self.node.set('libvirt.cpu_models=a=b')
        self.assertIn('cpu_models = a=b', self.node.render())

    def test_set_without_a_group(self):
        self.assertRaises(ui.Failure, self.node.set, 'debug=true')

    def test_set_file(self):
        path = self.dir / 'more.conf'
        path.write_text('[DEFAULT]\ndebug = true\n[containervm]\na = b\n')
        self.node.set(str(path))
        self.assertEqual({('DEFAULT', 'debug'): 'true',
                          ('containervm', 'a'): 'b'}, self.node.options)

    def test_set_missing_file(self):
        self.assertRaises(ui.Failure, self.node.set, '/nonexistent')

    def test_settings_are_kept(self):
        self.node.set('libvirt.virt_type=qemu')
        self.node.qemu_user = 'root'
        self.node.save()
        again = nodeconfig.NodeConfig(nodes.first(self.cfg))
        self.assertEqual(self.node.options, again.options)
        self.assertEqual('root', again.qemu_user)


class CommandLineTest(base.BaseTestCase):

    def test_reconfigure(self):
        args = cli.parser().parse_args(
            ['reconfigure', '--set', 'a.b=c', '--set', 'file', '--reset',
             '--qemu-user', 'root'])
        self.assertEqual(['a.b=c', 'file'], args.sets)
        self.assertEqual('root', args.qemu_user)
        self.assertTrue(args.reset)

    def test_wipe_only_options(self):
        with mock.patch('sys.stderr', new=io.StringIO()) as err:
            self.assertEqual(1, cli.main(['down', '--packages']))
        self.assertIn('--wipe', err.getvalue())

    def test_unknown_image(self):
        with mock.patch('sys.stderr', new=io.StringIO()):
            self.assertRaises(SystemExit, cli.parser().parse_args,
                              ['image', 'nothing'])

    def test_help_of_every_command(self):
        for name in ('up', 'down', 'status', 'env', 'logs', 'restart',
                     'reconfigure', 'demo', 'image'):
            with mock.patch('sys.stdout', new=io.StringIO()) as out:
                self.assertRaises(SystemExit, cli.parser().parse_args,
                                  [name, '--help'])
            self.assertIn('usage: tools/aio', out.getvalue())

    def test_failure_is_shown_with_its_remedy(self):
        out = io.StringIO()
        ui.Failure('what', 'remedy', 'line 1\nline 2').show(out)
        self.assertEqual('\nFAILED: what\n    | line 1\n    | line 2\n'
                         'What to do: remedy\n', out.getvalue())
