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

"""Archives for tests, byte by byte: tar writers refuse to write most of it."""

import gzip
import hashlib
import io
import json
import struct

try:
    import zstandard
except ImportError:
    zstandard = None

MTIME = 1600000000


def octal(value, size):
    """A numeric field; base 256 where octal has no room."""
    if 0 <= value < 8 ** (size - 1):
        return b'%0*o\0' % (size - 1, value)
    raw = (value & ((1 << size * 8) - 1)).to_bytes(size, 'big')
    return bytes([raw[0] | 0x80]) + raw[1:]


def header(name=b'', kind=b'0', size=0, mode=0o644, uid=0, gid=0,
           mtime=MTIME, linkname=b'', major=0, minor=0, magic=b'ustar\x0000',
           prefix=b'', checksum=None, rest=None):
    """One header block; *rest* replaces everything from offset 345 on."""
    block = bytearray(512)
    block[0:len(name[:100])] = name[:100]
    block[100:108] = octal(mode, 8)
    block[108:116] = octal(uid, 8)
    block[116:124] = octal(gid, 8)
    block[124:136] = size if isinstance(size, bytes) else octal(size, 12)
    block[136:148] = octal(mtime, 12)
    block[148:156] = b' ' * 8
    block[156:157] = kind
    block[157:157 + len(linkname[:100])] = linkname[:100]
    block[257:265] = magic
    if kind in (b'3', b'4'):
        block[329:337] = octal(major, 8)
        block[337:345] = octal(minor, 8)
    block[345:345 + len(prefix)] = prefix
    if rest is not None:
        block[345:] = rest.ljust(167, b'\0')
    total = sum(block) if checksum is None else checksum
    block[148:156] = b'%06o\0 ' % total
    return bytes(block)


def padded(data):
    return data + bytes(-len(data) % 512)


def pax_records(records):
    out = b''
    for key, value in records:
        key = key if isinstance(key, bytes) else key.encode()
        value = value if isinstance(value, bytes) else str(value).encode()
        size = len(key) + len(value) + 3
        length = size + len(str(size))
        if len(str(length)) != len(str(size)):
            length = size + len(str(length))
        out += b'%d %s=%s\n' % (length, key, value)
    return out


class Tar:
    """Collects members; every method returns self."""

    def __init__(self):
        self.out = io.BytesIO()

    def raw(self, data):
        self.out.write(data)
        return self

    def add(self, name, kind=b'0', data=b'', pax=None, **fields):
        name = name if isinstance(name, bytes) else name.encode()
        link = fields.get('linkname', b'')
        link = link if isinstance(link, bytes) else link.encode()
        fields['linkname'] = link
        pax = list(pax.items() if isinstance(pax, dict) else pax or [])
        if len(name) > 100:
            pax.append(('path', name))
        if len(link) > 100:
            pax.append(('linkpath', link))
        if pax:
            records = pax_records(pax)
            self.raw(header(b'PaxHeaders/x', b'x', len(records)))
            self.raw(padded(records))
        fields.setdefault('size', len(data))
        self.raw(header(name, kind, **fields))
        return self.raw(padded(data))

    def file(self, name, data=b'', **fields):
        return self.add(name, b'0', data, **fields)

    def dir(self, name, **fields):
        fields.setdefault('mode', 0o755)
        return self.add(name, b'5', **fields)

    def symlink(self, name, target, **fields):
        fields.setdefault('mode', 0o777)
        return self.add(name, b'2', linkname=target, **fields)

    def link(self, name, target, **fields):
        return self.add(name, b'1', linkname=target, **fields)

    def end(self):
        """The archive's bytes, with the end mark."""
        return self.out.getvalue() + bytes(1024)


def sha(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


def zstd(data):
    return zstandard.ZstdCompressor().compress(data)


COMPRESS = {None: bytes, 'gzip': lambda d: gzip.compress(d, 6, mtime=0),
            'zstd': zstd}


def config(layers, **more):
    document = {'architecture': 'amd64', 'os': 'linux',
                'config': {'Cmd': ['/bin/sh']},
                'rootfs': {'type': 'layers',
                           'diff_ids': [sha(x) for x in layers]}}
    document.update(more)
    return json.dumps(document).encode()


def docker(layers, tags=('test:latest',), compression=None, order='last',
           **more):
    """An archive as `docker save` and `podman save` write it."""
    conf = config(layers, **more)
    config_name = sha(conf)[7:] + '.json'
    archive = Tar()
    names = []
    for layer in layers:
        name = sha(layer)[7:] + '.tar'
        if name not in names:
            archive.file(name, COMPRESS[compression](layer))
        names.append(name)
    archive.file(config_name, conf)
    manifest = json.dumps([{'Config': config_name, 'RepoTags': list(tags),
                            'Layers': names}]).encode()
    archive.file('manifest.json', manifest)
    return archive.end()


def docker_v1(layers, **more):
    """As docker before 25: directories, and symbolic links for repeats."""
    conf = config(layers, **more)
    archive = Tar()
    names, seen = [], {}
    for number, layer in enumerate(layers):
        ident = hashlib.sha256(b'%d' % number + layer).hexdigest()
        archive.dir(ident + '/')
        archive.file(ident + '/VERSION', b'1.0')
        archive.file(ident + '/json', b'{"id":"%s"}' % ident.encode())
        if sha(layer) in seen:
            archive.symlink(ident + '/layer.tar',
                            '../%s/layer.tar' % seen[sha(layer)])
        else:
            archive.file(ident + '/layer.tar', layer)
            seen[sha(layer)] = ident
        names.append(ident + '/layer.tar')
    archive.file(sha(conf)[7:] + '.json', conf)
    archive.file('manifest.json', json.dumps([{
        'Config': sha(conf)[7:] + '.json', 'RepoTags': ['test:latest'],
        'Layers': names}]).encode())
    archive.file('repositories', b'{}')
    return archive.end()


class Layout:
    """An OCI image layout in the making."""

    def __init__(self):
        self.blobs = {}
        self.manifests = []

    def blob(self, data, media, **more):
        self.blobs[sha(data)] = data
        return {'mediaType': media, 'digest': sha(data), 'size': len(data),
                **more}

    def image(self, layers, ref=None, compression='gzip', platform=None,
              index=True, **more):
        conf = config(layers, **more)
        packed = [COMPRESS[compression](layer) for layer in layers]
        manifest = {
            'schemaVersion': 2,
            'config': self.blob(
                conf, 'application/vnd.oci.image.config.v1+json'),
            'layers': [self.blob(
                p, 'application/vnd.oci.image.layer.v1.tar' + (
                    '+' + compression if compression else ''))
                for p in packed]}
        entry = self.blob(json.dumps(manifest).encode(),
                          'application/vnd.oci.image.manifest.v1+json')
        if ref:
            entry['annotations'] = {
                'org.opencontainers.image.ref.name': ref}
        if platform:
            entry['platform'] = platform
        if index:
            self.manifests.append(entry)
        return entry

    def index(self, entries, **more):
        """Put *entries* into an index of their own."""
        document = json.dumps({'schemaVersion': 2,
                               'manifests': entries}).encode()
        self.manifests.append(self.blob(
            document, 'application/vnd.oci.image.index.v1+json', **more))

    def end(self, first=()):
        archive = Tar()
        archive.dir('blobs/').dir('blobs/sha256/')
        for digest, data in self.blobs.items():
            archive.file('blobs/sha256/' + digest[7:], data)
        archive.file('index.json', json.dumps({
            'schemaVersion': 2, 'manifests': self.manifests}).encode())
        archive.file('oci-layout', b'{"imageLayoutVersion": "1.0.0"}')
        return archive.end()


def oci(layers, **more):
    layout = Layout()
    layout.image(layers, **more)
    return layout.end()


def chunks(data, size=65536):
    """A fetch() for ImageStore.ensure."""
    def fetch():
        for start in range(0, len(data), size):
            yield data[start:start + size]
    return fetch


def capability(permitted=1 << 13):
    """A security.capability: version 2, effective."""
    return struct.pack('<IIIII', 0x02000001, permitted, 0, 0, 0)
