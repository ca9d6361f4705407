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

import dataclasses
from unittest import mock

import ddt
from nova import exception
from oslotest import base

from nova_containervm import conf
from nova_containervm import errors
from nova_containervm import livemoves
from nova_containervm import record
from tests.unit import test_domain

CONF = conf.CONF


def made(transport, files=()):
    choices = dataclasses.replace(test_domain.choices(),
                                  rootfs_transport=transport)
    return record.Record('image', 'd' * 64, 'minimal', choices,
                         injected_files=files)


@ddt.ddt
class LiveMovesTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.server = mock.Mock(uuid='4ef9ad0c', system_metadata={})
        self.bases = mock.Mock()
        self.moves = livemoves.LiveMoves(mock.Mock(), self.bases, mock.Mock())
        for option in ('rootfs_transport', 'allowed_transports'):
            self.addCleanup(CONF.clear_override, option, 'containervm')

    def _source(self, rec):
        with mock.patch.object(record, 'of', return_value=rec):
            self.moves.check_source(self.server)

    def _refused(self, function, *args,
                 error=exception.InvalidSharedStorage):
        message = str(self.assertRaises(error, function, *args))
        self.assertIn('4ef9ad0c', message)
        return message

    @ddt.data('9p', 'virtiofs')
    def test_shares_do_not_leave(self, transport):
        message = self._refused(self._source, made(transport))
        self.assertIn(transport, message)
        self.assertIn('without --live-migration', message)

    def test_block_leaves(self):
        self._source(made('block'))

    def test_files_do_not_move(self):
        message = self._refused(
            self._source, made('block', (('/etc/motd', 'hello'),)))
        self.assertNotIn('hello', message)

    def test_shares_do_not_come(self):
        record.remember(self.server, made('virtiofs'))
        self._refused(self.moves.check_destination, self.server)

    def test_block_comes_where_it_is_offered(self):
        record.remember(self.server, made('block'))
        CONF.set_override('allowed_transports', ['block'], 'containervm')
        self.moves.check_destination(self.server)

    def test_block_does_not_come_elsewhere(self):
        record.remember(self.server, made('block'))
        CONF.set_override('rootfs_transport', 'virtiofs', 'containervm')
        CONF.set_override('allowed_transports', [], 'containervm')
        # Another host may take it: Nova goes on to that one.
        message = self._refused(self.moves.check_destination, self.server,
                                error=exception.MigrationPreCheckError)
        self.assertIn('allowed_transports', message)

    def test_nothing_is_prepared_for_a_server_of_an_older_release(self):
        self.assertRaises(exception.InvalidDiskInfo, self.moves.prepare,
                          mock.sentinel.context, self.server, '/nowhere',
                          'other')
        self.bases.fetch.assert_not_called()

    def test_suspend(self):
        with mock.patch.object(record, 'of', return_value=made('block')):
            livemoves.check_suspend(self.server)
        with mock.patch.object(record, 'of', return_value=made('virtiofs')):
            raised = self.assertRaises(errors.OperationNotSupported,
                                       livemoves.check_suspend, self.server)
        self.assertIn('server pause', str(raised))
