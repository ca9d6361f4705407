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
"""Options: all are documented, and the sample configuration holds them."""

import os
import pathlib
import re

import ddt
from oslo_config import cfg
from oslo_config import generator
from oslotest import base

from nova_containervm import conf

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPTIONS = [(group, option) for group, options in conf.list_opts()
           for option in options]


@ddt.ddt
class OptionsTestCase(base.BaseTestCase):

    @ddt.data(*OPTIONS)
    @ddt.unpack
    def test_help(self, group, option):
        self.assertTrue(option.help.startswith('\n'), option.name)
        self.assertTrue(option.help.strip().split('\n')[0], option.name)
        # Related options exist, here or in Nova.
        for other_group, name in re.findall(
                r'\* ``\[(\w+)\] (\w+)', option.help):
            self.assertIn(name, conf.CONF[other_group]
                          if other_group != 'DEFAULT' else conf.CONF)

    @ddt.data(*OPTIONS)
    @ddt.unpack
    def test_bounded(self, group, option):
        """Numbers have a minimum; words have choices, or are programs."""
        if isinstance(option, cfg.IntOpt):
            self.assertIsNotNone(option.type.min, option.name)
        elif (isinstance(option, cfg.StrOpt) and option.default is not None
                and not option.name.endswith('_cmd')):
            self.assertTrue(option.type.choices, option.name)

    @ddt.data(*OPTIONS)
    @ddt.unpack
    def test_registered(self, group, option):
        self.assertEqual(option.default, conf.CONF[group][option.name])

    def test_bad_value_is_refused(self):
        local = cfg.ConfigOpts()
        conf.register_opts(local)
        local([])
        for group, name, value in (
                ('libvirt', 'sub_virt_type', 'lxc'),
                ('containervm', 'rootfs_transport', 'nfs'),
                ('containervm', 'max_layers', 0)):
            self.assertRaises(ValueError, local.set_override, name, value,
                              group)

    def test_sample(self):
        local = cfg.ConfigOpts()
        generator.register_cli_opts(local)
        path = os.path.join(self.create_tempfiles([('sample', '')])[0])
        local(['--config-file', str(
            ROOT / 'etc/nova-containervm/nova-containervm-config-generator'
                   '.conf'), '--output-file', path])
        generator.generate(local)
        with open(path) as sample:
            text = sample.read()
        for group, option in OPTIONS:
            self.assertIn('[%s]' % group, text)
            self.assertRegex(text, '(?m)^#%s =' % option.name)
