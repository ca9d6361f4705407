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

"""Mounts and copies of root filesystems, as root.

Each function checks its arguments itself: the caller is nova-compute, which
is not root and is not to become root by way of these functions. Every path
must lie below ``[DEFAULT] instances_path`` or snapshots_directory.
"""

import os
import re
import shutil
import stat

from oslo_concurrency import processutils

from nova_containervm import privsep
from nova_containervm.privsep import paths

LAYER_NAME = re.compile(r'[0-9a-f]{16}')

# Beside the directory of layers.
EMPTY = '../empty'

# What a host never needs of an exported tree. 9p's server only reads and
# writes; setuid files and device nodes must have no effect here.
SAFE_OPTIONS = 'nosuid,nodev,noexec'


def is_mounted(path):
    """Tell whether something is mounted at ``path``.

    Reads /proc/self/mountinfo, for os.path.ismount() does not see a bind
    mount on the same filesystem.
    """
    wanted = os.path.realpath(path)
    with open('/proc/self/mountinfo') as mountinfo:
        for line in mountinfo:
            point = line.split(' ')[4]
            if re.sub(r'\\([0-7]{3})',
                      lambda m: chr(int(m.group(1), 8)), point) == wanted:
                return True
    return False


def _lowerdir(layers_dir, names):
    os.makedirs(os.path.join(layers_dir, EMPTY), exist_ok=True)
    for name in names:
        if not LAYER_NAME.fullmatch(name):
            raise ValueError('%r is not the name of a layer' % name)
    # Highest first, as overlayfs wants them. The empty directory is there
    # because an overlay without an upper directory needs two lower ones.
    return ':'.join(['%s/tree' % name for name in reversed(names)] +
                    [EMPTY])


def _mount_overlay(target, layers_dir, names, *options):
    lowerdir = 'lowerdir=' + _lowerdir(layers_dir, names)
    processutils.execute(
        'mount', '-t', 'overlay', '-o',
        ','.join([*options, 'userxattr', SAFE_OPTIONS, lowerdir]),
        'containervm', target, cwd=layers_dir)


@privsep.ctx.entrypoint
def mount_image(target, layers_dir, names):
    """Mount the union of an image's layers read-only.

    :param target: an existing directory
    :param layers_dir: the directory of layers of an image store. The mount is
        made from within it, because relative names keep up to 127 layers
        below the 4 KiB that the kernel takes as mount options.
    :param names: names of layer directories, lowest first
    :raises ValueError: an argument is not allowed
    :raises processutils.ProcessExecutionError: mount failed
    """
    target = paths.own(target)
    layers_dir = paths.own(layers_dir)
    _mount_overlay(target, layers_dir, names, 'ro')


@privsep.ctx.entrypoint
def mount_writable_image(target, layers_dir, names, private):
    """Mount the union of an image's layers with a writable directory on top.

    :param private: directory that holds the writable directory; created if
        missing, closed to everybody but root
    :raises: as :func:`mount_image`
    """
    target = paths.own(target)
    layers_dir = paths.own(layers_dir)
    private = paths.own(private)
    upper, work = (os.path.join(private, d) for d in ('upper', 'work'))
    make_private(private)
    os.makedirs(work, mode=0o700, exist_ok=True)
    if not os.path.isdir(upper):
        # The root of the union takes owner, mode and attributes from the
        # upper directory, so these must be the image's.
        staging = upper + '.new'
        os.makedirs(staging, mode=0o700, exist_ok=True)
        _copy_attributes(os.path.join(layers_dir, names[-1], 'tree'), staging)
        os.rename(staging, upper)
    # index=off: with an index overlayfs refuses a directory that another mount
    # namespace still has mounted, where nothing uses it.
    _mount_overlay(target, layers_dir, names, 'rw', 'index=off',
                   'upperdir=' + os.path.relpath(upper, layers_dir),
                   'workdir=' + os.path.relpath(work, layers_dir))


@privsep.ctx.entrypoint
def mount_copied_image(target, layers_dir, names, private, reflink):
    """Mount a private copy of an image.

    The copy is made by the first call only. It is complete or absent: an
    interrupted one is made again.

    :param private: directory that holds the copy
    :param reflink: share extents with the layers where the filesystem can
    :raises: as :func:`mount_image`
    """
    target = paths.own(target)
    layers_dir = paths.own(layers_dir)
    private = paths.own(private)
    copy = os.path.join(private, 'tree')
    make_private(private)
    if not os.path.isdir(copy):
        source, staging = (os.path.join(private, d)
                           for d in ('source', 'tree.new'))
        os.makedirs(source, mode=0o700, exist_ok=True)
        if os.path.isdir(staging):
            shutil.rmtree(staging)
        if not is_mounted(source):
            _mount_overlay(source, layers_dir, names, 'ro')
        try:
            processutils.execute(
                'cp', '--archive', '--no-target-directory',
                '--reflink=%s' % ('auto' if reflink else 'never'),
                source, staging)
        finally:
            processutils.execute('umount', source)
        os.rmdir(source)
        os.rename(staging, copy)
    # A bind mount takes its own flags only in a second step.
    processutils.execute('mount', '--bind', copy, target)
    processutils.execute('mount', '-o', 'remount,bind,' + SAFE_OPTIONS,
                         target)


def make_private(path):
    os.makedirs(path, mode=0o700, exist_ok=True)
    os.chown(path, 0, 0)
    os.chmod(path, 0o700)


def _copy_attributes(source, target):
    info = os.stat(source)
    for name in os.listxattr(source):
        if not name.startswith('user.overlay.'):
            os.setxattr(target, name, os.getxattr(source, name))
    os.chown(target, info.st_uid, info.st_gid)
    os.chmod(target, stat.S_IMODE(info.st_mode))


@privsep.ctx.entrypoint
def unmount(target):
    """Unmount ``target`` if something is mounted there.

    :raises processutils.ProcessExecutionError: it is in use
    """
    target = paths.own(target)
    while is_mounted(target):
        processutils.execute('umount', target, attempts=5,
                             delay_on_retry=True)


@privsep.ctx.entrypoint
def remove_private(private):
    """Remove the private directory of a server's writable root filesystem.

    :raises ValueError: something is still mounted in it
    """
    private = paths.own(private)
    if not os.path.isdir(private):
        return
    source = os.path.join(private, 'source')
    if is_mounted(source):
        # left by an interrupted copy
        processutils.execute('umount', source)
    # shutil.rmtree() goes by directory descriptors and does not follow links
    shutil.rmtree(private)


@privsep.ctx.entrypoint
def probe_overlay(directory):
    """Find out whether overlayfs works in ``directory``.

    :returns: None, or why it does not
    """
    directory = paths.own(directory)
    names = ('lower', 'upper', 'work', 'merged')
    lower, upper, work, merged = (os.path.join(directory, n) for n in names)
    try:
        for path in (lower, upper, work, merged):
            os.makedirs(path, exist_ok=True)
        processutils.execute(
            'mount', '-t', 'overlay', '-o',
            'userxattr,lowerdir=%s,upperdir=%s,workdir=%s' % (
                'lower', 'upper', 'work'), 'containervm', 'merged',
            cwd=directory)
        processutils.execute('umount', merged)
    except (OSError, processutils.ProcessExecutionError) as e:
        return getattr(e, 'stderr', None) or str(e)
    finally:
        for name in names:
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
    return None
