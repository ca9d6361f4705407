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

"""What this driver does as root, and nothing else.

nova-compute is not root. Every privileged step of a container server is a
function of this package, run by an oslo.privsep daemon that keeps only the
capabilities below. Its own context (not Nova's) keeps the two apart in
sudoers, in rootwrap filters and in audit logs.
"""

from oslo_privsep import capabilities
from oslo_privsep import priv_context

ctx = priv_context.PrivContext(
    'nova_containervm',
    cfg_section='containervm_privsep',
    pypath=__name__ + '.ctx',
    capabilities=[
        # mount and umount of root filesystems
        capabilities.CAP_SYS_ADMIN,
        # files of layers belong to QEMU's user, not to nova
        capabilities.CAP_CHOWN,
        capabilities.CAP_DAC_OVERRIDE,
        capabilities.CAP_DAC_READ_SEARCH,
        capabilities.CAP_FOWNER,
        capabilities.CAP_FSETID,
        # confinement of the process that unpacks layers
        capabilities.CAP_SETUID,
        capabilities.CAP_SETGID,
        capabilities.CAP_SETPCAP,
        capabilities.CAP_SYS_CHROOT,
        # access mode "passthrough" keeps device nodes and file capabilities
        capabilities.CAP_MKNOD,
        capabilities.CAP_SETFCAP,
    ],
)
