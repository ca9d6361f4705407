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

"""Makes the filesystem of an image: erofs, squashfs or ext4."""

import os
import stat
import uuid

from nova_containervm.convert import errors
from nova_containervm.convert import ext4
from nova_containervm.convert import guestfs
from nova_containervm.convert import tools
from nova_containervm.images import disktree
from nova_containervm.images import errors as image_errors
from nova_containervm.images import extract
from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import mkerofs
from nova_containervm.images import tarwrite

FORMATS = ('erofs', 'ext4', 'squashfs')
#: The tools of the filesystem themselves, or libguestfs.
METHODS = ('direct', 'guestfs')
#: The same image gives the same filesystem.
_NAMESPACE = uuid.UUID('0f4d6c0e-8a4f-4d37-9c06-5a8f6b2f1c11')
_SQUASHFS_BLOCK = 131072
#: Not among them: POSIX ACLs. Without, a group has more rights than meant.
_SQUASHFS_XATTRS = (b'user.', b'trusted.', b'security.')


def make(kind, source, target, work, method='direct',
         mkfs=mkerofs.COMMAND):
    """Write the filesystem.

    :param kind: of FORMATS
    :param source: source.Source
    :param target: path of the file to make
    :param work: an empty directory
    :param method: of METHODS
    :param mkfs: name or path of mkfs.erofs
    :raises ConvertError: a tool is missing, or fails
    :raises ImageError: the image has what the filesystem cannot have
    """
    identifier = str(uuid.uuid5(_NAMESPACE, '\n'.join(
        [kind, *_diff_ids(source.config)])))
    if method == 'guestfs':
        guestfs.make(kind, source, target, work, identifier)
    elif kind == 'ext4':
        ext4.make(source, target, work, identifier)
    elif kind == 'erofs':
        _erofs(source, target, work, identifier, mkfs)
    else:
        _squashfs(source, target, work)


def _diff_ids(config):
    rootfs = config.get('rootfs')
    found = rootfs.get('diff_ids') if isinstance(rootfs, dict) else None
    return [str(d) for d in found] if isinstance(found, list) else []


def _archive(source):
    return lambda fd: tarwrite.write(source.root, source.spools, fd)


def _erofs(source, target, work, identifier, mkfs):
    tool = mkerofs.find(mkfs)
    tree = None
    if not tool.reads_tar:
        tree = _tree(source, work, '%s is %s; 1.8.1 or later of erofs-utils '
                     'needs no root' % (tool.path, '.'.join(
                         map(str, tool.version))))
    tools.run(tool.arguments(target, 'none', identifier, tree),
              None if tree else _archive(source), watch=mkerofs.watch,
              TMPDIR=work)


def _squashfs(source, target, work):
    for path, node, _link in tarwrite.walk(source.root):
        for key in node.xattrs or ():
            if not key.startswith(_SQUASHFS_XATTRS):
                raise image_errors.Unsupported(
                    '%s has the attribute %s, which squashfs cannot keep; '
                    'choose another --format' % (image_errors.quote(path),
                                                 image_errors.quote(key)))
    # It takes the root's owner and mode from "./".
    tools.run([tools.require('tar2sqfs'), '--quiet', '--no-skip',
               '--compressor', 'zstd', '--comp-extra', 'level=6',
               '--block-size', str(_SQUASHFS_BLOCK), target],
              _archive(source))


def _tree(source, work, why):
    """The files themselves, for tools that take no archive.

    :param why: what would do without root
    """
    if os.geteuid() != 0:
        raise errors.ConvertError('it takes root: ' + why)
    path = os.path.join(work, 'tree')
    os.mkdir(path, 0o700)
    fd = fsutil.open_dir(path)
    try:
        limits = limits_mod.Limits()
        extract.Extractor(
            disktree.DiskTree(fd, forms.Passthrough(), limits), limits).run(
                tarwrite.Members(source.root, source.spools))
    finally:
        os.close(fd)
    return path


def remove(work):
    """Remove what make() has left in its directory."""
    fd = fsutil.open_dir(work)
    try:
        for name in os.listdir(fd):
            if stat.S_ISDIR(os.stat(name, dir_fd=fd,
                                    follow_symlinks=False).st_mode):
                child = fsutil.open_dir(name, dir_fd=fd)
                fsutil.empty_dir(child)
                os.close(child)
                os.rmdir(name, dir_fd=fd)
            else:
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)
