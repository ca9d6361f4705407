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

"""Give up every power that unpacking an image does not need. Linux only.

A process that has called enter() sees one directory as its root, has no
privilege but those named, and cannot win any back.
"""

import ctypes
import os
import resource

PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
_AMBIENT_RAISE = 2
_CAP_VERSION_3 = 0x20080522

#: What it takes to restore owners, modes, device nodes and capabilities of
#: files: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP.
FILE_CAPABILITIES = (0, 1, 3, 4, 27, 31)
#: What it takes to read all of that: DAC_READ_SEARCH.
READ_CAPABILITIES = (2,)

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = [('version', ctypes.c_uint32), ('pid', ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [('effective', ctypes.c_uint32),
                ('permitted', ctypes.c_uint32),
                ('inheritable', ctypes.c_uint32)]


def _check(result, what):
    if result != 0:
        err = ctypes.get_errno()
        raise OSError(err, '%s: %s' % (what, os.strerror(err)))


def prctl(option, value):
    """prctl(2) with one argument."""
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0),
           'prctl(%d)' % option)


def set_capabilities(wanted, inheritable=False):
    """Make *wanted* (numbers) the permitted and effective capabilities."""
    data = (_Data * 2)()
    for cap in wanted:
        bit = 1 << cap % 32
        data[cap // 32].permitted |= bit
        data[cap // 32].effective |= bit
        data[cap // 32].inheritable |= bit if inheritable else 0
    header = _Header(_CAP_VERSION_3, 0)
    _check(_libc.capset(ctypes.byref(header), data), 'capset')


def sync_filesystem(fd):
    """syncfs(2): all that the file system of *fd* still has in memory."""
    _check(_libc.syncfs(fd), 'syncfs')


def enter(root_fd, uid, gid, keep=()):
    """Shut this process into a directory, as *uid*, for good.

    :param root_fd: the open directory that becomes its root
    :param keep: capabilities to keep; only with uid 0
    :raises OSError: one of the steps failed; the caller must then exit
    """
    os.fchdir(root_fd)
    os.chroot('.')
    os.chdir('/')
    _become(uid, gid, keep)
    set_capabilities(keep if uid == 0 else ())
    _seal(uid)


def become(uid, gid, keep=()):
    """Be *uid* for good, with what is executed next.

    :param keep: capabilities that a program keeps that is executed now
    :raises OSError: one of the steps failed; the caller must then exit
    """
    if keep:
        prctl(PR_SET_KEEPCAPS, 1)
    _become(uid, gid, keep)
    set_capabilities(keep, inheritable=True)
    for cap in keep:
        _check(_libc.prctl(PR_CAP_AMBIENT, _AMBIENT_RAISE,
                           ctypes.c_ulong(cap), 0, 0), 'prctl(ambient)')
    _seal(uid)


def _become(uid, gid, keep):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    for cap in range(64):
        if cap not in keep and _libc.prctl(PR_CAPBSET_DROP, cap, 0, 0, 0):
            break  # past the kernel's last one, or no CAP_SETPCAP
    os.setresuid(uid, uid, uid)


def _seal(uid):
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_DUMPABLE, 0)
    if uid:
        try:
            os.setresuid(0, 0, 0)
        except PermissionError:
            pass
        else:
            raise OSError('privileges could not be given up')
