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

"""What is made ready before a server starts."""

from unittest import mock

import ddt
from nova import exception
from oslotest import base

from nova_containervm import preparations
from nova_containervm import record
from tests.unit import test_domain

XML = """<domain><devices>
  <interface type="bridge"><mac address="fa:16:3e:00:00:01"/></interface>
  <interface type="bridge"><mac address="FA:16:3E:00:00:03"/></interface>
</devices></domain>"""


@ddt.ddt
class SoftRebootTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(
            record, 'of', return_value=record.Record(
                'image', 'd' * 64, 'minimal', test_domain.choices())))
        self.added = self.enterContext(mock.patch.object(
            preparations.metadataroute, 'added'))
        self.spec = self.enterContext(mock.patch.object(
            preparations, 'serverspec'))
        self.write = self.enterContext(mock.patch.object(
            preparations.configdrive, 'write'))
        self.enterContext(mock.patch.object(
            preparations.configdrive, 'ContainerMetadata'))
        driver = mock.Mock()
        self.guest = driver._host.get_guest.return_value
        self.guest.get_xml_desc.return_value = XML
        self.preparations = preparations.Preparations(
            driver, mock.Mock(), mock.Mock(), mock.Mock(), mock.Mock())

    @ddt.data(([], []), ([1], [1]), ([1, 2], [1]), ([1, 2, 3], [1, 3]),
              ([2], []))
    @ddt.unpack
    def test_interfaces_are_the_domains(self, noted, there):
        """Not all that Nova has in its notes."""
        self.preparations.before_soft_reboot(
            'context', mock.Mock(uuid='uuid'),
            [{'address': 'fa:16:3e:00:00:0%d' % n} for n in noted])
        _context, network_info, _instance = self.added.call_args.args
        self.assertEqual(['fa:16:3e:00:00:0%d' % n for n in there],
                         [vif['address'] for vif in network_info])
        # What libvirt starts the domain with
        self.assertEqual([mock.call(dump_inactive=True)],
                         self.guest.get_xml_desc.call_args_list)
        self.write.assert_called_once()

    def test_what_cannot_be_run_changes_nothing(self):
        self.spec.contract.side_effect = exception.InvalidInput(reason='x')
        self.assertRaises(exception.InvalidInput,
                          self.preparations.before_soft_reboot, 'context',
                          mock.Mock(uuid='uuid'), [])
        self.spec.with_contract.assert_not_called()
        self.write.assert_not_called()
