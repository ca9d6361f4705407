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

import pathlib
import shutil
import subprocess
import unittest

import ddt

from nova_containervm.guest import cloud


@ddt.ddt
class VendorDataTest(unittest.TestCase):

    def test_it_is_a_boothook(self):
        # cloud-init takes the first line for the kind, and runs the rest.
        self.assertTrue(cloud.vendor_data().startswith(
            '#cloud-boothook\n#!/bin/sh\n'))

    @ddt.data(None, {}, [], '', {'cloud-init': None}, {'cloud-init': ''},
              {'cloud-init': []},
              # cloud-init itself refuses these
              {'cloud-init': {'a': 'b'}}, {'cloud-init': 7},
              {'cloud-init': [None, 7, {}]})
    def test_nothing_to_merge_with(self, existing):
        self.assertEqual({'cloud-init': [cloud.vendor_data()]},
                         cloud.merge_vendor_data(existing))

    @ddt.data(
        ({'cloud-init': '#cloud-config\n{}'}, ['#cloud-config\n{}']),
        ({'cloud-init': ['a', 'b']}, ['a', 'b']),
        ('#!/bin/sh', ['#!/bin/sh']),
        (['a', 'b'], ['a', 'b']))
    @ddt.unpack
    def test_the_operators_parts_stay(self, existing, parts):
        self.assertEqual({'cloud-init': [*parts, cloud.vendor_data()]},
                         cloud.merge_vendor_data(existing))

    def test_other_keys_stay(self):
        existing = {'region': 'a', 'cloud-init': 'x'}
        merged = cloud.merge_vendor_data(existing)
        self.assertEqual('a', merged['region'])
        self.assertEqual({'region': 'a', 'cloud-init': 'x'}, existing)


@ddt.ddt
class FilesTest(unittest.TestCase):

    def test_the_guests_files(self):
        files = cloud.guest_files()
        self.assertEqual({'guest.sh', 'launch.py', 'mounts.sh'}, set(files))
        compile(files['launch.py'], 'launch.py', 'exec')

    @ddt.data('sh', 'dash', 'bash', 'busybox')
    def test_syntax(self, shell):
        if not shutil.which(shell):
            self.skipTest(f'there is no {shell}')
        command = ['busybox', 'sh'] if shell == 'busybox' else [shell]
        for script in (cloud.guest_files()['guest.sh'],
                       cloud.guest_files()['mounts.sh'],
                       cloud.vendor_data().split('\n', 1)[1].encode()):
            subprocess.run([*command, '-n'], input=script, check=True)

    def test_shellcheck(self):
        if not shutil.which('shellcheck'):
            self.skipTest('there is no shellcheck')
        files = pathlib.Path(cloud.__file__).parent / 'files'
        subprocess.run(
            ['shellcheck', '--external-sources', '--check-sourced',
             '--source-path=SCRIPTDIR', files / 'guest.sh',
             files / 'boothook.sh'], check=True)
