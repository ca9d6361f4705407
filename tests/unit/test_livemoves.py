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
import os
import tempfile
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
        self.images = mock.Mock()
        self.images.disk_sum.return_value = 'crc32:1'
        self.moves = livemoves.LiveMoves(self.images, self.bases, mock.Mock())
        self.path = os.path.join(
            self.enterContext(tempfile.TemporaryDirectory()), 'status')
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

    @ddt.data('crc32:1', None)
    def test_block_leaves(self, disk_sum):
        self.images.disk_sum.return_value = disk_sum
        self._source(made('block'))
        self.server.save.assert_called_once_with()
        with mock.patch.object(record.objects.Instance, 'get_by_uuid',
                               return_value=self.server):
            self.assertEqual(disk_sum, record.noted_disk(
                mock.sentinel.context, self.server))

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

    def test_the_disk_that_the_other_host_has(self):
        CONF.set_override('allowed_transports', ['block'], 'containervm')
        for there, here, good in (
                ('crc32:1', 'crc32:1', True), ('crc32:2', 'crc32:1', False),
                (None, 'crc32:1', True), ('crc32:1', None, True)):
            with self.subTest(there=there, here=here):
                record.remember(self.server, made('block'))
                self.images.disk_sum.return_value = there
                self.moves.check_destination(self.server)
                self.server.save.assert_not_called()
                self.images.disk_sum.return_value = here
                if good:
                    self._source(made('block'))
                else:
                    message = self._refused(
                        self._source, made('block'),
                        error=exception.MigrationPreCheckError)
                    self.assertIn('mkfs.erofs', message)
                self.server.save.assert_called_once_with()
                self.server.save.reset_mock()
                self.assertNotIn(record._OFFERED, self.server.system_metadata)

    def _prepare(self, there, here):
        record.remember(self.server, made('block'))
        self.images.get.return_value.disk_sum = here
        with mock.patch.object(record, 'noted_disk', return_value=there), \
                mock.patch.object(livemoves.transports, 'rootfs') as rootfs, \
                mock.patch.object(record.Record, 'save'), \
                mock.patch.object(livemoves.watcher, 'status_path',
                                  return_value=self.path):
            self.moves.prepare(mock.sentinel.context, self.server, '/nowhere',
                               'other')
        return rootfs

    # An older release on the other host notes nothing.
    @ddt.data('crc32:1', None)
    def test_the_same_disk(self, there):
        rootfs = self._prepare(there, 'crc32:1')
        rootfs.return_value.prepare.assert_called_once()

    def test_another_disk(self):
        message = self._refused(self._prepare, 'crc32:1', 'crc32:2',
                                error=exception.InvalidDiskInfo)
        for word in ('mkfs.erofs', 'disk_compression',
                     'without --live-migration'):
            self.assertIn(word, message)

    def test_suspend(self):
        with mock.patch.object(record, 'of', return_value=made('block')):
            livemoves.check_suspend(self.server)
        with mock.patch.object(record, 'of', return_value=made('virtiofs')):
            raised = self.assertRaises(errors.OperationNotSupported,
                                       livemoves.check_suspend, self.server)
        self.assertIn('server pause', str(raised))
