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

"""The images of the corpus: layers, lowest first, as tar archives.

Each is small but one thing in it is hard. corpus.py writes them in every
format and compares what we unpack with what umoci and podman do.
"""

import random
import struct
import tarfile

from tests.unit.images import builders

NS = 1600000000123456789


def _base():
    return (builders.Tar().dir('./').dir('etc/')
            .file('etc/passwd', b'root:x:0:0:root:/root:/bin/sh\n')
            .file('etc/group', b'root:x:0:\n').dir('bin/')
            .file('bin/sh', b'#!' * 600, mode=0o755))


def scratch():
    """FROM scratch: one static file, no directory."""
    return [builders.Tar().file('hello', b'\x7fELF' * 50, mode=0o755).end()]


def hundred_layers():
    """100 layers, each replaces, adds and removes."""
    layers = [_base().dir('d').file('d/all', b'0').end()]
    for n in range(1, 100):
        tar = builders.Tar().dir('d').file('d/all', b'%d' % n)
        tar.file('d/only%d' % n, b'%d' % n, mtime=builders.MTIME + n)
        if n > 5:
            tar.file('d/.wh.only%d' % (n - 5))
        layers.append(tar.end())
    return layers


def whiteouts():
    """Whiteouts of files, trees, links, of nothing; opaque directories."""
    first = (_base().dir('a').dir('a/b').file('a/b/c', b'c').file('f', b'f')
             .symlink('l', 'f').dir('opq').file('opq/old', b'o')
             .dir('opq/deep').file('opq/deep/x', b'x').dir('again')
             .file('again/one', b'1').file('again/two', b'2')
             .dir('imp').dir('imp/sub').file('imp/sub/gone', b'')
             .file('imp/sub/stays', b'').end())
    second = (builders.Tar().file('a/.wh.b').file('.wh.f').file('.wh.l')
              .file('.wh.nothing').dir('opq').file('opq/new', b'n')
              .file('opq/.wh..wh..opq').file('.wh.again')
              .dir('again').file('again/three', b'3')
              .file('imp/sub/.wh.gone').end())
    third = (builders.Tar().dir('a').file('a/b', b'now a file')
             .dir('f').file('f/in', b'').file('opq/.wh.new')
             .file('opq/old', b'back').end())
    return [first, second, third]


def lower_links():
    """Hard links within a layer and to files of lower layers."""
    first = (_base().dir('d').file('d/one', b'one', mode=0o4755)
             .link('d/two', 'd/one', mode=0o4755).symlink('d/sym', 'one')
             .link('d/symlink2', 'd/sym').file('x', b'x').end())
    second = (builders.Tar().link('d/three', 'd/one').link('four', './d/two')
              .link('five', 'four').link('sym3', 'd/sym')
              .file('x', b'new').link('y', 'x').end())
    third = (builders.Tar().file('d/.wh.one').link('six', 'four').end())
    return [first, second, third]


def replaced_types():
    """Names that change their type between layers, all ways round."""
    first = _base()
    second = builders.Tar()
    makers = {
        'file': lambda t, n: t.file(n, b'content'),
        'dir': lambda t, n: t.dir(n).file(n + '/in', b'in'),
        'sym': lambda t, n: t.symlink(n, '/etc'),
        'fifo': lambda t, n: t.add(n, b'6'),
        'chr': lambda t, n: t.add(n, b'3', major=1, minor=3),
        'blk': lambda t, n: t.add(n, b'4', major=7, minor=1),
    }
    for a in makers:
        for b in makers:
            name = '%s-%s' % (a, b)
            makers[a](first, name)
            makers[b](second, name)
    # ... and within one layer
    for a in makers:
        for b in makers:
            name = 'same-%s-%s' % (a, b)
            makers[a](second, name)
            makers[b](second, name)
    return [first.end(), second.end()]


def modes():
    """setuid, setgid, sticky, no permissions, odd and large owners."""
    tar = _base()
    for mode in (0, 0o111, 0o444, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777):
        tar.file('f%o' % mode, b'x', mode=mode, uid=1000, gid=50)
        tar.dir('d%o' % mode, mode=mode, uid=7, gid=8)
    tar.file('big', b'', uid=2 ** 31 + 5, gid=4000000000)
    tar.file('pax', b'', pax={'uid': 3000000, 'gid': 3000001})
    return [tar.end()]


def _acl(*entries):
    return struct.pack('<I', 2) + b''.join(
        struct.pack('<HHI', tag, perm, ident) for tag, perm, ident in entries)


def xattrs():
    """File capabilities, POSIX ACLs, user attributes."""
    nobody = 0xffffffff
    acl = _acl((1, 6, nobody), (2, 4, 1000), (4, 4, nobody),
               (0x10, 4, nobody), (0x20, 4, nobody))
    xattr = 'SCHILY.xattr.'
    tar = _base()
    tar.file('cap', b'\x7fELF', mode=0o755, pax={
        xattr + 'security.capability': builders.capability()})
    tar.link('caplink', 'cap', mode=0o755)
    tar.file('user', b'', pax={xattr + 'user.mime': b'text/\0\xff=x',
                               xattr + 'user.empty.not': b'1'})
    tar.file('acl', b'', mode=0o644, pax={
        xattr + 'system.posix_acl_access': acl})
    tar.dir('acldir', pax={xattr + 'system.posix_acl_default': acl,
                           xattr + 'user.on': b'dir'})
    second = (builders.Tar().dir('acldir').file('acldir/f', b'')
              .link('caplow', 'cap').file('user', b'without').end())
    return [tar.end(), second]


def odd_names():
    """Unicode, 255-byte names, long paths, newlines, bytes that are none."""
    tar = _base()
    for name in ('grüße', '日本語', 'e\u0301', 'a b', 'tab\there', 'new\nline',
                 '\\back', '-dash', '..dots', '...', '.hidden', 'x' * 255,
                 'q"\'', '.w', '.wh'):
        tar.file('names/' + name, name.encode())
    tar.file(b'names/\xff\xfe', b'not utf-8')
    deep = '/'.join(['d' * 99] * 12)
    tar.file(deep + '/f', b'deep')
    tar.symlink('longlink', 't' * 3000)
    tar.link('longhard', deep + '/f')
    return [tar.end()]


def sparse():
    """A file of 9 GB that is nearly all hole, and one of zeros."""
    size = 9 * 1024 ** 3
    tar = _base()
    body = b'1\n%d\n512\n' % (size - 512)
    tar.add('GNUSparseFile.0/pax10', b'0', builders.padded(body) + b'e' * 512,
            pax=[('GNU.sparse.major', 1), ('GNU.sparse.minor', 0),
                 ('GNU.sparse.name', 'pax10'),
                 ('GNU.sparse.realsize', size)])
    tar.file('zeros', bytes(3 * 1024 * 1024) + b'end')
    return [tar.end()]


def times():
    """Nanoseconds, times before 1970 and after 2038; directories too."""
    tar = _base()
    tar.dir('d', pax={'mtime': '1234567890.987654321'})
    tar.file('d/ns', b'', pax={'mtime': '1600000000.123456789'})
    tar.file('d/short', b'', pax={'mtime': '1600000000.5'})
    tar.file('d/future', b'', pax={'mtime': '5000000000.25'})
    tar.symlink('d/sym', 'ns', pax={'mtime': '1500000000.000000001'})
    second = builders.Tar().file('d/more', b'').end()
    return [tar.end(), second]


def implied():
    """Files whose directories have no member, or are links below."""
    first = (_base().dir('usr', mode=0o750, uid=5).dir('usr/lib', mode=0o711)
             .file('usr/lib/a', b'a').symlink('lib', 'usr/lib')
             .symlink('abs', '/usr/lib').dir('var')
             .symlink('nowhere', 'srv/made/later').end())
    second = (builders.Tar().file('usr/lib/b', b'b').file('lib/c', b'c')
              .file('abs/deep/d', b'd').file('new/dir/e', b'e')
              .file('nowhere/f', b'f').end())
    third = builders.Tar().dir('usr', mode=0o700).file('lib/c', b'C').end()
    return [first, second, third]


def absolute_names():
    """Members with absolute names: below the root, like any other."""
    first = (_base().dir('/opt').file('/opt/abs', b'a').file('//two', b'2')
             .file('/gone', b'').link('/opt/hard', '/opt/abs')
             .symlink('/sym', '/opt').end())
    second = builders.Tar().file('/.wh.gone').file('/opt/new', b'n').end()
    return [first, second]


def devices():
    """Devices and fifos of all kinds."""
    tar = _base().dir('dev')
    for name, kind, major, minor in (('null', b'3', 1, 3),
                                     ('sda', b'4', 8, 0),
                                     ('big', b'3', 511, 70000)):
        tar.add('dev/' + name, kind, major=major, minor=minor, mode=0o666,
                uid=3)
    tar.add('dev/fifo', b'6', mode=0o600)
    return [tar.end()]


def repeats():
    """Layers that occur twice, and empty ones."""
    empty = builders.Tar().end()
    again = builders.Tar().dir('again').file('again/x', b'1').end()
    return [_base().end(), empty, again, empty,
            builders.Tar().file('.wh.again').end(), again, empty]


def change_of(path):
    """A layer on a real root filesystem: as an upgrade would leave it."""
    tar = builders.Tar()
    with tarfile.open(path) as source:
        for number, member in enumerate(source):
            name = member.name.removeprefix('./').rstrip('/')
            if not member.isreg() or number % 7:
                continue
            parent, _slash, base = name.rpartition('/')
            if number % 3 == 0:
                tar.file(parent + '/.wh.' + base)
            elif number % 3 == 1:
                content = random.Random(number).randbytes(number)
                tar.file(name, content, mode=member.mode)
            else:
                tar.link(name + '.old', name, mode=member.mode,
                         uid=member.uid, gid=member.gid,
                         mtime=int(member.mtime))
    return tar.end()


ALL = (scratch, hundred_layers, whiteouts, lower_links, replaced_types,
       modes, xattrs, odd_names, absolute_names, sparse, times, implied,
       devices, repeats)
