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

"""What a stored image looks like to a container, for comparison."""

import errno
import hashlib
import os
import shutil
import stat
import struct
import subprocess
import tempfile

from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import tarread
from nova_containervm.images import tarwrite
from nova_containervm.images import view

#: Attributes that are this host's business.
HOST_XATTRS = ('user.virtfs.', 'user.overlay.', 'security.selinux')

_TYPES = {tarread.REG: stat.S_IFREG, tarread.DIR: stat.S_IFDIR,
          tarread.SYMLINK: stat.S_IFLNK, tarread.CHR: stat.S_IFCHR,
          tarread.BLK: stat.S_IFBLK, tarread.FIFO: stat.S_IFIFO}

#: Whether disks can be mounted. What fsck.erofs unpacks has no capabilities.
LOOPS = os.path.exists('/dev/loop-control')


def _data(size, digest):
    return '%d:%s' % (size, digest.hexdigest()[:24])


def digest(data):
    """What a manifest says of a file's contents."""
    return _data(len(data), hashlib.sha256(data))


def _entry(form, dir_fd, name, path, groups):
    """One line of a manifest, as a dict."""
    st = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    mode, uid, gid, rdev = st.st_mode, st.st_uid, st.st_gid, st.st_rdev
    data = target = None
    xattrs = {}
    plain = stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode)
    if plain:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dir_fd)
        try:
            if form.name == 'mapped':
                mode, uid, gid = form.identity(fd)
                rdev = 0
                if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                    rdev = struct.unpack('<Q', os.getxattr(
                        fd, forms.VIRTFS_RDEV))[0]
            back = {v.decode(): k.decode() for k, v in forms.ACLS.items()}
            for key in _attributes(fd):
                if key in back:
                    xattrs[back[key]] = os.getxattr(fd, key).hex()
                elif not key.startswith(HOST_XATTRS):
                    xattrs[key] = os.getxattr(fd, key).hex()
            if stat.S_ISREG(mode):
                digest = hashlib.sha256()
                while True:
                    piece = os.read(fd, 1 << 20)
                    if not piece:
                        break
                    digest.update(piece)
                data = _data(st.st_size, digest)
            elif stat.S_ISLNK(mode):
                target = os.fsdecode(os.read(fd, 5000))
        finally:
            os.close(fd)
    elif stat.S_ISLNK(mode):
        target = os.readlink(name, dir_fd=dir_fd)
        target = os.fsdecode(target)
    entry = {'type': stat.S_IFMT(mode), 'mode': oct(stat.S_IMODE(mode)),
             'owner': '%d:%d' % (uid, gid), 'mtime': st.st_mtime_ns}
    if target is not None:
        entry['target'] = target
        entry['mode'] = None
    if data is not None:
        entry['data'] = data
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        entry['rdev'] = rdev
    if xattrs:
        entry['xattrs'] = xattrs
    if not stat.S_ISDIR(st.st_mode):
        groups.setdefault((st.st_dev, st.st_ino), []).append(path)
    return entry


def _attributes(fd):
    try:
        return os.listxattr(fd)
    except OSError as exc:
        # squashfs, if no file on it has any
        if exc.errno != errno.ENOTSUP:
            raise
        return []


def _finish(entries, groups):
    for paths in groups.values():
        if len(paths) > 1:
            for path in paths:
                entries[path]['same'] = sorted(paths)
    return entries


def native(root, form=None):
    """Manifest of a directory (a mount, or what another tool unpacked)."""
    form = form or forms.Passthrough()
    entries, groups = {}, {}
    fd = fsutil.open_dir(root)
    entries['.'] = _entry(form, fd, b'.', '.', groups)
    stack = [('', fd)]
    while stack:
        path, fd = stack.pop()
        for name in os.listdir(fd):
            where = path + name
            entries[where] = _entry(form, fd, os.fsencode(name), where,
                                    groups)
            if entries[where]['type'] == stat.S_IFDIR:
                stack.append((where + '/', fsutil.open_dir(name, dir_fd=fd)))
        os.close(fd)
    return _finish(entries, groups)


def stored(image, mode):
    """Manifest of a StoredImage: its layers, merged by us."""
    form = forms.FORMS[mode]()
    fds = [fsutil.open_dir(d) for d in reversed(image.layer_dirs)]
    merged = view.View(list(enumerate(fds)), form)
    entries, groups = {}, {}
    entries['.'] = _entry(form, fds[0], b'.', '.', groups)
    stack = [b'']
    try:
        while stack:
            path = stack.pop()
            found = set()
            for _layer, fd in merged.all_of(merged.find(path)):
                found.update(map(os.fsencode, os.listdir(fd)))
            for name in found:
                where = path + b'/' + name if path else name
                item = merged.find(where)
                if item is None:
                    continue
                holder = item.fd
                if item.dirs is not None:
                    stack.append(where)
                text = os.fsdecode(where)
                entries[text] = _entry(form, holder, name, text, groups)
    finally:
        merged.close()
        for fd in fds:
            os.close(fd)
    caps = dict(image.file_caps)
    for path, value in caps.items():
        entries[path].setdefault('xattrs', {})['security.capability'] = value
    return _finish(entries, groups)


def disk(path):
    """Manifest of a file system in a file, as the kernel shows it.

    In a container without loop devices: as fsck.erofs unpacks it.
    """
    place = tempfile.mkdtemp(prefix='disk')
    try:
        if not LOOPS:
            return _unpacked(path, place)
        subprocess.run(['mount', '-o', 'ro,loop,nosuid,nodev', path, place],
                       check=True)
        try:
            return native(place)
        finally:
            subprocess.run(['umount', place], check=True)
    finally:
        shutil.rmtree(place)


def _unpacked(path, place):
    # Those of before 1.8 leave attributes out.
    tool = os.path.join(os.path.dirname(os.environ.get(
        'CONTAINERVM_MKFS_EROFS', '')), 'fsck.erofs')
    subprocess.run([tool, '--extract=' + place + '/root', '--preserve',
                    '--xattrs', path], check=True, capture_output=True)
    return native(place + '/root')


def of(image, mode):
    """Manifest of a StoredImage."""
    return disk(image.disk) if mode == 'block' else stored(image, mode)


def nodes(root, spools):
    """Manifest of a merged tree of nodes."""
    entries, groups = {}, {}
    for path, node, _link in tarwrite.walk(root):
        entry = {'type': _TYPES[node.kind], 'mode': oct(node.mode),
                 'owner': '%d:%d' % (node.uid, node.gid),
                 'mtime': node.mtime}
        if node.kind == tarread.SYMLINK:
            entry.update(target=os.fsdecode(node.target), mode=None)
        elif node.kind == tarread.REG:
            entry['data'] = digest(os.pread(spools[node.spool], node.size,
                                            node.start))
        elif node.kind in (tarread.CHR, tarread.BLK):
            entry['rdev'] = os.makedev(node.major, node.minor)
        if node.xattrs:
            entry['xattrs'] = {os.fsdecode(k): v.hex()
                               for k, v in node.xattrs.items()}
        name = os.fsdecode(path) or '.'
        if not node.is_dir:
            groups.setdefault(id(node), []).append(name)
        entries[name] = entry
    return _finish(entries, groups)


def difference(ours, theirs, ignore=()):
    """Human-readable differences of two manifests."""
    out = []
    for path in sorted(set(ours) | set(theirs)):
        a, b = ours.get(path), theirs.get(path)
        if a is None or b is None:
            out.append('%s: only in %s' % (path, 'ours' if a else 'theirs'))
            continue
        for key in sorted(set(a) | set(b)):
            if key not in ignore and a.get(key) != b.get(key):
                out.append('%s: %s %r != %r' % (path, key, a.get(key),
                                                b.get(key)))
    return out
