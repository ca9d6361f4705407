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
"""tools/tempest: its configuration, choosing tests, and comparing results."""

import configparser
import contextlib
import io
import pathlib
import re
import tempfile
from unittest import mock

import ddt
from oslotest import base

from tests.unit import tools  # noqa: F401  (finds aiolib and tempestlib)

# isort: split
from aiolib import nodeconfig
from aiolib import nodes
from aiolib import settings
from aiolib import ui
from tempestlib import cli
from tempestlib import features
from tempestlib import results
from tempestlib import selection
from tempestlib import workspace

SERVERS = 'tempest.api.compute.servers.'
IDS = [SERVERS + name for name in (
    'test_a.FirstTest.test_one[id-1,smoke]',
    'test_a.FirstTest.test_two[id-2]',
    'test_a.SecondTest.test_one[id-3]',
    'test_b.ThirdTest.test_one[id-4]')]
NAMES = [selection.name_of(i) for i in IDS]
PREPARED = {'images': ['1111', '2222'], 'flavors': ['small', 'large'],
            'public': '3333'}
IMAGE = {'file': '/image.tar', 'container_format': 'docker',
         'disk_format': 'raw'}


def outcome(status, reason='', seconds=1):
    return {'status': status, 'seconds': seconds, 'reason': reason}


class DirectoryTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)
        self.cfg = settings.Settings(dir=self.dir)


@ddt.ddt
class FeaturesTest(DirectoryTestCase):

    def conf(self, what):
        parser = configparser.RawConfigParser()
        parser.read_string(features.tempest_conf(
            self.cfg, what, IMAGE, PREPARED, '/somewhere'))
        return parser

    def test_image_that_scenarios_upload(self):
        group = self.conf(features.Subject('container'))['scenario']
        self.assertEqual(
            ('/image.tar', 'docker', 'raw'),
            (group['img_file'], group['img_container_format'],
             group['img_disk_format']))

    @ddt.data(
        # image, transport, hosts, then what is on
        ('container', '9p', 1, set()),
        ('container', 'virtiofs', 2, {'cold_migration'}),
        ('container', 'block', 1, {'suspend'}),
        ('container', 'block', 2, {'suspend', 'live_migration',
                                   'cold_migration'}),
        ('plain', '9p', 1, {'suspend', 'rescue', 'stable_rescue'}),
        ('plain', '9p', 2, {'suspend', 'rescue', 'stable_rescue',
                            'live_migration', 'cold_migration'}),
    )
    @ddt.unpack
    def test_what_depends(self, image, transport, computes, expected):
        group = self.conf(features.Subject(
            image, transport=transport,
            computes=computes))['compute-feature-enabled']
        on = {name for name in ('suspend', 'rescue', 'stable_rescue',
                                'live_migration', 'cold_migration')
              if group.getboolean(name)}
        self.assertEqual(expected, on)
        for name in ('resize', 'snapshot', 'shelve', 'pause',
                     'interface_attach', 'console_output'):
            self.assertTrue(group.getboolean(name), name)

    def test_flags_are_those_of_the_support_matrix(self):
        """What the matrix says that it cannot do is off, and no more."""
        matrix = configparser.ConfigParser()
        matrix.read(settings.CHECKOUT /
                    'doc/source/reference/support-matrix.ini')
        for transport, column in (('9p', '9p-disk'),
                                  ('virtiofs', 'virtiofs-disk'),
                                  ('block', 'block')):
            group = features.compute_features(features.Subject(
                'container', transport=transport, computes=2))
            for flag, operation in (
                    ('suspend', 'suspend'), ('rescue', 'rescue'),
                    ('live_migration', 'live-migrate'),
                    ('cold_migration', 'cold-migrate'), ('resize', 'resize'),
                    ('snapshot', 'snapshot'), ('shelve', 'shelve'),
                    ('pause', 'pause'), ('console_output', 'console-log'),
                    ('change_password', 'set-admin-password'),
                    ('vnc_console', 'vnc-console')):
                self.assertEqual(
                    matrix['operation.' + operation]['driver.' + column] !=
                    'missing', group[flag], (transport, flag))

    def test_objects(self):
        conf = self.conf(features.Subject('container', computes=2))
        self.assertEqual('1111', conf['compute']['image_ref'])
        self.assertEqual('2222', conf['compute']['image_ref_alt'])
        self.assertEqual('small', conf['compute']['flavor_ref'])
        self.assertEqual('large', conf['compute']['flavor_ref_alt'])
        self.assertEqual('2', conf['compute']['min_compute_nodes'])
        self.assertEqual('3333', conf['network']['public_network_id'])
        self.assertIn('ContainerVMFilter', conf['compute-feature-enabled'][
            'scheduler_enabled_filters'].split(','))

    def test_logins_need_an_ssh_server(self):
        conf = self.conf(features.Subject('container'))
        self.assertFalse(conf['validation'].getboolean('run_validation'))
        self.assertEqual('private', conf['compute']['fixed_network_name'])
        conf = self.conf(features.Subject('container', ssh=True))
        self.assertTrue(conf['validation'].getboolean('run_validation'))
        self.assertEqual('private', conf['compute']['fixed_network_name'])
        self.assertEqual('floating', conf['validation']['connect_method'])

    def test_subject_is_what_runs(self):
        node = nodes.first(self.cfg)
        node.nova_conf.parent.mkdir(parents=True)
        node.nova_conf.write_text(
            '[DEFAULT]\ncompute_driver = containervm.ContainerVMDriver\n'
            '[serial_console]\nenabled = true\n')
        self.assertEqual(
            features.Subject('plain', features.OURS, '9p', 1, True),
            features.subject(self.cfg, 'plain'))
        node.state.mkdir(parents=True)
        config = nodeconfig.NodeConfig(node)
        config.set('DEFAULT.compute_driver=libvirt.LibvirtDriver')
        config.set('containervm.rootfs_transport=block')
        config.leave_out('serial_console.enabled')
        config.save()
        self.assertEqual(
            features.Subject('plain', features.LIBVIRT, 'block', 1, False),
            features.subject(self.cfg, 'plain'))


class SelectionTest(base.BaseTestCase):

    def test_all(self):
        self.assertEqual(sorted(IDS), selection.choose(IDS[::-1]))

    def test_regex(self):
        self.assertEqual(IDS[:2], selection.choose(
            IDS, regex=SERVERS + 'test_a', exclude='Second'))

    def test_names_with_and_without_attributes(self):
        self.assertEqual([IDS[0], IDS[3]], selection.choose(
            IDS, names=[NAMES[3], IDS[0]]))

    def test_unknown_name(self):
        failure = self.assertRaises(ui.Failure, selection.choose, IDS,
                                    names=[NAMES[0], 'tempest.nonsense'])
        self.assertIn('tempest.nonsense', str(failure))

    def test_nothing_left(self):
        self.assertRaises(ui.Failure, selection.choose, IDS, regex='nova')

    def test_shards(self):
        """Each test is in one, with all of its class."""
        shards = [selection.choose(IDS, shard=(n, 2)) for n in (1, 2)]
        self.assertEqual(sorted(IDS), sorted(shards[0] + shards[1]))
        self.assertFalse({selection.class_of(i) for i in shards[0]} &
                         {selection.class_of(i) for i in shards[1]})
        self.assertEqual((2, 3), selection.shard('2/3'))
        for text in ('0/3', '4/3', '2', 'a/b', '1/'):
            self.assertRaises(ValueError, selection.shard, text)

    def test_sets(self):
        for regex, _text in selection.SETS.values():
            for name in (SERVERS + 'test_server_actions.A.test_b',
                         'tempest.scenario.test_server_basic_ops.A.test_b'):
                self.assertTrue(re.match(regex, name), (regex, name))
            for name in ('tempest.api.volume.test_a.A.test_b',
                         'tempest.scenario.test_object_storage_basic_ops.A.b',
                         'tempest.serial_tests.api.compute.test_a.A.test_b'):
                self.assertFalse(re.match(regex, name), (regex, name))


class ResultsTest(DirectoryTestCase):

    def test_outcomes_of_classes_are_spread(self):
        found = results.spread([
            {'id': IDS[0], **outcome('pass')},
            {'id': IDS[1], **outcome('fail', 'oh')},
            {'id': f'setUpClass ({SERVERS}test_a.SecondTest)',
             **outcome('skip', 'no such feature', 0)},
            {'id': f'tearDownClass ({SERVERS}test_a.FirstTest)',
             **outcome('pass')}], IDS)
        self.assertEqual({
            NAMES[0]: outcome('pass'), NAMES[1]: outcome('fail', 'oh'),
            NAMES[2]: outcome('skip', 'no such feature', 0),
            NAMES[3]: outcome('fail', 'it has no result', 0)}, found)

    def test_tests_that_were_ended_have_no_result(self):
        found = results.spread([
            {'id': IDS[0], **outcome('pass')},
            {'id': f'setUpClass ({SERVERS}test_a.SecondTest)',
             **outcome('skip', 'no')}], IDS, complete=False)
        self.assertEqual({NAMES[0], NAMES[2]}, set(found))

    def test_failed_cleanup_is_a_failure(self):
        found = results.spread([
            {'id': IDS[3], **outcome('pass')},
            {'id': f'tearDownClass ({SERVERS}test_b.ThirdTest)',
             **outcome('fail', 'a server stays')}], IDS[3:])
        self.assertEqual({
            NAMES[3]: outcome('pass'),
            f'{SERVERS}test_b.ThirdTest.tearDownClass':
                outcome('fail', 'a server stays')}, found)

    def test_failed_cleanup_is_repeated_with_its_class(self):
        first, second, third, fourth = NAMES
        end = f'{SERVERS}test_a.FirstTest.tearDownClass'
        tests = {first: outcome('pass'), second: outcome('pass'),
                 third: outcome('pass'), fourth: outcome('fail'),
                 end: outcome('fail')}
        self.assertEqual([first, second, fourth], results.to_repeat(tests))
        path = self.dir / 'some.json'
        subject = {'image': 'plain'}
        results.save(path, subject, tests)
        results.save(path, subject, {fourth: outcome('pass')}, append=True)
        self.assertIn(end, results.load(path)['tests'])
        results.save(path, subject, {first: outcome('pass')}, append=True)
        self.assertNotIn(end, results.load(path)['tests'])

    def test_append(self):
        path = self.dir / 'new' / 'some.json'
        one, other = {'image': 'plain'}, {'image': 'container'}
        results.save(path, one, {'a': outcome('pass'), 'b': outcome('fail')})
        results.save(path, one, {'b': outcome('pass'), 'c': outcome('skip')},
                     append=True)
        self.assertEqual({'a': outcome('pass'), 'b': outcome('pass'),
                          'c': outcome('skip')}, results.load(path)['tests'])
        self.assertRaises(ui.Failure, results.save, path, other,
                          {'d': outcome('pass')}, append=True)
        results.save(path, other, {'d': outcome('pass')})
        self.assertEqual({'subject': other, 'tests': {'d': outcome('pass')}},
                         results.load(path))

    def test_no_result(self):
        path = self.dir / 'some.json'
        self.assertRaises(ui.Failure, results.load, path)
        path.write_text('[]')
        self.assertRaises(ui.Failure, results.load, path)

    def test_compare(self):
        first = {'both': outcome('pass'), 'fails': outcome('pass'),
                 'skips': outcome('pass'), 'missing': outcome('pass'),
                 'never': outcome('fail'), 'gained': outcome('skip')}
        second = {'both': outcome('pass'), 'fails': outcome('fail'),
                  'skips': outcome('skip'), 'never': outcome('fail'),
                  'gained': outcome('pass'), 'more': outcome('pass')}
        self.assertEqual({'failed': ['fails'], 'skipped': ['skips'],
                          'not_run': ['missing'], 'gained': ['gained']},
                         results.compare(first, second))

    def test_judge(self):
        tests = {'known': outcome('fail'), 'new': outcome('fail'),
                 'mended': outcome('pass'), 'fine': outcome('pass'),
                 'off': outcome('skip')}
        self.assertEqual((['new'], ['mended']), results.judge(
            tests, dict.fromkeys(('known', 'mended', 'off', 'not run'),
                                 'reason')))

    def test_judge_class(self):
        """A class that cannot be set up stands once."""
        tests = {'a.B.test_c': outcome('fail'), 'a.B.test_d': outcome('pass'),
                 'a.BC.test_c': outcome('fail')}
        self.assertEqual((['a.BC.test_c'], ['a.B.test_d']),
                         results.judge(tests, {'a.B': 'reason'}))

    def test_by_reason(self):
        tests = {'a': outcome('fail', 'x'), 'b': outcome('fail', 'x'),
                 'c': outcome('fail', 'y'), 'd': outcome('skip', 'x')}
        self.assertEqual({'x': ['a', 'b'], 'why': ['c']}, results.by_reason(
            tests, 'fail', {'c': 'why', 'd': 'why'}))

    def test_expected(self):
        path = self.dir / 'expected.ini'
        path.write_text('[plain]\n'
                        'tempest.api.A.test_b = Nova: no, it = does not\n'
                        '[no login]\n'
                        'tempest.scenario.B.test_c = logs in\n')
        without = {'tempest.scenario.B.test_c': 'logs in'}
        plain = {'tempest.api.A.test_b': 'Nova: no, it = does not'}
        for kind, ssh, expected in (
                ('plain', True, plain), ('plain', False, plain | without),
                ('container', True, {}), ('container', False, without)):
            self.assertEqual(expected,
                             results.expected(kind, ssh, path=path))

    def test_expected_is_documented(self):
        text = (settings.CHECKOUT /
                'doc/source/reference/tempest.rst').read_text()
        for kind in features.KINDS:
            for name, reason in results.expected(kind).items():
                self.assertTrue(name.startswith('tempest.'), name)
                self.assertGreater(len(reason), 20, name)
                self.assertIn('.'.join(name.split('.')[-2:]), text)


class CommandTest(DirectoryTestCase):

    def setUp(self):
        super().setUp()
        for name, status in (('one', 'pass'), ('other', 'fail')):
            results.save(
                self.cfg.cache / f'tempest/results/{name}.json',
                {'image': 'plain'}, {NAMES[0]: outcome(status, 'broken'),
                                     NAMES[1]: outcome('pass')})
        patch = mock.patch.object(cli.settings_mod, 'load',
                                  return_value=self.cfg)
        patch.start()
        self.addCleanup(patch.stop)

    def run_command(self, *args):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), \
                mock.patch.dict(ui.PROGRESS, file=out):
            status = cli.main(args)
        return status, out.getvalue()

    def test_compare(self):
        status, text = self.run_command('compare', 'one', 'other')
        self.assertEqual(1, status)
        self.assertIn('1 pass in the first and fail in the second\n'
                      f'    {NAMES[0]}: broken\n', text)
        self.assertEqual(0, self.run_command('compare', 'other', 'one')[0])

    def test_show(self):
        status, text = self.run_command('show', 'other')
        self.assertEqual(0, status)
        self.assertIn('1 passed, 1 failed, 0 left out', text)
        self.assertIn(f'  broken\n    {NAMES[0]}', text)

    def _clouds(self, driver):
        node = nodes.first(self.cfg)
        node.nova_conf.parent.mkdir(parents=True)
        node.nova_conf.write_text(f'[DEFAULT]\ncompute_driver = {driver}\n')

    def test_run(self):
        """Twice: what has a result is not run again."""
        self._clouds(features.OURS)
        with mock.patch.object(cli.aio, 'running'), \
                mock.patch.object(cli, 'prepared_workspace') as prepared, \
                mock.patch.multiple(
                    cli.cloud, image_files=mock.DEFAULT, sweep=mock.DEFAULT,
                    prepare=mock.Mock(return_value=PREPARED)) as cloud:
            cloud['sweep'].return_value = ['server tempest-x']
            work = workspace.Workspace(self.cfg)
            work.work.mkdir(parents=True)
            (work.work / 'tests-no-login.txt').write_text('\n'.join(IDS))
            prepared.return_value = work
            work.run = mock.Mock(return_value=(
                [{'id': IDS[0], **outcome('pass')}], False))
            command = ('run', '--image', 'container', '--limit', '2',
                       '--concurrency', '3')
            status, text = self.run_command(*command)
            self.assertEqual(0, status)
            work.run.assert_called_once_with(IDS, 3, 120)
            self.assertIn('3 not run: --resume', text)
            self.assertIn('(server tempest-x)', text)
            conf = work.conf.read_text()
            self.assertIn('image_ref = 1111', conf)
            work.run.return_value = ([
                {'id': i, **outcome('pass')} for i in IDS[1:3]], True)
            status, text = self.run_command(*command, '--resume')
        work.run.assert_called_with(IDS[1:], 3, 120)
        self.assertEqual(1, status)
        self.assertIn(f'FAILED {NAMES[3]}: it has no result', text)
        self.assertEqual(2, cloud['sweep'].call_count)
        data = results.load(work.result('container-containervm'))
        self.assertEqual({'pass': 3, 'fail': 1, 'skip': 0},
                         results.count(data['tests']))

    def test_driver_is_as_before_after_a_failure(self):
        self._clouds(features.OURS)
        with mock.patch.object(cli.aio, 'running'), \
                mock.patch.object(cli, 'prepared_workspace') as work, \
                mock.patch.object(cli.nodeconfig, 'reconfigure') as change, \
                mock.patch.multiple(
                    cli.cloud, image_files=mock.DEFAULT,
                    sweep=mock.Mock(return_value=[]),
                    prepare=mock.Mock(side_effect=ui.Failure('broken'))), \
                contextlib.redirect_stderr(io.StringIO()) as err:
            work.return_value.tests.return_value = IDS
            status, _text = self.run_command('run', '--image', 'plain',
                                             '--driver', 'libvirt')
        self.assertEqual(1, status)
        self.assertIn('broken', err.getvalue())
        self.assertEqual(
            [['DEFAULT.compute_driver=libvirt.LibvirtDriver'],
             ['DEFAULT.compute_driver=']],
            [call.args[2] for call in change.call_args_list])

    def test_docker_image_needs_our_driver(self):
        self._clouds(features.LIBVIRT)
        with mock.patch.object(cli.aio, 'running'), \
                mock.patch.object(cli, 'prepared_workspace') as work, \
                mock.patch.object(cli.cloud, 'prepare') as prepare, \
                contextlib.redirect_stderr(io.StringIO()) as err:
            work.return_value.tests.return_value = IDS
            status = self.run_command('run', '--image', 'container')[0]
        self.assertEqual(1, status)
        self.assertIn('does not boot docker images', err.getvalue())
        prepare.assert_not_called()
