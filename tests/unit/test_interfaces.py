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

"""What guests are told of interfaces that come while they run."""

import json
import sys
from unittest import mock

import ddt
import fixtures
from nova.compute import power_state
from nova.network import model
from nova.virt.libvirt import host as libvirt_host
from oslotest import base

from nova_containervm import interfaces
from nova_containervm import record
from tests.unit import test_domain

UNRESPONSIVE = 86
FAILED = 1


class FakeLibvirtError(Exception):
    def __init__(self, code, text='it does not'):
        super().__init__(text)
        self._code = code

    def get_error_code(self):
        return self._code


def vif(number):
    subnet = model.Subnet(
        cidr='10.0.%d.0/24' % number, dns=[], routes=[],
        ips=[model.FixedIP(address='10.0.%d.5' % number)],
        gateway=model.IP(address='10.0.%d.1' % number))
    return model.VIF(id='port-%d' % number,
                     address='FA:16:3e:00:00:0%d' % number,
                     network=model.Network(id='net', subnets=[subnet],
                                           meta={'mtu': 1450}))


@ddt.ddt
class InterfacesTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(
            'nova_containervm.metadataroute.added',
            lambda context, network_info, instance: network_info))
        self.useFixture(fixtures.MockPatchObject(
            libvirt_host, 'libvirt', mock.Mock(
                libvirtError=FakeLibvirtError,
                VIR_ERR_AGENT_UNRESPONSIVE=UNRESPONSIVE)))
        self.qemu = mock.Mock()
        self.enterContext(mock.patch.dict(sys.modules,
                                          libvirt_qemu=self.qemu))
        self.sleep = self.enterContext(mock.patch.object(
            interfaces.time, 'sleep'))
        self.now = self.enterContext(mock.patch.object(
            interfaces.time, 'monotonic', return_value=0))
        self.log = self.enterContext(mock.patch.object(interfaces, 'LOG'))
        self.guest = mock.Mock()
        self.guest.get_power_state.return_value = power_state.RUNNING
        self.guest.get_xml_desc.return_value = (
            '<domain><devices>%s</devices></domain>' % ('<interface/>' * 2))
        self.host = mock.Mock()
        self.host.get_guest.return_value = self.guest

    def _attached(self, base_type='minimal'):
        rec = record.Record('image', 'd' * 64, base_type,
                            test_domain.choices())
        server = mock.Mock()
        with mock.patch.object(record, 'of', return_value=rec):
            interfaces.Interfaces(self.host).attached('context', server,
                                                      vif(2))

    def _requests(self):
        return [json.loads(call.args[1])
                for call in self.qemu.qemuAgentCommand.call_args_list]

    def test_request(self):
        self._attached()
        self.assertEqual([{
            'execute': interfaces.COMMAND,
            'arguments': {
                'mac': 'fa:16:3e:00:00:02', 'mtu': 1450, 'number': 1,
                'addrs': '10.0.2.5/24', 'routes': '0.0.0.0/0,10.0.2.1',
                'dhcp': ''}}], self._requests())
        self.assertIs(self.guest._domain,
                      self.qemu.qemuAgentCommand.call_args.args[0])
        self.log.warning.assert_not_called()

    def test_guest_that_still_boots(self):
        self.qemu.qemuAgentCommand.side_effect = [
            FakeLibvirtError(UNRESPONSIVE)] * 3 + ['{}']
        self._attached()
        self.assertEqual(3, self.sleep.call_count)
        self.log.warning.assert_not_called()

    @ddt.data(
        # error of libvirt's, state after it, seconds gone, attempts
        (UNRESPONSIVE, power_state.RUNNING, 100, 1),
        (UNRESPONSIVE, power_state.SHUTDOWN, 0, 1),
        (FAILED, power_state.RUNNING, 0, 1))
    @ddt.unpack
    def test_guest_that_cannot_be_told(self, code, state, seconds, attempts):
        self.now.side_effect = [0] + [seconds] * attempts
        self.guest.get_power_state.side_effect = [power_state.RUNNING, state]
        self.qemu.qemuAgentCommand.side_effect = FakeLibvirtError(code)
        self._attached()
        self.assertEqual(attempts, len(self._requests()))
        self.assertIn('it does not', str(self.log.warning.call_args))

    @ddt.data((power_state.SHUTDOWN, False), (power_state.PAUSED, True))
    @ddt.unpack
    def test_server_that_does_not_run(self, state, warns):
        self.guest.get_power_state.return_value = state
        self._attached()
        self.assertEqual([], self._requests())
        self.assertEqual(warns, self.log.warning.called)

    def test_libvirt_without_its_part_for_qemu(self):
        with mock.patch.dict(sys.modules, libvirt_qemu=None):
            self._attached()
        self.assertIn('libvirt_qemu', str(self.log.warning.call_args))

    def test_cloud_base_vm_image(self):
        self._attached('cloud')
        self.host.get_guest.assert_not_called()
