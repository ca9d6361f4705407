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

"""Compare a layer's tree with its manifest, to find damage."""

import os
import stat
import zlib

from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import manifest
from nova_containervm.images import names

#: Problems reported of one layer; more help nobody.
MOST = 20


def _crc(fd):
    crc = 0
    while True:
        data = os.read(fd, 1 << 20)
        if not data:
            return crc
        crc = zlib.crc32(data, crc)


def _image_xattrs(fd, form):
    """Extended attributes that came from the image, by its names."""
    back = {v: k for k, v in forms.ACLS.items()}
    found = {}
    for name in map(os.fsencode, os.listxattr(fd)):
        if name in back or name.startswith(b'user.') \
                and not name.startswith(forms.RESERVED):
            found[back.get(name, name)] = os.getxattr(fd, name)
        elif form.name == 'passthrough' and (
                name in forms.ACLS or name == forms.CAPABILITY):
            found[name] = os.getxattr(fd, name)
    return found


def _file_problem(fd, st, entry, form, opaque):
    kind, mode, uid, gid, size, mtime, crc, more = entry
    if form.identity(fd) != (mode, uid, gid):
        return 'has another owner or mode'
    if kind == b'd':
        if forms.is_opaque(fd) != opaque:
            return 'hides %s of lower layers' % (
                'no more what it should' if opaque else 'what it should not')
        return None if st.st_mtime_ns == mtime else 'has another time'
    if kind in b'fs':
        if st.st_size != size:
            return 'is %d bytes long, not %d' % (st.st_size, size)
        if st.st_mtime_ns != mtime:
            return 'has another time'
        if (_crc(fd) if kind == b'f'
                else fsutil.sparse_crc(fd, size)) != crc:
            return 'has other contents'
    elif kind == b'l' and form.name == 'mapped' \
            and os.read(fd, 4097) != more:
        return 'leads elsewhere'
    return None


def _problem(dir_fd, name, st, entry, form, opaque):
    """What is wrong with one name, or None."""
    kind, more = entry[0], entry[7]
    if kind == b'w':
        return None if fsutil.is_whiteout(st) else 'is no whiteout'
    if kind in b'hx':
        return None
    if form.name == 'passthrough' and kind not in b'fsd':
        if kind == b'l' and form.readlink(dir_fd, name) != more:
            return 'leads elsewhere'
        return None if st.st_mode == entry[1] else 'has another type or mode'
    if kind == b'd' and not stat.S_ISDIR(st.st_mode):
        return 'is no directory'
    if kind != b'd' and not stat.S_ISREG(st.st_mode):
        return 'is no file'
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                 | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        problem = _file_problem(fd, st, entry, form, opaque)
        if problem is None and kind in b'fsd' and more != manifest.ANY \
                and manifest.xattrs_crc(_image_xattrs(fd, form)) != more:
            problem = 'has other extended attributes'
        return problem
    except OSError as exc:
        return 'cannot be read (%s)' % exc.strerror
    finally:
        os.close(fd)


def compare(record_fd, tree_fd, form):
    """Problems of a tree, as sentences; an empty list when it is whole.

    :param record_fd: the layer's manifest
    :param tree_fd: its open tree
    """
    try:
        entries, opaque = manifest.read(record_fd)
    except (OSError, EOFError, ValueError, zlib.error) as exc:
        return ['the manifest is unreadable (%s)' % exc]
    problems = []
    seen = set()
    for path, fd, found in fsutil.walk(tree_fd):
        if isinstance(fd, OSError):
            problems.append('/%s cannot be read (%s)' % (_text(path),
                                                         fd.strerror))
        for name in found:
            where = names.join(path, name)
            entry = entries.get(where)
            seen.add(where)
            problem = ('is not part of the layer' if entry is None else
                       _problem(fd, name, fsutil.lstat(name, fd), entry,
                                form, where in opaque))
            if problem:
                problems.append('/%s %s' % (_text(where), problem))
        if len(problems) >= MOST:
            return problems[:MOST]
    problems += ['/%s is missing' % _text(path) for path in entries
                 if path and path not in seen]
    return problems[:MOST]


def _text(path):
    return path.decode('utf-8', 'backslashreplace')
