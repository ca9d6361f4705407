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

"""What hostile images try, and what must come of it.

Every entry is a function of the path of a canary directory outside; it
returns layers (lowest first) or a whole archive. Nothing may touch the
canary. ``error`` is the exception, or None for a harmless result; ``there``
and ``gone`` are paths to find, or not, in that result.

The cases are those that containerd's and moby's breakout tests and umoci's
hardening tests are about, and those of our own design.
"""

from collections.abc import Callable
import dataclasses
import gzip
import json
from typing import Any

from tests.unit.images import builders
from tests.unit.images.builders import Tar

XATTR = 'SCHILY.xattr.'


@dataclasses.dataclass
class Attack:
    name: str
    make: Callable[[str], Any]
    error: str | None = None
    words: str = ''
    there: dict = dataclasses.field(default_factory=dict)
    gone: tuple = ()
    limits: dict = dataclasses.field(default_factory=dict)


def _base():
    return Tar().dir('etc').file('etc/passwd', b'root').dir('bin')


def _bad(name, make, words='', error='BadMember', **more):
    return Attack(name, make, error, words, **more)


def _layer(*lines):
    """One layer from (method, arguments...) with %c for the canary."""
    def make(canary):
        tar = _base()
        for method, *args in lines:
            args = [a.replace('%c', canary) if isinstance(a, str) else a
                    for a in args]
            getattr(tar, method)(*args)
        return [tar.end()]
    return make


def _layers(*layers):
    def make(canary):
        return [x for lines in layers for x in _layer(*lines)(canary)]
    return make


NAMES = [
    _bad('dotdot', _layer(('file', '../canary/x', b'bad')), '(..)'),
    _bad('dotdot alone', _layer(('dir', '..')), '(..)'),
    _bad('dotdot inside', _layer(('file', 'etc/../../canary/x')), '(..)'),
    _bad('dotdot that stays inside', _layer(('file', 'etc/../x')), '(..)'),
    _bad('dotdot behind a dot', _layer(('file', './../canary/x')), '(..)'),
    _bad('dotdot at the end', _layer(('dir', 'etc/..')), '(..)'),
    _bad('dotdot with many slashes', _layer(('file', '..////canary//x')),
         '(..)'),
    _bad('dotdot in a PAX path', lambda c: [
        _base().add('x', pax={'path': '../canary/x'}).end()], '(..)'),
    _bad('dotdot in a GNU long name', lambda c: [
        _base().add('././@LongLink', b'L', b'../canary/x\0').file('x')
        .end()], '(..)'),
    _bad('dotdot in a ustar prefix', lambda c: [
        _base().raw(builders.header(b'x', prefix=b'../canary')).end()],
        '(..)'),
    Attack('absolute name', _layer(('file', '%c/x', b'bad')),
           there={'{canary}/x': 'file'}),
    Attack('absolute name, two slashes', _layer(('file', '/%c/x', b'bad')),
           there={'{canary}/x': 'file'}),
    _bad('NUL in a PAX path', lambda c: [
        _base().add('x', pax={'path': b'x\0../../canary/x'}).end()],
        'extended header', 'Damaged'),
    Attack('NUL in a name', lambda c: [
        _base().raw(builders.header(b'x\0/../../y')).end()],
        there={'x': 'file'}),
    _bad('root as a file', _layer(('file', './', b'x')), 'root'),
    _bad('root as a symbolic link', _layer(('symlink', '/', '%c')), 'root'),
    _bad('root as a hard link', _layer(('link', '.', 'etc/passwd')), 'root'),
    _bad('root as a device', _layer(('add', './', b'3')), 'root'),
    _bad('empty name', lambda c: [_base().raw(builders.header(b'')).end()],
         'root'),
    _bad('component of 256 bytes', _layer(('file', 'x' * 256)), '255'),
    _bad('path too long', _layer(('file', '/'.join(['y' * 200] * 25))),
         'max_path_length = 4096', 'LimitExceeded'),
    _bad('too deep', _layer(('file', '/'.join('z' * 300))),
         'max_nesting = 255', 'LimitExceeded'),
]

SYMLINKS = [
    Attack('write through a link out', _layer(
        ('symlink', 'out', '../canary'), ('file', 'out/x', b'bad')),
        there={'canary/x': 'file'}),
    Attack('write through an absolute link', _layer(
        ('symlink', 'out', '%c'), ('file', 'out/x', b'bad')),
        there={'{canary}/x': 'file'}),
    Attack('write through a chain of links', _layer(
        ('symlink', 'a', 'b'), ('symlink', 'b', 'c'),
        ('symlink', 'c', '../../..%c'), ('file', 'a/x', b'bad')),
        there={'{canary}/x': 'file'}),
    Attack('write through a link to the root', _layer(
        ('symlink', 'r', '/'), ('file', 'r/r/r/x', b'bad')),
        there={'x': 'file'}),
    Attack('write through /proc', _layer(
        ('symlink', 'p', '/proc/self/cwd'), ('file', 'p/x', b'bad')),
        there={'proc/self/cwd/x': 'file'}),
    Attack('many dotdots in a target', _layer(
        ('symlink', 'out', '../' * 40 + '%c'), ('file', 'out/x')),
        there={'{canary}/x': 'file'}),
    _bad('loop of links', _layer(
        ('symlink', 'a', 'b'), ('symlink', 'b', 'a'), ('file', 'a/x')),
        'loop'),
    _bad('link to itself', _layer(('symlink', 's', 's'), ('file', 's/x')),
         'loop'),
    _bad('links that grow', _layer(
        ('symlink', 's', 's/s/s/s/s/s/s/s'), ('file', 's/x')), ''),
    Attack('file over a link', _layer(
        ('symlink', 'f', '%c/keep'), ('file', 'f', b'bad')),
        there={'f': 'file'}),
    Attack('directory over a link, then write', _layer(
        ('symlink', 'd', '%c'), ('dir', 'd'), ('file', 'd/x', b'bad')),
        there={'d/x': 'file'}),
    Attack('link over a used directory', _layer(
        ('dir', 'd'), ('file', 'd/a'), ('symlink', 'd', '%c'),
        ('file', 'd/x', b'bad')), there={'{canary}/x': 'file'}),
    Attack('link swapped again and again', _layer(*[
        step for n in range(20) for step in (
            ('dir', 'd'), ('file', 'd/a%d' % n), ('symlink', 'd', '%c'),
            ('file', 'd/b%d' % n))]), there={'{canary}/b19': 'file'}),
    Attack('link in a lower layer', _layers(
        [('symlink', 'out', '%c')], [('file', 'out/x', b'bad')])),
    Attack('dotdot link in a lower layer', _layers(
        [('symlink', 'out', '../../canary')], [('file', 'out/x', b'b')])),
    Attack('lower link to the directory that it is in', _layers(
        [('symlink', 'b', 'b/..')], [('file', 'b/b', b'file')]),
        there={'b': b'file'}),
    Attack('lower link to a directory above, which is replaced', _layers(
        [('dir', 'a'), ('symlink', 'a/b', '../../..')],
        [('file', 'a/b/aside0'), ('file', 'a/b/a', b'file')]),
        there={'a': b'file', 'aside0': 'file'}),
    Attack('lower link that leads nowhere yet', _layers(
        [('symlink', 'out', '../../new/%c/place')],
        [('file', 'out/x', b'bad')]), there={'out': 'link'}),
    Attack('file over a lower link', _layers(
        [('symlink', 'f', '%c/keep')], [('file', 'f', b'bad')]),
        there={'f': 'file'}),
    Attack('attributes of a lower link', _layers(
        [('symlink', 'd', '%c')], [('dir', 'd')]), there={'d': 'dir'}),
    Attack('two lower links', _layers(
        [('symlink', 'a', '/b')], [('symlink', 'b', '%c')],
        [('file', 'a/x', b'bad')])),
    Attack('whiteout through a link', _layer(
        ('symlink', 'out', '%c'), ('file', 'out/.wh.keep'))),
    Attack('opaque through a link', _layer(
        ('symlink', 'out', '%c'), ('file', 'out/.wh..wh..opq'))),
    _bad('link without target', lambda c: [
        _base().raw(builders.header(b's', b'2')).end()], 'target'),
    _bad('link with a long target', _layer(('symlink', 's', 'x' * 5000)),
         'target'),
    Attack('passwd is a link out', _layer(
        ('symlink', 'etc/passwd', '%c/keep')), there={'etc/passwd': 'link'}),
]

HARDLINKS = [
    _bad('hard link with dotdot', _layer(
        ('link', 'h', '../canary/keep')), '(..)'),
    _bad('hard link to an absolute name', _layer(
        ('link', 'h', '%c/keep')), 'neither this layer'),
    _bad('hard link through a link', _layer(
        ('symlink', 'out', '%c'), ('link', 'h', 'out/keep')),
        'neither this layer'),
    Attack('hard link to a link, then write', _layer(
        ('symlink', 'out', '%c/keep'), ('link', 'h', 'out'),
        ('file', 'h', b'bad')), there={'h': 'file', 'out': 'link'}),
    Attack('hard link to a link, then through it', _layer(
        ('symlink', 'out', '%c'), ('link', 'h', 'out'),
        ('file', 'h/x', b'bad')), there={'{canary}/x': 'file'}),
    _bad('hard link to a directory', _layer(('link', 'h', 'etc')),
         'directory'),
    _bad('hard link to the root', _layer(('link', 'h', '/')), 'directory'),
    _bad('hard link to nothing', _layer(('link', 'h', 'nowhere')),
         'neither this layer'),
    _bad('hard link to nothing, with long names', _layer(
        ('link', '\u9577\u3044' * 40 + '/' + '\u540d' * 80,
         '\n' * 200 + '/' + '\u524d' * 80)), 'neither this layer'),
    _bad('hard link to a directory, with long names', _layer(
        ('dir', '\u9577\u3044' * 40 + '/' + '\u540d' * 80),
        ('link', '\t' * 200, '\u9577\u3044' * 40 + '/' + '\u540d' * 80)),
        'directory'),
    _bad('files in a lower link, with long names', _layers(
        [('symlink', 'l' * 200, 'x' * 200 + '/y'), ('dir', 'x' * 200 + '/y')],
        [('file', 'x' * 200 + '/y'), ('file', 'l' * 200 + '/in')]),
        'in a lower layer'),
    _bad('hard link without target', lambda c: [
        _base().raw(builders.header(b'h', b'1')).end()], 'directory'),
    Attack('hard link to itself', _layer(
        ('file', 'h', b'x'), ('link', 'h', 'h')), there={'h': 'file'}),
    _bad('hard link in place of its target', _layer(
        ('dir', 'd'), ('file', 'd/f'), ('link', 'd', 'd/f')), 'own target'),
    _bad('hard link below its target', _layer(
        ('file', 'f'), ('link', 'f/x', 'f')), 'no directory'),
    _bad('hard link to a lower directory', _layers(
        [('dir', 'd')], [('link', 'h', 'd')]), 'directory'),
    _bad('hard link through a lower link', _layers(
        [('symlink', 'out', '%c')], [('link', 'h', 'out/keep')]),
        'neither this layer'),
    Attack('content behind a lower hard link', _layers(
        [('file', 'f', b'old')],
        [('link', 'h', 'f'), ('file', 'h', b'new')]),
        there={'f': b'old', 'h': b'new'}),
    Attack('mode of a lower hard link', _layers(
        [('file', 'f', b'old')], [('link', 'h', 'f'), ('dir', 'h')]),
        there={'f': b'old', 'h': 'dir'}),
    Attack('hard link with data', lambda c: [
        _base().file('f', b'f').raw(builders.header(
            b'h', b'1', 512, linkname=b'f')).end()], there={'h': 'file'}),
]

WHITEOUTS = [
    _bad('whiteout of nothing', _layer(('file', '.wh.')), 'whiteout'),
    _bad('whiteout of dot', _layer(('file', '.wh..')), 'whiteout'),
    _bad('whiteout of dotdot', _layer(('file', '.wh...')), 'whiteout'),
    _bad('whiteout of dotdot in a directory', _layer(
        ('file', 'etc/.wh...')), 'whiteout'),
    _bad('whiteout outside', _layer(('file', '../.wh.canary')), '(..)'),
    Attack('opaque root', _layers(
        [('file', 'old')], [('file', '.wh..wh..opq'), ('file', 'new')]),
        there={'new': 'file'}, gone=('old',)),
    Attack('whiteout that is a symbolic link', _layers(
        [('file', 'f')], [('symlink', '.wh.f', '%c')]), gone=('f',)),
    Attack('whiteout that is a directory', _layers(
        [('file', 'f')], [('dir', '.wh.f')]), gone=('f',)),
    Attack('whiteout of what the layer has', _layers(
        [('dir', 'd'), ('file', 'd/old')],
        [('dir', 'd'), ('file', 'd/new'), ('file', '.wh.d')]),
        there={'d/new': 'file'}, gone=('d/old',)),
    Attack('whiteouts of nothing make no directory', _layers(
        [('file', 'f')], [('file', 'f/.wh.x'), ('file', 'n/.wh.x'),
                          ('file', 'm/.wh..wh..opq')]),
        there={'f': 'file'}, gone=('n', 'm')),
    Attack('whiteouts below a file of the layer', _layers(
        [('dir', 'f')], [('file', 'f'), ('file', 'f/.wh.x')]),
        there={'f': 'file'}),
    Attack('a file for a moment hides a lower directory', _layers(
        [('dir', 'd'), ('file', 'd/old')],
        [('file', 'd'), ('dir', 'd'), ('file', 'd/new')]),
        there={'d/new': 'file'}, gone=('d/old',)),
    Attack("aufs' own names", _layer(
        ('dir', '.wh..wh.plnk'), ('file', '.wh..wh.plnk/1.2', b'x'),
        ('file', '.wh..wh.aufs')), gone=('.wh..wh.plnk', '.wh..wh.aufs')),
    Attack('whiteout below a file', _layers(
        [('file', 'f')], [('file', 'd/.wh.f')]), there={'f': 'file'}),
    Attack('opaque through a lower link', _layers(
        [('dir', 'd'), ('file', 'd/old'), ('symlink', 'l', 'd')],
        [('file', 'l/.wh..wh..opq'), ('file', 'l/new')]),
        there={'d/new': 'file', 'l': 'link'}, gone=('d/old',)),
    Attack('a lower link into a directory of the layer', _layers(
        [('dir', 'd'), ('dir', 'd/s'), ('symlink', 'l', 'd')],
        [('dir', 'd/s'), ('file', 'd/s/a'), ('file', 'l/s/b')]),
        there={'d/s/a': 'file', 'd/s/b': 'file'}),
    Attack('whiteout below a lower link', _layers(
        [('symlink', 'out', '%c')], [('file', 'out/.wh.keep')])),
]

NODES = [
    Attack('device 0:0', lambda c: [_base().add('n', b'3').end()]),
    Attack('block device', _layer(('add', 'sda', b'4')),
           there={'sda': 'blk'}),
    _bad('device with a huge number', lambda c: [
        _base().add('n', b'3', major=1 << 13).end()], 'device number'),
    Attack('fifo in place of a directory', _layer(
        ('dir', 'd'), ('file', 'd/x'), ('add', 'd', b'6')),
        there={'d': 'fifo'}),
    _bad('file below a fifo', _layer(('add', 'p', b'6'), ('file', 'p/x')),
         'no directory'),
    _bad('file below a file', _layer(('file', 'p'), ('file', 'p/x')),
         'no directory'),
    Attack('attributes for QEMU', lambda c: [_base().file('f', b'', pax={
        XATTR + 'user.virtfs.mode': b'\xff\x0f\0\0',
        XATTR + 'user.virtfs.uid': b'\0\0\0\0',
        XATTR + 'user.virtfs.system.posix_acl_access': b'x'}, uid=7,
        mode=0o600).end()], there={'f': 'file 600 7'}),
    Attack('attributes for overlayfs', lambda c: [
        _base().dir('d').file('d/x').end(),
        _base().dir('d', pax={XATTR + 'user.overlay.opaque': b'y',
                              XATTR + 'trusted.overlay.opaque': b'y',
                              XATTR + 'user.overlay.redirect': b'/etc',
                              XATTR + 'user.overlay.whiteout': b''}).end()],
        there={'d/x': 'file'}),
    Attack('attributes of the host', lambda c: [_base().file('f', pax={
        XATTR + 'security.selinux': b'system_u', XATTR + 'trusted.x': b'1',
        XATTR + 'security.ima': b'x', XATTR + 'system.weird': b'x',
        XATTR + '': b'x', XATTR + 'nonsense': b'x'}).end()],
        'BadMember', 'impossible name'),
    _bad('attribute name of 300 bytes', lambda c: [
        _base().file('f', pax={XATTR + 'user.' + 'x' * 300: b''}).end()],
        'impossible name'),
    _bad('too many attributes', lambda c: [
        _base().file('f', pax={XATTR + 'user.a%d' % n: b'x' * 4000
                               for n in range(40)}).end()], 'attributes'),
    _bad('attribute of 70 kB', lambda c: [
        _base().file('f', pax={XATTR + 'user.a': b'x' * 70000}).end()],
        'attributes'),
    Attack('capability on a link', lambda c: [
        _base().symlink('s', '/bin', pax={
            XATTR + 'security.capability': builders.capability()}).end()],
        there={'s': 'link'}),
    _bad('long capability', lambda c: [_base().file('f', pax={
        XATTR + 'security.capability': b'x' * 100}).end()], ''),
]


def _raw(*blocks):
    return lambda c: [_base().out.getvalue() + b''.join(blocks)
                      + bytes(1024)]


def _damaged(name, make, words=''):
    return Attack(name, make, 'Damaged', words)


def _pax(data):
    return _raw(builders.header(b'x', b'x', len(data)),
                builders.padded(data), builders.header(b'f'))


def _gnu_sparse(parts, size, stored):
    rest = bytearray(167)
    for i, (offset, length) in enumerate(parts):
        at = 386 - 345 + 24 * i
        rest[at:at + 24] = (builders.octal(offset, 12)
                            + builders.octal(length, 12))
    rest[138:150] = builders.octal(size, 12)
    return _raw(builders.header(b'f', b'S', stored, magic=b'ustar  \0',
                                rest=bytes(rest)), bytes(stored))


def _sparse_1_0(text, data=b''):
    return lambda c: [_base().add(
        'f', b'0', builders.padded(text) + data, pax=[
            ('GNU.sparse.major', 1), ('GNU.sparse.minor', 0),
            ('GNU.sparse.name', 'f'), ('GNU.sparse.realsize', 4096)]).end()]


TAR = [
    _damaged('wrong checksum', _raw(builders.header(b'f', checksum=1)),
             'checksum'),
    _damaged('negative size', _raw(builders.header(
        b'f', size=b'\xff' * 12)), 'size'),
    _damaged('size over 2^63', _raw(builders.header(
        b'f', size=b'\x80' + b'\xff' * 11)), 'size'),
    Attack('size past the end', _raw(builders.header(b'f', size=10 ** 9)),
           'Truncated'),
    _damaged('size that is no number', _raw(builders.header(
        b'f', size=b'0o777      \0')), 'size'),
    _damaged('size with underscores', _raw(builders.header(
        b'f', size=b'1_0        \0')), 'size'),
    _damaged('negative size in PAX', _pax(builders.pax_records(
        [('size', '-1')]))),
    _damaged('PAX length too long', _pax(b'99 path=x\n'), 'length'),
    _damaged('PAX length too short', _pax(b'5 path=x\n'), 'length'),
    _damaged('PAX without newline', _pax(b'9 path=xx'), 'length'),
    _damaged('PAX without length', _pax(b' path=xx\n'), 'length'),
    _damaged('PAX without equals sign', _pax(b'9 pathxx\n'), 'key'),
    _damaged('PAX header of 2 MiB', _raw(builders.header(
        b'x', b'x', 2 << 20)), 'extended header of'),
    _damaged('long name of 1 GiB', _raw(builders.header(
        b'x', b'L', 1 << 30)), 'extended header of'),
    _damaged('unknown type', _raw(builders.header(b'f', b'Z')), 'type'),
    _damaged('multi-volume', _raw(builders.header(b'f', b'M')), 'type'),
    _damaged('owner over 2^32', _raw(builders.header(b'f', uid=1 << 40)),
             'owner'),
    _damaged('negative owner', _raw(builders.header(b'f', uid=-5)), 'owner'),
    _damaged('time that is none', _pax(builders.pax_records(
        [('mtime', 'soon')]))),
    Attack('time of the year 10^12', _pax(builders.pax_records(
        [('mtime', '9' * 20)])), there={'f': 'file'}),
    _damaged('sparse map overlaps', _gnu_sparse(
        [(0, 512), (256, 512)], 4096, 1024), 'sparse'),
    _damaged('sparse map past the end', _gnu_sparse(
        [(0, 512), (8192, 512)], 4096, 1024), 'sparse'),
    _damaged('sparse map larger than the data', _gnu_sparse(
        [(0, 4096)], 4096, 512), 'sparse'),
    _damaged('sparse map smaller than the data', _gnu_sparse(
        [(0, 512)], 4096, 1024), 'sparse'),
    _damaged('sparse map with a billion parts', _sparse_1_0(
        b'1000000000\n'), 'sparse'),
    _damaged('sparse map that is cut off', _sparse_1_0(b'3\n0\n'),
             'sparse'),
    _damaged('sparse map of words', _sparse_1_0(b'one\n'), 'sparse'),
    Attack('end inside a header', lambda c: [
        _base().out.getvalue() + builders.header(b'f')[:300]], 'Truncated'),
    Attack('end behind an extended header', lambda c: [
        _base().out.getvalue() + builders.header(b'x', b'L', 4)
        + builders.padded(b'name')], 'Truncated'),
    Attack('rubbish behind the end', lambda c: [
        _base().end() + b'rubbish' * 1000], there={'etc': 'dir'}),
]


def _oci(change):
    """An OCI archive after *change* of its blobs."""
    def make(canary):
        layout = builders.Layout()
        layout.image([_base().end()], ref='x')
        change(layout)
        return layout.end()
    return make


def _docker(change):
    """A docker archive whose manifest went through *change*."""
    def make(canary):
        layer = _base().end()
        conf = builders.config([layer])
        entry = {'Config': 'config.json', 'RepoTags': None,
                 'Layers': ['layer.tar']}
        change(entry, canary)
        return (Tar().file('layer.tar', layer).file('config.json', conf)
                .file('manifest.json', json.dumps([entry]).encode()).end())
    return make


def _swap_layer(layout):
    for digest, data in layout.blobs.items():
        if data[:2] == b'\x1f\x8b':
            layout.blobs[digest] = gzip.compress(Tar().file('bad').end())


def _flip(data, where):
    """*data* with one bit of the first place *where* turned."""
    at = data.index(where)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def _loop(layout):
    first = layout.manifests[0]
    for _ in range(10):
        layout.manifests = []
        layout.index([first])
        first = layout.manifests[0]


def _bomb(compress):
    def make(canary):
        tar = _base()
        for n in range(40):
            tar.file('b%d' % n, b'a' * (1 << 20))
        layout = builders.Layout()
        layout.image([tar.end()], compression=compress)
        return layout.end()
    return make


def _many(compress):
    def make(canary):
        tar = Tar()
        for n in range(33000):
            tar.raw(builders.header(b'%d' % n))
        layout = builders.Layout()
        layout.image([tar.end()], compression=compress)
        return layout.end()
    return make


ARCHIVES = [
    Attack('layer with another content', _oci(_swap_layer),
           'DigestMismatch', 'layer 1 of 1'),
    Attack('config names another layer', lambda c: builders.docker(
        [_base().end()], rootfs={'diff_ids': [builders.sha(b'x')]}),
        'DigestMismatch', 'layer 1 of 1'),
    Attack('layer damaged in a header', lambda c: _flip(
        builders.docker([_base().end()] * 3), b'etc/passwd'),
        'DigestMismatch', 'layer 1 of 3'),
    Attack('layer damaged in a file', lambda c: _flip(
        builders.docker_v1([Tar().file('x').end(), _base().end()]), b'root'),
        'DigestMismatch', 'layer 2 of 2'),
    Attack('compressed layer damaged', lambda c: _flip(
        builders.oci([Tar().file('x').end(), _base().end()]),
        gzip.compress(_base().end(), 6, mtime=0)[20:40]),
        'DigestMismatch', 'layer 2 of 2 (sha256:'),
    Attack('fewer diff_ids than layers', lambda c: builders.docker(
        [_base().end()], rootfs={'diff_ids': []}), 'Damaged', 'lists 0'),
    Attack('no diff_ids', lambda c: builders.docker(
        [_base().end()], rootfs='none'), 'Damaged', 'lists 0'),
    Attack('diff_ids of objects', lambda c: builders.docker(
        [_base().end()], rootfs={'diff_ids': [{}]}), 'DigestMismatch'),
    Attack('layer outside the archive', _docker(
        lambda e, c: e.update(Layers=['../..' + c + '/keep'])), 'Damaged',
        'not in the archive'),
    Attack('config outside the archive', _docker(
        lambda e, c: e.update(Config=c + '/keep')), 'Damaged', 'config'),
    Attack('config is a layer', _docker(
        lambda e, c: e.update(Config='layer.tar')), 'Damaged', 'config'),
    Attack('layer is a config', _docker(
        lambda e, c: e.update(Layers=['config.json'])), 'Damaged',
        'no tar archive'),
    Attack('layers of the wrong type', _docker(
        lambda e, c: e.update(Layers=7)), 'NotAnImage'),
    Attack('index of indexes of indexes', _oci(_loop), 'NotAnImage',
           'nested'),
    Attack('index that names itself', lambda c: Tar().file(
        'index.json', b'{"manifests": [{"digest": "sha256:%s"}]}'
        % (b'a' * 64)).end(), 'Damaged', 'lacks'),
    Attack('links in a circle', lambda c: Tar().symlink('a.tar', 'b.tar')
           .symlink('b.tar', 'a.tar').file('config.json', b'{}').file(
               'manifest.json', b'[{"Config": "config.json", "Layers": '
               b'["a.tar"]}]').end(), 'Damaged'),
    Attack('member twice', lambda c: Tar().file('manifest.json', b'[]')
           .file('manifest.json', b'[]').end(), 'NotAnImage', 'two members'),
    Attack('archive member outside', lambda c: Tar()
           .file('manifest.json', b'[]').file('../canary/x', b'bad').end(),
           'BadMember', '(..)'),
    Attack('JSON that nests deeply', lambda c: Tar().file(
        'manifest.json', b'[' * 500000).end(), 'NotAnImage', 'JSON'),
    Attack('JSON that is a number', lambda c: Tar().file(
        'manifest.json', b'7').file('index.json', b'null').end(),
        'NotAnImage'),
    Attack('JSON of many values', lambda c: Tar().file(
        'manifest.json', b'[' + b'[],' * 300000 + b'[]]').end(),
        'NotAnImage', 'values of JSON'),
    Attack('JSON of many blobs', lambda c: Tar().raw(b''.join(
        Tar().file('%064x.json' % n, b'"%s"' % (b'x' * (1 << 20)))
        .out.getvalue() for n in range(7))).end(), 'NotAnImage',
        'values of JSON'),
    Attack('JSON of 3 MiB', lambda c: Tar().file(
        'manifest.json', b'[' + b' ' * (3 << 20) + b']').end(),
        'NotAnImage'),
    Attack('20001 members', lambda c: Tar().raw(
        b''.join(builders.header(b'%064x.tar' % n, b'2', linkname=b'x')
                 for n in range(20001))).end(), 'NotAnImage', 'members'),
    Attack('gzip bomb', _bomb('gzip'), 'LimitExceeded',
           'max_compression_ratio'),
    Attack('zstd bomb', _bomb('zstd'), 'LimitExceeded',
           'max_compression_ratio'),
    Attack('whole file is a bomb', lambda c: gzip.compress(
        Tar().file('a.tar', b'other' + bytes(40 << 20)).end()),
        'LimitExceeded', 'max_compression_ratio'),
    Attack('damaged gzip', lambda c: _packed(
        lambda d: d[:40] + b'\xff' * 20 + d[60:]), 'Damaged'),
    Attack('truncated gzip', lambda c: _packed(lambda d: d[:-30]),
           'Truncated'),
    Attack('gzip in gzip', lambda c: _packed(gzip.compress), 'Damaged',
           'no tar archive'),
    Attack('xz layer', lambda c: _packed(
        lambda d: b'\xfd7zXZ\x00' + d), 'Unsupported', 'xz'),
    Attack('whole file gzip in gzip', lambda c: gzip.compress(
        gzip.compress(builders.docker([_base().end()]))), 'NotAnImage',
        'twice'),
    Attack('too many entries', lambda c: builders.docker(
        [_base().end()] * 3), 'LimitExceeded', 'max_entries = 2',
        limits={'max_entries': 2}),
    Attack('too many layers', lambda c: builders.docker(
        [_base().end()] * 3), 'LimitExceeded', 'max_layers = 2',
        limits={'max_layers': 2}),
    Attack('too large unpacked', _layer(('file', 'f', b'x' * (3 << 20))),
           'LimitExceeded', 'max_unpacked_mb = 2',
           limits={'max_unpacked_mb': 2}),
    Attack('too large unpacked, in two layers', _layers(
        [('file', 'f', b'x' * (3 << 19))], [('file', 'f', b'y' * (3 << 19))]),
        'LimitExceeded', 'max_unpacked_mb = 2',
        limits={'max_unpacked_mb': 2}),
    Attack('as large unpacked as allowed, in two layers', _layers(
        [('file', 'f', b'x' * (1 << 20))],
        [('file', 'g', b'y' * ((1 << 20) - 8))]),
        there={'g': 'file'}, limits={'max_unpacked_mb': 2}),
    Attack('too many entries, in two layers', lambda c: builders.docker(
        [_base().end(), _base().file('x').end()]), 'LimitExceeded',
        'max_entries = 6', limits={'max_entries': 6}),
    Attack('entries that compress too well', _many('gzip'), 'LimitExceeded',
           'max_compression_ratio = 10', limits={'max_compression_ratio': 10}),
    Attack('too large an archive', _layer(('file', 'f', b'x' * (3 << 20))),
           'LimitExceeded', 'max_image_mb = 2', limits={'max_image_mb': 2}),
    Attack('holes are free', lambda c: [_base().add(
        'f', b'0', builders.padded(b'0\n'), pax=[
            ('GNU.sparse.major', 1), ('GNU.sparse.minor', 0),
            ('GNU.sparse.name', 'f'), ('GNU.sparse.realsize', 1 << 29)])
        .end()], there={'f': 'file'}, limits={'max_unpacked_mb': 1}),
]


def _packed(change):
    """An OCI archive with one gzip layer that went through *change*."""
    layout = builders.Layout()
    layer = _base().file('random', bytes(range(256)) * 20).end()
    data = change(gzip.compress(layer, mtime=0))
    manifest = json.dumps({
        'config': layout.blob(
            builders.config([layer]),
            'application/vnd.oci.image.config.v1+json'),
        'layers': [layout.blob(data, 'application/vnd.oci.image.layer.v1'
                               '.tar+gzip')]}).encode()
    layout.manifests = [layout.blob(
        manifest, 'application/vnd.oci.image.manifest.v1+json')]
    return layout.end()


ALL = (NAMES + SYMLINKS + HARDLINKS + WHITEOUTS + NODES + TAR + ARCHIVES)
