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

"""Starts the process that unpacks images, which then gives its power up."""

import os
import subprocess

from nova_containervm import conf
from nova_containervm import privsep
from nova_containervm.images import errors
from nova_containervm.images import session

CONF = conf.CONF


@privsep.ctx.entrypoint
def launch(root, name, form, uid, gid):
    """Start the helper of one session of the image store, as root.

    It connects to the socket ``tmp/<name>/s`` of the store, works in the
    store's directories only, and looks at an image's data only in children
    without privilege (images/server.py). The program that it makes disks with
    is the one of its own configuration, not one that the caller names.

    :param root: absolute path of the store
    :param name: the session
    :param form: of the store: 'mapped', 'passthrough' or 'block'
    :param uid: owner of files under 'mapped'; likewise *gid*
    :raises StoreError: it did not start
    """
    uid, gid = int(uid), int(gid)
    if not os.path.isabs(root) or not session.NAME.fullmatch(name) \
            or form not in conf.IMAGE_FORMS or min(uid, gid) < 0:
        raise errors.StoreError('bad arguments to launch()')
    done = subprocess.run(
        session.command(root, form, (uid, gid), '--session', name,
                        '--mkfs', CONF.containervm.mkfs_erofs_cmd),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, cwd='/', env={'PATH': os.defpath,
                                              'LC_ALL': 'C.UTF-8'},
        start_new_session=True, timeout=session.START_TIMEOUT, check=False)
    if done.returncode:
        raise errors.StoreError('the process that unpacks images did not '
                                'start: %s' % done.stderr.decode(
                                    'utf-8', 'replace')[-2000:])
