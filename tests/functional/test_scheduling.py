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

"""Which host a server gets, by Nova's own scheduler with our filter."""

from nova.virt.libvirt import driver as libvirt_driver

from nova_containervm import conf
from tests.functional import base

CONF = conf.CONF


class SchedulingTest(base.TestBase):

    def _setup_scheduler_service(self):
        # A list of its own: Nova's tests add to the default in its place.
        enabled = [*CONF.filter_scheduler.enabled_filters,
                   'ContainerVMFilter']
        self.flags(available_filters=[
            'nova.scheduler.filters.all_filters',
            'nova_containervm.scheduler.ContainerVMFilter'],
            enabled_filters=enabled, group='filter_scheduler')
        return self.start_service('scheduler')

    def _plain_host(self, name):
        """A host whose settings do not enable container servers."""
        self.flags(sub_virt_type=None, group='libvirt')
        self.start_compute(name)
        self.assertIsInstance(self.computes[name].driver,
                              libvirt_driver.LibvirtDriver)

    def test_docker_images_go_to_hosts_that_run_them(self):
        self._plain_host('plain')
        self.enable()
        self.start_compute('ours')
        image = self.docker_image()
        for _ in range(3):
            server = self.create(image)
            self.assertEqual('ours', server['OS-EXT-SRV-ATTR:host'])

    def test_no_host_runs_them(self):
        self._plain_host('plain')
        image = self.docker_image()
        server = self.create(image, expected_state='ERROR')
        words = self.api.get_server(server['id'])['fault']['message']
        self.assertIn('No valid host was found', words)
        self.assertIn('none of the 1 hosts that have room', words)
        self.assertIn(image, words)

    def test_plain_images_go_anywhere(self):
        self._plain_host('plain')
        self.create(self.glance.image1['id'])
