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


"""Directories of servers that move to another host, as root.

The files belong to the user of QEMU, or to whomever a container gave them.
"""

import os

from oslo_concurrency import processutils

from nova_containervm import privsep
from nova_containervm.privsep import mounts
from nova_containervm.privsep import paths

# With everything that a file has; names are taken as they are.
_TAR = ('tar', '--numeric-owner', '--xattrs', '--xattrs-include=*', '--acls',
        '--sparse', '--warning=no-file-ignored')


@privsep.ctx.entrypoint
def copy_private(source, target):
    """Copy a server's private directory on this host.

    :raises ValueError: an argument is not allowed
    :raises processutils.ProcessExecutionError: the copy failed
    """
    source, target = paths.own(source), paths.own(target)
    mounts.make_private(target)
    processutils.execute('cp', '--archive', '--no-target-directory',
                         '--reflink=auto', source, target)


@privsep.ctx.entrypoint
def archive_private(source, archive):
    """Put a server's private directory into an archive for another host.

    :param archive: path of a file, which is made; its owner is that of its
        directory
    :raises: as :func:`copy_private`
    """
    source, archive = paths.own(source), paths.own(archive)
    owner = os.stat(os.path.dirname(archive))
    fd = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL |
                 os.O_NOFOLLOW, 0o600)
    try:
        os.fchown(fd, owner.st_uid, owner.st_gid)
    finally:
        os.close(fd)
    processutils.execute(*_TAR, '--create', '--file', archive, '--directory',
                         source, '--exclude=./source',
                         '--exclude=./lost+found', '.')


@privsep.ctx.entrypoint
def restore_private(archive, target, owner):
    """The reverse of :func:`archive_private`.

    :param owner: user and group that all files are to belong to: those of
        QEMU on this host; None: as in the archive
    :raises: as :func:`copy_private`
    """
    archive, target = paths.own(archive), paths.own(target)
    mounts.make_private(target)
    processutils.execute(*_TAR, '--extract', '--same-owner',
                         '--preserve-permissions', '--file', archive,
                         '--directory', target)
    if owner is None:
        return
    uid, gid = owner
    for name in ('upper', 'tree'):
        place = os.path.join(target, name)
        if not os.path.isdir(place):
            continue
        os.chown(place, uid, gid)
        # By descriptors, so that no link leads out of it
        for _path, directories, files, fd in os.fwalk(place):
            for entry in directories + files:
                os.chown(entry, uid, gid, dir_fd=fd, follow_symlinks=False)
