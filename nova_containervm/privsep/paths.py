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


"""Which paths of this host privileged functions may touch."""

import os

from nova_containervm import conf

CONF = conf.CONF


def own(path):
    """Return ``path`` made absolute, with every parent resolved.

    :raises ValueError: it is neither below instances_path nor below
        snapshots_directory, or is a symlink
    """
    resolved = os.path.join(os.path.realpath(os.path.dirname(path)),
                            os.path.basename(path))
    if (os.path.basename(path) in ('', '.', '..') or
            os.path.islink(resolved)):
        raise ValueError('%s is not allowed' % path)
    tops = [CONF.instances_path, CONF.libvirt.snapshots_directory]
    for top in map(os.path.realpath, tops):
        if (os.path.commonpath([top, resolved]) == top and
                resolved != top):
            return resolved
    raise ValueError('%s is not below %s' % (path, tops[0]))
