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

import ddt
from nova import exception
from nova import objects
from nova.scheduler import host_manager
from oslo_utils.fixture import uuidsentinel as uuids
from oslotest import base

from nova_containervm import scheduler

objects.register_all()

PLAIN = [('x86_64', 'kvm', 'hvm'), ('i686', 'qemu', 'hvm')]


def host(name, capabilities):
    state = host_manager.HostState(name, name, None)
    state.supported_instances = capabilities
    return state


def request(**image):
    return objects.RequestSpec(
        image=objects.ImageMeta(**image) if image else None)


@ddt.ddt
class FilterTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.filter = scheduler.ContainerVMFilter()
        self.plain = host('plain', PLAIN)
        self.silent = host('silent', None)
        self.ours = host('ours', scheduler.with_containers(PLAIN))

    def _passed(self, spec, *hosts):
        return [h.host for h in self.filter.filter_all(hosts, spec)]

    def test_docker_image(self):
        spec = request(id=uuids.i, container_format='docker')
        self.assertEqual(['ours'], self._passed(
            spec, self.plain, self.silent, self.ours))

    @ddt.data({'id': uuids.i, 'container_format': 'bare'}, {'id': uuids.i}, {})
    def test_any_other_goes_anywhere(self, image):
        self.assertEqual(['plain', 'silent', 'ours'], self._passed(
            request(**image), self.plain, self.silent, self.ours))

    @ddt.data({'id': uuids.the_id}, {})
    def test_none_is_left(self, known):
        error = self.assertRaises(
            exception.NoValidHost, self.filter.filter_all,
            iter([self.plain, self.silent]),
            request(container_format='docker', **known))
        self.assertIn('none of the 2 hosts', str(error))
        self.assertIn(known.get('id', 'docker image'), str(error))

    def test_no_host_at_all_is_not_ours_to_explain(self):
        self.assertEqual([], self._passed(
            request(id=uuids.i, container_format='docker')))

    def test_what_nova_knows_stays(self):
        self.assertEqual(PLAIN, scheduler.with_containers(PLAIN)[:-1])
        # As Nova keeps it
        for capability in scheduler.with_containers(PLAIN):
            objects.HVSpec.from_list(list(capability))
