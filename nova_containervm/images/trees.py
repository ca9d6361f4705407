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

"""Copy, merge and repeat trees of layers, by descriptors of directories."""

import os
import stat

from nova_containervm.images import forms
from nova_containervm.images import fsutil


def copy_file(src_fd, src, dst_fd, dst):
    """Copy a file with all its attributes; for when links are used up."""
    source = os.open(src, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC,
                     dir_fd=src_fd)
    try:
        st = os.fstat(source)
        goal = os.open(dst, forms.CREATE, 0o600, dir_fd=dst_fd)
        try:
            while os.copy_file_range(source, goal, 1 << 30):
                pass
            for name in os.listxattr(source):
                os.setxattr(goal, name, os.getxattr(source, name))
            if st.st_uid != os.geteuid():
                os.fchown(goal, st.st_uid, st.st_gid)
            os.fchmod(goal, stat.S_IMODE(st.st_mode))
            os.utime(goal, ns=(st.st_mtime_ns, st.st_mtime_ns))
        finally:
            os.close(goal)
    finally:
        os.close(source)


def merge(source, goal):
    """Move everything in one open directory into another."""
    todo = [(os.dup(source), os.dup(goal), None)]
    done = []
    while todo:
        src, dst, _name = todo.pop()
        for name in map(os.fsencode, os.listdir(src)):
            there = fsutil.lstat(name, dst)
            here = fsutil.lstat(name, src)
            if (there is not None and stat.S_ISDIR(there.st_mode)
                    and stat.S_ISDIR(here.st_mode)):
                todo.append((fsutil.open_dir(name, dir_fd=src),
                             fsutil.open_dir(name, dir_fd=dst), name))
                continue
            if there is not None:
                fsutil.remove(name, dst)
            os.rename(name, name, src_dir_fd=src, dst_dir_fd=dst)
        done.append((src, dst))
    for src, dst in done:
        os.close(dst)
        fsutil.empty_dir(src)
        os.close(src)


def clone(source, goal):
    """Fill an empty directory with another one's tree, files as links."""
    todo = [(os.dup(source), os.dup(goal))]
    while todo:
        src, dst = todo.pop()
        for name in map(os.fsencode, os.listdir(src)):
            st = fsutil.lstat(name, src)
            if stat.S_ISDIR(st.st_mode):
                os.mkdir(name, 0o700, dir_fd=dst)
                todo.append((fsutil.open_dir(name, dir_fd=src),
                             fsutil.open_dir(name, dir_fd=dst)))
            elif fsutil.is_whiteout(st):
                os.mknod(name, stat.S_IFCHR | 0o600, 0, dir_fd=dst)
            else:
                os.link(name, name, src_dir_fd=src, dst_dir_fd=dst,
                        follow_symlinks=False)
        st = os.fstat(src)
        for name in os.listxattr(src):
            os.setxattr(dst, name, os.getxattr(src, name))
        if (st.st_uid, st.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(dst, st.st_uid, st.st_gid)
        os.fchmod(dst, stat.S_IMODE(st.st_mode))
        os.utime(dst, ns=(st.st_mtime_ns, st.st_mtime_ns))
        os.close(src)
        os.close(dst)
