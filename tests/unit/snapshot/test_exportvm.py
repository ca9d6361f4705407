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

import fixtures
from nova.virt.libvirt import host as libvirt_host
from oslotest import base

from nova_containervm.snapshot import errors
from nova_containervm.snapshot import exportvm

READY = b'R\0\0\0\x011'
CONTRACT = b'text'


class FakeLibvirtError(Exception):
    pass


class FakeStream:
    """What a guest has sent, as it came; None: nothing had come then."""

    def __init__(self, *parts):
        self.parts = list(parts)
        self.sent = b''
        self.busy = True

    def recv(self, size):
        if not self.parts:
            return b''
        part = self.parts.pop(0)
        if part is None:
            return -2
        if part[size:]:
            self.parts.insert(0, part[size:])
        return part[:size]

    def send(self, data):
        self.busy = not self.busy
        if not self.busy:
            return -2
        self.sent += data[:3]
        return len(data[:3])

    def abort(self):
        pass


class ExportVMTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(
            libvirt_host, 'libvirt', mock.Mock(libvirtError=FakeLibvirtError)))
        self.connection = mock.Mock()
        self.connection.isAlive.return_value = True
        self.guest = self.connection.createXML.return_value
        self.host = mock.Mock()
        self.host.get_connection.return_value = self.connection

    def run_with(self, *parts):
        stream = FakeStream(*parts)
        self.connection.newStream.return_value = stream
        with exportvm.running(self.host, '<domain/>', CONTRACT) as reader:
            size = reader.size()
        return stream, size

    def test_streams_do_not_block(self):
        """libvirt's blocking ones may wait for what has come already."""
        stream, size = self.run_with(
            None, READY[:5], None, None, READY[5:], b'S\0\0\0\x08', None,
            b'\0' * 6 + b'\x02\x01')
        # VIR_STREAM_NONBLOCK
        self.connection.newStream.assert_called_once_with(1)
        self.assertEqual(b'\0\0\0\x04' + CONTRACT, stream.sent)
        self.assertEqual(0x201, size)
        self.guest.destroy.assert_called_once_with()

    def test_libvirtd_is_gone(self):
        self.connection.isAlive.side_effect = [True, False]
        self.assertRaises(errors.LayerLost, self.run_with, None, None, None)

    def test_machine_is_gone(self):
        self.assertRaises(errors.LayerLost, self.run_with, READY[:5])

    def test_silence_ends_it(self):
        """The machine is destroyed, which ends the stream."""
        stream = FakeStream(READY, *[None] * 10000)
        self.guest.destroy.side_effect = stream.parts.clear
        self.connection.newStream.return_value = stream
        self.useFixture(fixtures.MockPatchObject(exportvm, 'SILENCE', 0.05))
        with self.assertRaises(errors.LayerLost), \
                exportvm.running(self.host, '<domain/>', CONTRACT) as reader:
            reader.size()

    def test_cannot_be_started(self):
        self.connection.createXML.side_effect = FakeLibvirtError('no')
        error = self.assertRaises(errors.LayerFailed, self.run_with)
        self.assertIn('cannot start', str(error))
