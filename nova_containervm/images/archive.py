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

"""One tar stream, as Glance delivers it, into classified blobs.

Nothing says what a blob is until the last member has passed: in most of
these archives the list of layers comes at the end. So every blob is
classified by its first bytes; what may be a layer is unpacked at once, JSON
is kept, and of the rest only the digest.
"""

import dataclasses
import hashlib
import json
import re
from typing import Any

from nova_containervm.images import errors
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import names
from nova_containervm.images import stream
from nova_containervm.images import tarread

#: Names that the archives of docker, podman, skopeo and others consist of.
_MEMBER = re.compile(
    rb'manifest\.json|index\.json|oci-layout|repositories|config\.json'
    rb'|blobs(/[a-z0-9]+(/[0-9a-f]+)?)?'
    rb'|(sha256:)?[0-9a-f]{32,128}(\.json|\.tar(\.gz|\.zst)?)?'
    rb'|[0-9a-f]{64}/(json|VERSION|layer\.tar)?'
    rb'|[^/]+\.(tar|tgz|tar\.gz|tar\.zst)'
    rb'|[^/]+/layer\.tar')
_CERTAIN = re.compile(rb'manifest\.json|index\.json|oci-layout'
                      rb'|blobs(/sha256(/[0-9a-f]{64})?)?|[0-9a-f]{64}/?')
#: What an attestation of the image's origin begins with.
_STATEMENT = b'in-toto.io/Statement'
#: Directories that a root filesystem has and an image archive does not.
_ROOTFS = frozenset((
    b'bin', b'boot', b'dev', b'etc', b'home', b'lib', b'lib64', b'media',
    b'mnt', b'opt', b'proc', b'root', b'run', b'sbin', b'srv', b'sys',
    b'tmp', b'usr', b'var', b'.dockerenv'))


@dataclasses.dataclass
class Blob:
    """A member of the archive; ``kind`` is json, layer, alias or other."""

    name: str
    kind: str
    size: int = 0
    digest: str = ''
    compressed: bool = False
    #: json: its bytes; alias: the other name; layer: what the sink made
    raw: bytes = b''
    target: str = ''
    layer: Any = None


def parse(blob):
    """The document in a JSON blob.

    :raises NotAnImage: it is not JSON, or neither object nor list
    """
    try:
        document = json.loads(blob.raw.decode())
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict | list):
        raise errors.NotAnImage('%s of the archive is not valid JSON'
                                % errors.quote(blob.name))
    return document


class Archive:
    """What has been found in an archive.

    ``rootfs`` is the sink's layer when the archive is a bare root
    filesystem (docker export); the blobs are then of no interest.
    """

    def __init__(self):
        self.blobs = {}
        self.by_digest = {}
        self.rootfs = None
        self.rootfs_digest = ''
        self.compression = None

    def add(self, blob):
        self.blobs[blob.name] = blob
        if blob.digest:
            self.by_digest.setdefault(blob.digest, blob)

    def get(self, name):
        """The blob of a name, links followed; None if there is none."""
        for _hop in range(8):
            blob = self.blobs.get(name)
            if blob is None or blob.kind != 'alias':
                return blob
            name = blob.target
        return None

    def json(self, name):
        """The JSON object or list of a name, or None."""
        blob = self.get(name)
        if blob is None or blob.kind != 'json':
            return None
        return parse(blob)


def _hashed(chunks, digest):
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


class Scanner:
    """Reads one archive.

    :param sink: has unpack(label, chunks) -> layer, called for everything
        that may be a layer; chunks must be used up, or the rest is lost;
        and decompress(kind, chunks), as stream has it
    :param limits: limits.Limits
    """

    def __init__(self, sink, limits):
        self._sink = sink
        self._limits = limits
        self._json_bytes = self._json_values = 0
        self._count = 0
        self._members = None
        self.archive = Archive()

    def scan(self, chunks):
        """Read everything, to the end of the stream.

        :returns: Archive
        :raises NotAnImage, Truncated, Damaged, LimitExceeded:
        """
        reader = stream.Reader(self._bounded(chunks))
        head = reader.peek(tarread.BLOCK)
        if not head:
            raise errors.NotAnImage('the file is empty')
        kind = stream.compression(head)
        outer = reader
        if kind:
            self.archive.compression = kind
            reader = stream.Reader(self._sane(self._sink.decompress(
                kind, reader.rest()), outer))
            head = reader.peek(tarread.BLOCK)
            if stream.compression(head):
                raise errors.NotAnImage('the file is compressed twice')
        if head == tarread.ZERO_BLOCK or not tarread.looks_like_tar(head):
            raise errors.NotAnImage(
                'the file is no tar archive; upload what "docker save", '
                '"podman save" or "docker export" writes')
        if self._is_rootfs(reader):
            digest = hashlib.sha256()
            self.archive.rootfs = self._sink.unpack(
                'root filesystem', _hashed(reader.rest(), digest))
            for _chunk in _hashed(reader.rest(), digest):
                pass
            self.archive.rootfs_digest = digest.hexdigest()
        else:
            self._blobs(reader)
        for _chunk in reader.rest():
            pass  # to its end: Glance checks signatures there
        for _chunk in outer.rest():
            pass
        return self.archive

    def _bounded(self, chunks):
        most = self._limits.max_image_mb * limits_mod.MIB
        total = 0
        for chunk in chunks:
            total += len(chunk)
            if total > most:
                raise self._limits.exceeded('max_image_mb',
                                            'the image file is too large')
            yield chunk

    def _sane(self, chunks, packed):
        """Pass on what a whole file unpacks to, unless it is a bomb."""
        total = 0
        for chunk in chunks:
            total += len(chunk)
            if total > limits_mod.RATIO_FLOOR and total > (
                    packed.offset * self._limits.max_compression_ratio):
                raise self._limits.exceeded(
                    'max_compression_ratio', 'the file unpacks to over %d '
                    'times its size' % (total // max(packed.offset, 1)))
            yield chunk

    def _is_rootfs(self, reader):
        """Whether the members to come are a root filesystem's.

        Decided by the first few headers, which are only peeked at.
        """
        ahead = reader.peek(64 * 1024)
        verdict = False
        try:
            for member in tarread.TarReader(stream.Reader([ahead])):
                path = member.name.strip(b'/')
                while path.startswith(b'./'):
                    path = path[2:].strip(b'/')
                if path in (b'', b'.'):
                    continue
                if _CERTAIN.fullmatch(path):
                    return False
                verdict = verdict or path.split(b'/')[0] in _ROOTFS \
                    or not _MEMBER.fullmatch(path)
        except errors.ImageError:
            pass  # the end of what can be seen, or for others to find
        return verdict

    def _blobs(self, reader):
        self._members = tarread.TarReader(reader)
        for member in self._members:
            self._count += 1
            if self._count > limits_mod.ARCHIVE_MEMBERS:
                raise errors.NotAnImage(
                    'the archive has over %d members; a docker image has one '
                    'for each layer' % limits_mod.ARCHIVE_MEMBERS)
            path = names.normalize(member.name, 'archive member',
                                   self._limits)
            name = path.decode('utf-8', 'backslashreplace')
            if member.type == tarread.REG:
                if name in self.archive.blobs:
                    raise errors.NotAnImage(
                        'the archive has two members %s'
                        % errors.quote(name))
                self.archive.add(self._blob(name, member))
            elif member.type in (tarread.SYMLINK, tarread.LINK):
                parent = (names.split(path)[0]
                          if member.type == tarread.SYMLINK else b'')
                target = names.follow(parent, member.linkname)
                self.archive.add(Blob(
                    name, 'alias',
                    target=target.decode('utf-8', 'backslashreplace')))

    def _blob(self, name, member):
        digest = hashlib.sha256()
        if member.sparse is not None:
            raise errors.NotAnImage('member %s of the archive is stored as a '
                                    'sparse file' % errors.quote(name))
        data = stream.Reader(_hashed(self._members.data(), digest))
        blob = Blob(name, 'other', size=member.size)
        try:
            head = data.peek(tarread.BLOCK)
            blob.compressed = self._compressed(head)
            if not head or tarread.looks_like_tar(head) or blob.compressed:
                blob.kind = 'layer'
                blob.layer = self._sink.unpack(name, data.rest())
            elif head.lstrip()[:1] in (b'{', b'[') or name.endswith('.json'):
                self._json(blob, data)
            for _chunk in data.rest():
                pass
        except errors.Truncated:
            raise errors.Truncated(
                'the file ends inside %s: the upload was cut off, or it was '
                'not complete before' % errors.quote(name))
        blob.digest = 'sha256:' + digest.hexdigest()
        return blob

    @staticmethod
    def _compressed(head):
        try:
            return stream.compression(head) is not None
        except errors.Unsupported:
            return True  # the layer's own error will say so

    def _json(self, blob, data):
        if blob.size > limits_mod.JSON_BYTES:
            if blob.name in ('manifest.json', 'index.json'):
                raise errors.NotAnImage('%s has %d bytes' % (blob.name,
                                                             blob.size))
            return
        raw = b''.join(bytes(c) for c in data.rest())
        if _STATEMENT in raw[:4096]:
            return  # where an image comes from; it can be large
        self._json_bytes += blob.size
        self._json_values += sum(map(raw.count, (b',', b'[', b'{')))
        if self._json_bytes > limits_mod.JSON_TOTAL \
                or self._json_values > limits_mod.JSON_VALUES:
            raise errors.NotAnImage(
                'the archive has over %d bytes or %d values of JSON'
                % (limits_mod.JSON_TOTAL, limits_mod.JSON_VALUES))
        blob.raw = raw
        blob.kind = 'json'
