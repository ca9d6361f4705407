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


"""Starts the process that reads a server's files, which then gives its power
up.
"""

from nova_containervm import privsep
from nova_containervm.privsep import paths
from nova_containervm.snapshot import hosttree


@privsep.ctx.entrypoint
def launch(directory, tree, reference, form, uid, gid):
    """Start it, as root; see snapshot/pack.py.

    It connects to the socket ``s`` in ``directory``, and reads in ``tree`` and
    ``reference`` only, without privilege.

    :param form: access mode, 'mapped' or 'passthrough'
    :param uid: owner of files under 'mapped'; likewise *gid*
    :raises ValueError: an argument is not allowed
    :raises errors.LayerFailed: it did not start
    """
    uid, gid = int(uid), int(gid)
    if form not in ('mapped', 'passthrough') or min(uid, gid) < 0:
        raise ValueError('bad arguments to launch()')
    directory, tree = paths.own(directory), paths.own(tree)
    if reference is not None:
        reference = paths.own(reference)
    hosttree.start(directory, tree, reference, form, uid, gid)
