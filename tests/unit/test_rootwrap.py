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
"""The rootwrap filters allow our privileged helper and nothing else."""

import pathlib

import ddt
from oslo_rootwrap import filters as rootwrap_filters
from oslo_rootwrap import wrapper
from oslotest import base

from nova_containervm import privsep

FILTERS = pathlib.Path(__file__).resolve().parents[2] / 'etc/rootwrap.d'
ONE = ['--config-file', '/etc/nova/nova.conf']
TWO = ONE + ['--config-file', '/etc/nova/nova-compute.conf']
CONTEXT = ['--privsep_context', 'nova_containervm.privsep.ctx']
SOCKET = ['--privsep_sock_path', '/tmp/tmpabc/privsep.sock']


@ddt.ddt
class FiltersTestCase(base.BaseTestCase):

    def _allowed(self, *command):
        # rootwrap has one of its own, which allows every privsep helper.
        own = [f for f in wrapper.load_filters([str(FILTERS)])
               if isinstance(f, rootwrap_filters.RegExpFilter)]
        return any(f.match(list(command)) for f in own)

    def test_context(self):
        self.assertEqual(CONTEXT[1], privsep.ctx.pypath)

    @ddt.data(ONE, TWO)
    def test_allowed(self, files):
        self.assertTrue(self._allowed(
            'privsep-helper', *files, *CONTEXT, *SOCKET))

    @ddt.data(
        ['privsep-helper', *CONTEXT, *SOCKET, *ONE],
        ['privsep-helper', '--config-file', '/tmp/x', *CONTEXT, *SOCKET],
        ['privsep-helper', '--config-file', '/etc/nova/../../tmp/x',
         *CONTEXT, *SOCKET],
        ['privsep-helper', *ONE, '--privsep_context', 'os.system', *SOCKET],
        ['privsep-helper', *ONE, *CONTEXT, '--privsep_sock_path', '/run/x'],
        ['mount', '/dev/sda', '/'],
        ['sh', '-c', 'privsep-helper'],
    )
    def test_denied(self, command):
        self.assertFalse(self._allowed(*command))
