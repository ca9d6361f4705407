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

import os
import pathlib
import tempfile
import unittest
from unittest import mock

from nova import exception
from oslo_concurrency import processutils

from nova_containervm.guest import configdrive

DRIVE = b'written' + bytes(300 << 10)


class Write(unittest.TestCase):
    """``write``, without genisoimage."""

    def setUp(self):
        super().setUp()
        directory = self.enterContext(tempfile.TemporaryDirectory())
        self.path = pathlib.Path(directory) / configdrive.NAME
        self.path.write_bytes(b'older')
        self.builder = self.enterContext(mock.patch.object(
            configdrive.configdrive, 'ConfigDriveBuilder',
            return_value=mock.MagicMock())).return_value
        self.builder.__exit__.return_value = False
        self.builder.make_drive.side_effect = (
            lambda path: pathlib.Path(path).write_bytes(DRIVE))

    def write(self):
        configdrive.write(str(self.path), mock.sentinel.metadata)

    def names(self):
        return os.listdir(self.path.parent)

    def test_zeros_take_no_blocks(self):
        self.write()
        self.assertEqual(DRIVE, self.path.read_bytes())
        self.assertLess(self.path.stat().st_blocks * 512, 100 << 10)
        self.assertEqual([configdrive.NAME], self.names())

    def test_a_file_system_without_holes(self):
        for error in (OSError, processutils.ProcessExecutionError):
            with self.subTest(error.__name__), mock.patch.object(
                    processutils, 'execute', side_effect=error):
                self.write()
                self.assertEqual(DRIVE, self.path.read_bytes())

    def test_an_older_one_stays_if_it_cannot_be_made(self):
        self.builder.make_drive.side_effect = (
            processutils.ProcessExecutionError(stderr='no room'))
        with self.assertRaisesRegex(exception.NovaException,
                                    '(?s)disk.config cannot be made.*no room'):
            self.write()
        self.assertEqual(b'older', self.path.read_bytes())
