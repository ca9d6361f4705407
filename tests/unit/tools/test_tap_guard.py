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

from unittest import mock

from oslotest import base
from pyroute2.netlink.rtnl import ifinfmsg

from tests.unit import tools  # noqa: F401  (finds aiolib)

# isort: split
from aiolib.scripts import tap_guard

NAME = 'tap0a1b2c3d-4e'


class GuardTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.netlink = mock.Mock()
        self.guard = tap_guard.Guard(self.netlink)
        self.row, self.port, self.set = 'row1', '7', []
        self.enterContext(mock.patch.object(tap_guard, 'vsctl', self._vsctl))

    def _vsctl(self, command, _table, name, column):
        self.assertEqual(NAME, name)
        if command == 'set':
            self.set.append(column)
            return ''
        return {'_uuid': self.row, 'ofport': self.port}[column]

    def _see(self, index, name=NAME, event='RTM_NEWLINK',
             flags=ifinfmsg.IFF_UP):
        message = {'event': event, 'ifname': name, 'index': index,
                   'flags': flags}
        self.guard.see(message)

    def test_down(self):
        self._see(3, flags=0)
        self.netlink.link.assert_called_once_with('set', index=3, state='up')

    def test_not_ours(self):
        self._see(3, name='eth0', flags=0)
        self._see(3, event='RTM_DELLINK', flags=0)
        self.netlink.link.assert_not_called()

    def test_made_anew_with_its_port(self):
        self._see(3)
        self._see(3)
        self.row = 'row2'
        self._see(4)
        self.assertEqual([], self.set)

    def test_made_anew_without(self):
        self._see(3)
        self._see(4)
        self._see(4)
        self.assertEqual(['ofport_request=1007'], self.set)

    def test_no_port_yet(self):
        self.row = ''
        self._see(3)
        self._see(4)
        self.assertEqual([], self.set)

    def test_port_is_not_open(self):
        self._see(3)
        self.port = '-1'
        self._see(4)
        self.assertEqual([], self.set)
