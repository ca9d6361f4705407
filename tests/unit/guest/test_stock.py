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

"""Contracts made in the guest, of what Nova itself tells every guest."""

import contextlib
import http.server
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest
from unittest import mock

import ddt
from nova.network import model
from nova.virt import netutils

from nova_containervm.baseimage import pythontree
from nova_containervm.guest import errors
from nova_containervm.guest import network as network_lib
from nova_containervm.guest.stock import main
from nova_containervm.guest.stock import metadata
from nova_containervm.guest.stock import networkdata
from nova_containervm.images import diskfile
from tests.unit.guest import test_network

MAC = test_network.MAC
UUID = '11111111-2222-3333-4444-555555555555'
META = {'uuid': UUID, 'hostname': 'web1.novalocal', 'name': 'Web 1',
        'meta': {'containervm_env_A': 'of the server', 'other': 'x'}}
USER_DATA = b'#containervm\ncommand: [/bin/two, words]\n'


def network_data(*vifs):
    """As a guest reads it."""
    return json.loads(json.dumps(netutils.get_network_metadata(
        model.NetworkInfo(vifs))))


class NetworkDataTest(unittest.TestCase):

    def test_static(self):
        """As of the model itself, which the driver uses."""
        vifs = (
            test_network.vif(
                test_network.subnet(
                    '10.0.0.0/24', ['10.0.0.5'], '10.0.0.1', ['8.8.8.8'],
                    [('10.9.0.0/16', '10.0.0.9'),
                     ('10.8.0.0/16', '192.168.7.7')]),
                test_network.subnet('fd00::/64', ['fd00::5'], 'fd00::1',
                                    ['fd00::53'], version=6),
                mtu=1450),
            test_network.vif(
                test_network.subnet('10.1.0.0/24', ['10.1.0.5'],
                                    dns=['8.8.8.8']),
                address='FA:16:3e:00:00:02'))
        self.assertEqual(
            network_lib.from_network_info(model.NetworkInfo(vifs)),
            networkdata.parse(network_data(*vifs)))

    def test_dhcp(self):
        found = networkdata.parse(network_data(test_network.vif(
            test_network.subnet('10.0.0.0/24', ['10.0.0.5'], '10.0.0.1',
                                ['8.8.8.8'], dhcp_server='10.0.0.2'),
            test_network.subnet('fd00::/64', ['fd00::5'], 'fd00::1',
                                version=6, ipv6_address_mode='slaac'))))
        self.assertEqual(network_lib.Network(
            nics=(network_lib.Nic(mac=MAC, dhcp=('4', '6')),),
            dns=('8.8.8.8',)), found)

    def test_nothing(self):
        for data in (None, {}, {'links': [], 'networks': []},
                     network_data()):
            self.assertEqual(network_lib.Network(), networkdata.parse(data))

    def test_nonsense(self):
        good = network_data(test_network.vif(test_network.subnet(
            '10.0.0.0/24', ['10.0.0.5'], '10.0.0.1')))
        for path, value in (
                (('links',), 7), (('links',), ['x']), (('networks',), [{}]),
                (('links', 0, 'mtu'), 'much'),
                (('networks', 0, 'ip_address'), '10.0.0.5\n'),
                (('networks', 0, 'netmask'), '255.0.255.0'),
                (('networks', 0, 'netmask'), '99'),
                (('networks', 0, 'routes'), [{'network': '0.0.0.0'}]),
                (('networks', 0, 'routes', 0, 'gateway'), 'x; reboot'),
                (('services',), [{'type': 'dns', 'address': 'x'}])):
            broken = json.loads(json.dumps(good))
            at = broken
            for step in path[:-1]:
                at = at[step]
            at[path[-1]] = value
            with self.subTest(path=path), \
                    self.assertRaisesRegex(ValueError, 'network_data.json'):
                networkdata.parse(broken)


class _Service(http.server.BaseHTTPRequestHandler):

    def do_GET(self):
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path.rpartition('/')[2], 404)
        if isinstance(answer, list):
            answer = answer.pop(0)
        status, body = (answer, b'') if isinstance(answer, int) else (
            200, answer)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@ddt.ddt
class MetadataTest(unittest.TestCase):

    def service(self, answers, patience=0):
        with http.server.HTTPServer(('127.0.0.1', 0), _Service) as server:
            server.answers, server.asked = dict(answers), []
            thread = threading.Thread(target=server.serve_forever,
                                      kwargs={'poll_interval': 0.01})
            thread.start()
            try:
                return metadata.from_service('127.0.0.1', server.server_port,
                                             patience)
            finally:
                server.shutdown()
                thread.join()
                self.asked = server.asked

    def drive(self, files):
        with tempfile.TemporaryDirectory() as path:
            top = pathlib.Path(path, 'openstack/latest')
            top.mkdir(parents=True)
            for name, content in files.items():
                (top / name).write_bytes(content)
            return metadata.from_drive(path)

    @ddt.data('service', 'drive')
    def test_all(self, way):
        found = getattr(self, way)({
            'meta_data.json': json.dumps(META).encode(),
            'network_data.json': b'{"links": []}', 'user_data': b'\xff'})
        self.assertEqual(metadata.Metadata(META, {'links': []}, b'\xff'),
                         found)

    @ddt.data('service', 'drive')
    def test_least(self, way):
        found = getattr(self, way)({'meta_data.json': b'{}'})
        self.assertEqual(metadata.Metadata({}), found)
        found = getattr(self, way)({'meta_data.json': b'{}',
                                    'network_data.json': b'null'})
        self.assertEqual(metadata.Metadata({}), found)

    @ddt.data('service', 'drive')
    def test_fails(self, way):
        for files, message in (
                ({}, 'meta_data.json'),
                ({'meta_data.json': b'{'}, 'meta_data.json: '),
                ({'meta_data.json': b'[]'}, 'no JSON object'),
                ({'meta_data.json': b'[' * 100000}, 'meta_data.json: '),
                ({'meta_data.json': b'{}', 'network_data.json': b'\xff'},
                 'network_data.json: '),
                ({'meta_data.json': b' ' * (metadata.MAX_BYTES + 1)},
                 'longer than')):
            with self.subTest(message=message), \
                    self.assertRaisesRegex(metadata.MetadataError, message):
                getattr(self, way)(files)

    @mock.patch.object(metadata, '_PAUSE', 0)
    def test_service_is_asked_again(self):
        found = self.service({
            'meta_data.json': [500, 404, json.dumps(META).encode()],
            'user_data': [503, b'x']}, patience=60)
        self.assertEqual((META, b'x'), (found.meta, found.user_data))
        self.assertEqual(
            ['/openstack/latest/' + name for name in (
                *['meta_data.json'] * 3, 'network_data.json',
                *['user_data'] * 2)], self.asked)

    def test_nobody_answers(self):
        with self.assertRaisesRegex(metadata.MetadataError, 'refused'):
            metadata.from_service('127.0.0.1', 1, 0)


def description(**config):
    found = diskfile.Description('erofs')
    found.config = {'os': 'linux', 'config': {
        'Cmd': ['/bin/run'], 'Env': ['A=of the image', 'B=b'], **config}}
    found.passwd = b'app:x:7:8::/home/app:/bin/sh\n'
    return found


class ContractTest(unittest.TestCase):

    def test_of_metadata(self):
        about = description(User='app')
        about.properties = {'containervm_env_A': 'of the disk',
                            'containervm_env_C': 'of the disk',
                            'containervm_tty': 'true'}
        made = main.build(about, metadata.Metadata(META, network_data(
            test_network.vif(test_network.subnet(
                '10.0.0.0/24', ['10.0.0.5'], '10.0.0.1'))), USER_DATA))
        said = made.guest_json()
        self.assertEqual(
            (UUID, 'web1', 'block', 'disk', 'crun', ''),
            (said['instance'], said['hostname'], said['transport'],
             said['writable'], said['runtime'], said['channel']))
        process = said['process']
        self.assertEqual((['/bin/two', 'words'], 7, True),
                         (process['args'], process['uid'], process['tty']))
        for entry in ('A=of the server', 'B=b', 'C=of the disk'):
            self.assertIn(entry, process['env'])
        self.assertEqual(['10.0.0.5/24'], list(said['nics'][0]['addresses']))

    def test_of_nothing(self):
        made = main.build(description(), metadata.Metadata({}))
        self.assertEqual(('container', []), (made.guest_json()['hostname'],
                                             made.guest_json()['nics']))

    def test_other_user_data_is_the_users(self):
        made = main.build(description(), metadata.Metadata(
            {}, None, b'#cloud-config\n'))
        self.assertEqual(('/bin/run',), made.container.args)

    def test_bad_override(self):
        with self.assertRaisesRegex(errors.ContractError, 'server metadata'):
            main.build(description(), metadata.Metadata(
                {'meta': {'containervm_shm_size': 'big'}}))

    def test_check(self):
        main.check(description())
        with self.assertRaises(errors.ContractError):
            main.check(description(Cmd=None))


class MainTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)
        top = self.dir / 'drive/openstack/latest'
        top.mkdir(parents=True)
        (self.dir / 'out').mkdir()
        (top / 'meta_data.json').write_text(json.dumps(META))
        about = description()
        # What it begins with stands for a filesystem.
        (self.dir / 'disk').write_bytes(b'hsqs'.ljust(8192, b'\0'))
        with open(self.dir / 'disk', 'r+b') as disk:
            diskfile.append(disk, 'squashfs', 'amd64', about.config,
                            properties={'containervm_env_C': 'c'})
        self.words = [str(self.dir / 'disk'), str(self.dir / 'out'),
                      f'drive:{self.dir}/drive']

    def test_files(self):
        self.assertEqual(0, main.main(self.words))
        self.assertEqual(['config.json', 'guest.env', 'guest.json'],
                         sorted(os.listdir(self.dir / 'out')))
        env = json.loads((self.dir / 'out/config.json').read_text())[
            'process']['env']
        self.assertIn('A=of the server', env)
        self.assertIn('C=c', env)

    def test_without_metadata(self):
        self.assertEqual(0, main.main([*self.words[:2], 'none']))

    def test_one_line_says_why_not(self):
        for number, word, message in (
                (0, '/no/disk', '/no/disk: No such file'),
                (0, '/bin/sh', 'does not begin with a filesystem'),
                (1, '/no/directory', 'No such file'),
                (2, 'drive:/no/drive', 'has no openstack/latest')):
            words = list(self.words)
            words[number] = word
            err = io.StringIO()
            with self.subTest(word=word), contextlib.redirect_stderr(err):
                self.assertEqual(1, main.main(words))
            self.assertRegex(err.getvalue(), f'^.*{message}.*\n$')

    def test_needs_nothing_else(self):
        """Not of Nova, nor of our modules, beside what is in the disk."""
        package = pathlib.Path(pythontree.__file__).parents[1]
        for pattern in pythontree.OWN:
            for source in package.glob(pattern):
                copy = self.dir / 'lib/nova_containervm' / source.relative_to(
                    package)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(source.read_bytes())
        import yaml
        os.symlink(pathlib.Path(yaml.__file__).parent, self.dir / 'lib/yaml')
        code = ('import sys; sys.path.append(%r); '
                'from nova_containervm.guest.stock import main; '
                'sys.exit(main.main(sys.argv[1:]))' % str(self.dir / 'lib'))
        subprocess.run([sys.executable, '-ISc', code, *self.words],
                       check=True)
        self.assertTrue((self.dir / 'out/guest.env').exists())
