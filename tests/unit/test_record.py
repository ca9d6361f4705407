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
import json
import os
import stat
from unittest import mock

import fixtures
from oslotest import base

from nova_containervm import record
from tests.unit import test_domain


class RecordTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.dir = self.useFixture(fixtures.TempDir()).path
        self.record = record.Record(
            'image', 'd' * 64, 'minimal', test_domain.choices(),
            stop_timeout=3, injected_files=(('/etc/motd', 'hello\n'),))

    def test_round_trip(self):
        self.record.save(self.dir)
        self.assertEqual(self.record, record.Record.load(self.dir))

    def test_as_an_earlier_release_knows_it(self):
        """Unless the base VM image is one that those cannot have made."""
        path = os.path.join(self.dir, 'containervm', 'server.json')
        for with_volumes in (True, False):
            made = dataclasses.replace(self.record,
                                       image_volumes=with_volumes)
            made.save(self.dir)
            self.assertEqual(made, record.Record.load(self.dir))
            with open(path) as stream:
                self.assertEqual(with_volumes,
                                 'image_volumes' in json.load(stream))

    def test_missing(self):
        self.assertRaises(FileNotFoundError, record.Record.load, self.dir)

    def test_closed_to_others(self):
        self.record.save(self.dir)
        path = os.path.join(self.dir, 'containervm', 'server.json')
        self.assertEqual(0o600, stat.S_IMODE(os.stat(path).st_mode))

    def test_replaced_as_a_whole(self):
        self.record.save(self.dir)
        self.record.save(self.dir)
        self.assertEqual(['server.json'], os.listdir(
            os.path.join(self.dir, 'containervm')))

    def test_remembered_without_the_files(self):
        server = mock.Mock(system_metadata={})
        record.remember(server, self.record)
        self.assertEqual(
            dataclasses.replace(self.record, injected_files=()),
            record.remembered(server))
        (name, value), = server.system_metadata.items()
        self.assertLessEqual(len(value), 255)
        # Nor is it taken for a property of the image.
        self.assertFalse(name.startswith(('containervm_', 'image_')))

    def test_volumes_of_the_image(self):
        server = mock.Mock(system_metadata={})
        self.assertFalse(self.record.image_volumes)
        for with_volumes in (False, True):
            record.remember(server, dataclasses.replace(
                self.record, image_volumes=with_volumes))
            found = record.remembered(server)
            self.assertEqual(with_volumes, found.image_volumes)
            self.assertEqual(3, found.stop_timeout)

    def test_nothing_remembered(self):
        self.assertIsNone(record.remembered(mock.Mock(system_metadata={})))
