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


"""What an operator has: doctor, upgrade check, metadata definitions."""

import json
import pathlib

import pytest

from tests.e2e import aio

# Not yet run whole on an all-in-one
pytestmark = pytest.mark.slow

METADEFS = (pathlib.Path(__file__).resolve().parents[2] / 'etc' / 'glance' /
            'metadefs')


def test_doctor(host):
    """On a host that works nothing is to be mended."""
    done = host.as_nova('nova-containervm-doctor', '--json')
    findings = json.loads(done.stdout)
    errors = [f for f in findings if f['level'] == 'error']
    assert (done.returncode, errors) == (0, []), done.stderr
    found = {f['subject']: f for f in findings}
    for subject in ('Nova', 'driver', 'settings', 'base VM image', 'libvirt',
                    'transport', 'QEMU user', 'instances_path',
                    'privileged helper'):
        assert found[subject]['level'] == 'ok', found[subject]


def test_upgrade_check(host, server, probe):
    server(probe)
    done = host.as_nova('nova-containervm-status', 'upgrade', 'check',
                        '--json')
    checks = {c['check']: c for c in json.loads(done.stdout)['checks']}
    assert done.returncode == 0, checks
    assert not checks['Servers on this host']['details'].startswith('0')


@pytest.mark.parametrize('path', sorted(METADEFS.iterdir()),
                         ids=lambda path: path.stem)
def test_glance_takes_the_definitions(cloud, path):
    definition = json.loads(path.read_text())
    name = definition['namespace']
    made = cloud.sdk.image.post('/metadefs/namespaces', json=definition)
    assert made.status_code == 201, made.text
    try:
        shown = json.loads(aio.openstack(
            'image', 'metadef', 'property', 'list', '-f', 'json', name))
        assert {p['name'] for p in shown} == set(definition['properties'])
    finally:
        where = '/metadefs/namespaces/' + name
        cloud.sdk.image.put(where, json={
            **{k: definition[k] for k in ('namespace', 'visibility')},
            'protected': False})
        assert cloud.sdk.image.delete(where).status_code == 204
