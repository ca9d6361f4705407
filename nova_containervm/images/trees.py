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
from nova_containervm.images import names


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


def _both(source, goal, enter, leave):
    """Go through two trees side by side, directories before contents.

    No more descriptors are open than the trees are deep.

    :param enter: function(path, source, goal) of two open directories;
        returns the names of directories, which both have, to go into
    :param leave: function(path, source, goal), called when these are done
    """
    stack = [(b'', os.dup(source), os.dup(goal), None)]
    try:
        while stack:
            path, src, dst, left = stack[-1]
            if left is None:
                left = enter(path, src, dst)
                stack[-1] = path, src, dst, left
            if left:
                name = left.pop()
                child = fsutil.open_dir(name, dir_fd=src)
                stack.append((names.join(path, name), child,
                              fsutil.open_dir(name, dir_fd=dst), None))
                continue
            leave(path, src, dst)
            stack.pop()
            os.close(src)
            os.close(dst)
    finally:
        for _path, src, dst, _left in stack:
            os.close(src)
            os.close(dst)


def merge(source, goal, same):
    """Move everything in one open directory into another.

    The times of directories stay as they were. A whiteout replaces nothing:
    it is about lower layers.

    :param same: function(path, source, goal), called for each directory that
        both have, themselves included, when it is done
    :returns: paths of directories that meet a whiteout or a file: they hide
        what lower layers have in them
    """
    times, hiding = [], []

    def enter(path, src, dst):
        common = []
        times.append((os.fstat(src), os.fstat(dst)))
        for name in map(os.fsencode, os.listdir(src)):
            there = fsutil.lstat(name, dst)
            if there is not None:
                here = fsutil.lstat(name, src)
                is_dir = stat.S_ISDIR(here.st_mode)
                if is_dir and stat.S_ISDIR(there.st_mode):
                    common.append(name)
                    continue
                white = fsutil.is_whiteout(here)
                if is_dir or white and stat.S_ISDIR(there.st_mode):
                    hiding.append(names.join(path, name))
                if white:
                    continue
                fsutil.remove(name, dst)
            os.rename(name, name, src_dir_fd=src, dst_dir_fd=dst)
        return common

    def leave(path, src, dst):
        fsutil.empty_dir(src)
        for fd, st in zip((src, dst), times.pop(), strict=True):
            os.utime(fd, ns=(st.st_atime_ns, st.st_mtime_ns))
        same(path, src, dst)

    _both(source, goal, enter, leave)
    return hiding


def clone(source, goal):
    """Fill an empty directory with another one's tree, files as links."""
    def enter(_path, src, dst):
        dirs = []
        for name in map(os.fsencode, os.listdir(src)):
            st = fsutil.lstat(name, src)
            if stat.S_ISDIR(st.st_mode):
                os.mkdir(name, 0o700, dir_fd=dst)
                dirs.append(name)
            elif fsutil.is_whiteout(st):
                os.mknod(name, stat.S_IFCHR | 0o600, 0, dir_fd=dst)
            else:
                os.link(name, name, src_dir_fd=src, dst_dir_fd=dst,
                        follow_symlinks=False)
        return dirs

    def leave(_path, src, dst):
        st = os.fstat(src)
        for name in os.listxattr(src):
            os.setxattr(dst, name, os.getxattr(src, name))
        if (st.st_uid, st.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(dst, st.st_uid, st.st_gid)
        os.fchmod(dst, stat.S_IMODE(st.st_mode))
        os.utime(dst, ns=(st.st_mtime_ns, st.st_mtime_ns))

    _both(source, goal, enter, leave)
