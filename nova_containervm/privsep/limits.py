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

"""Limits for what a server writes to a directory of this host, as root.

Either the directory is a filesystem of its own, in a file of the limit's size,
or the filesystem that it is on limits it, as a project of its own
(quotactl(2), ioctl_xfs_fsgetxattr(2)). As in mounts.py each function checks
its arguments itself.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import struct
import zlib

from oslo_concurrency import processutils

from nova_containervm import privsep
from nova_containervm.privsep import mounts
from nova_containervm.privsep import paths

MIB = 1 << 20

#: One file for so many bytes, as mke2fs has it.
BYTES_PER_INODE = 16384

_FS_IOC_FSGETXATTR = 0x801c581f
_FS_IOC_FSSETXATTR = 0x401c5820
_FSXATTR = struct.Struct('IIIII8s')
_XFLAG_PROJINHERIT = 0x200

_SYS_QUOTACTL_FD = 443
_PRJQUOTA = 2
_Q_GETQUOTA = 0x800007
_Q_SETQUOTA = 0x800008
# struct if_dqblk: hard and soft limit and use of space (limits in KiB, use in
# bytes), the same of inodes, two grace times, what of it is valid
_DQBLK = struct.Struct('QQQQQQQQI4x')
_QIF_LIMITS = 0x5

_LOOP_CTL_GET_FREE = 0x4c82
_LOOP_GET_STATUS64 = 0x4c05
_LOOP_CONFIGURE = 0x4c0a
_LO_FLAGS_AUTOCLEAR = 4
# struct loop_config: fd, block size, loop_info64 with its flags, reserved
_LOOP_CONFIG = struct.Struct('II52xI176x64x')
# struct loop_info64: device and inode of the file, and more
_LOOP_INFO = struct.Struct('QQ216x')

_libc = ctypes.CDLL(None, use_errno=True)


# -- a filesystem in a file --------------------------------------------------

@privsep.ctx.entrypoint
def mount_file(path, directory, size):
    """Mount the filesystem in a file, made if it does not exist.

    A file that is smaller than ``size`` grows, with its filesystem; at a later
    call if it is still mounted in a mount namespace of somebody else.

    :param path: of the file
    :param directory: where to; made if it does not exist
    :param size: bytes
    :raises ValueError: an argument is not allowed
    :raises processutils.ProcessExecutionError: a tool failed
    """
    path = paths.own(path)
    directory = paths.own(directory)
    if mounts.is_mounted(directory):
        return
    if not os.path.lexists(path):
        _make_file(path, size)
    mounts.make_private(directory)
    # nova could have put another file in its place, to have root mount it.
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        info = os.fstat(file)
        if (not stat.S_ISREG(info.st_mode) or info.st_uid or
                info.st_nlink != 1 or info.st_mode & 0o077):
            raise ValueError('%s is not the file that was made' % path)
        with _loop_device(file, size) as (device, grown):
            if grown:
                processutils.execute('e2fsck', '-f', '-p', device,
                                     check_exit_code=[0, 1])
                processutils.execute('resize2fs', device)
            # noinit_itable: no thread that writes zeros over the holes
            processutils.execute(
                'mount', '-t', 'ext4', '-o', 'discard,noinit_itable,'
                'errors=remount-ro,' + mounts.SAFE_OPTIONS, device, directory)
    finally:
        os.close(file)


def _make_file(path, size):
    staging = path + '.new'
    with contextlib.suppress(FileNotFoundError):
        os.unlink(staging)
    os.close(os.open(staging, os.O_RDWR | os.O_CREAT | os.O_EXCL
                     | os.O_NOFOLLOW, 0o600))
    os.truncate(staging, size)
    processutils.execute(
        'mke2fs', '-q', '-F', '-t', 'ext4', '-m', '0', '-i',
        str(BYTES_PER_INODE), '-E',
        'nodiscard,lazy_itable_init=1,lazy_journal_init=1', staging)
    os.rename(staging, path)


@contextlib.contextmanager
def _loop_device(file, size):
    """A loop device on an open file: its path, and whether the file grew.

    If there is one already it is mounted: an unmount takes effect in the own
    mount namespace only, and others, as of a container engine, may have a
    copy. A second device would mean two caches for one filesystem, and the
    loss of what was written last. It goes away with its last user.
    """
    device = _find_loop(file)
    grow = device is None and os.fstat(file).st_size < size
    if grow:
        os.ftruncate(file, size)
    path, fd = device or _new_loop(file)
    try:
        yield path, grow
    finally:
        os.close(fd)


def _find_loop(file):
    """Path and descriptor of the loop device on a file; None: has none."""
    info = os.fstat(file)
    for name in os.listdir('/sys/block'):
        if not os.path.isdir('/sys/block/%s/loop' % name):
            continue
        path = '/dev/' + name
        device = None
        try:
            # Not for writing: others' may be read-only, as those of snaps.
            device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            # Asked now that it cannot go away any more
            status = fcntl.ioctl(device, _LOOP_GET_STATUS64,
                                 bytes(_LOOP_INFO.size))
            if _LOOP_INFO.unpack(status) == (info.st_dev, info.st_ino):
                found, device = device, None
                return path, found
        except OSError as e:
            # No node here; it has no file, or is just losing it
            if e.errno not in (errno.ENOENT, errno.ENXIO):
                raise
        finally:
            if device is not None:
                os.close(device)
    return None


def _new_loop(file):
    """Path and descriptor of a new loop device on a file."""
    config = _LOOP_CONFIG.pack(file, 0, _LO_FLAGS_AUTOCLEAR)
    try:
        control = os.open('/dev/loop-control', os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise OSError(
            errno.ENODEV, 'this host has no /dev/loop-control, which '
            '[containervm] share_limit = file needs: load the module loop, or '
            'set share_limit = project')
    try:
        for _attempt in range(100):
            path = '/dev/loop%d' % fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, config)
            except OSError as e:
                os.close(device)
                if e.errno != errno.EBUSY:
                    raise
                continue  # somebody else was faster
            return path, device
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, 'no loop device is free')


@privsep.ctx.entrypoint
def unmount_file(directory):
    """Unmount what mount_file() has mounted.

    All of it is in the file then, even if it stays mounted in another mount
    namespace.

    :raises processutils.ProcessExecutionError: it is in use
    """
    directory = paths.own(directory)
    if mounts.is_mounted(directory):
        processutils.execute('sync', '--file-system', directory)
        mounts.unmount(directory)


@privsep.ctx.entrypoint
def remove_file(path):
    """Remove the file of a filesystem that is not mounted any more."""
    path = paths.own(path)
    for name in (path, path + '.new'):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


# -- a project of the filesystem ---------------------------------------------

@contextlib.contextmanager
def _opened(directory):
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                 | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@privsep.ctx.entrypoint
def limit_directory(directory, size):
    """Make a directory a project of its own, and limit it.

    :param directory: made if it does not exist
    :param size: bytes that everything below it may take
    :raises OSError: the filesystem has no project quotas
    """
    directory = paths.own(directory)
    mounts.make_private(directory)
    with _opened(directory) as fd:
        project = _project(fd)
        if not project:
            project = _free_project(fd)
            flags, extent, count, _id, cow, pad = _fsxattr(fd)
            fcntl.ioctl(fd, _FS_IOC_FSSETXATTR, _FSXATTR.pack(
                flags | _XFLAG_PROJINHERIT, extent, count, project, cow, pad))
        _quotactl(fd, _Q_SETQUOTA, project, _DQBLK.pack(
            size >> 10, size >> 10, 0, size // BYTES_PER_INODE,
            size // BYTES_PER_INODE, 0, 0, 0, _QIF_LIMITS))


@privsep.ctx.entrypoint
def release_directory(directory):
    """Take the limit of a directory away, which is empty or to be removed."""
    directory = paths.own(directory)
    with _opened(directory) as fd:
        project = _project(fd)
        if project:
            _quotactl(fd, _Q_SETQUOTA, project, _DQBLK.pack(
                0, 0, 0, 0, 0, 0, 0, 0, _QIF_LIMITS))


@privsep.ctx.entrypoint
def room_in_directory(directory):
    """What may still be written to a limited directory, in bytes."""
    directory = paths.own(directory)
    with _opened(directory) as fd:
        hard, used = _use(fd, _project(fd))
        return max(0, hard - used)


@privsep.ctx.entrypoint
def probe_project_quota(directory):
    """What kind of filesystem with project quotas a directory is on.

    :returns: ``ext4``, ``xfs`` or another, or None for one without
    """
    directory = paths.own(directory)
    with _opened(directory) as fd:
        try:
            _use(fd, 0)
            _fsxattr(fd)
        except OSError:
            return None
    return processutils.execute('stat', '--file-system', '--format=%T',
                                directory)[0].strip()


def _fsxattr(fd):
    return _FSXATTR.unpack(fcntl.ioctl(fd, _FS_IOC_FSGETXATTR,
                                       bytes(_FSXATTR.size)))


def _project(fd):
    return _fsxattr(fd)[3]


def _free_project(fd):
    """A project id that nothing on the filesystem has."""
    info = os.fstat(fd)
    candidate = zlib.crc32(b'%d %d' % (info.st_ino, info.st_ctime_ns))
    for number in range(candidate, candidate + 1000):
        number = 1 << 30 | number & 0x3fffffff
        if _use(fd, number) == (0, 0):
            return number
    raise OSError(errno.EBUSY, 'no project id is free')


def _use(fd, project):
    """Limit and use of a project, in bytes."""
    block = ctypes.create_string_buffer(_DQBLK.size)
    try:
        _quotactl(fd, _Q_GETQUOTA, project, block)
    except OSError as e:
        if e.errno == errno.ENOENT:
            return 0, 0  # XFS: never heard of it
        raise
    hard, _soft, used, *_rest = _DQBLK.unpack(block.raw)
    return hard << 10, used


def _quotactl(fd, command, project, block):
    if _libc.syscall(_SYS_QUOTACTL_FD, ctypes.c_uint(fd),
                     ctypes.c_uint((command << 8 | _PRJQUOTA) & 0xffffffff),
                     ctypes.c_uint(project), block):
        error = ctypes.get_errno()
        raise OSError(error, 'quotactl: ' + os.strerror(error))
