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

"""Disks with a container's root filesystem: what is on them, and where.

The filesystem begins at the disk's start, without a partition table. Behind it
is a description: the image's config, and what else a host would have to read
from the filesystem. The last 512 bytes of the disk say where that is::

    offset  size
         0    16  "containervm-disk"
        16     4  version, 1
        20     4  bytes of the description
        24     8  where it begins
        32    32  its SHA-256

Numbers are little-endian. The description is JSON::

    {"schema": 1, "architecture": "amd64", "config": {...},
     "filesystem": {"type": "erofs", "size": 1234, "sha256": "..."},
     "passwd": "<base64>", "group": "<base64>",
     "properties": {"containervm_command": "..."}}

The properties are there in a bootable disk only (convert/bootable.py). So a
host has no need to mount, or to read, a filesystem that a stranger has
made; its servers do that. A disk without a description is as good as the
archive of a bare root filesystem: what it runs comes from properties.
"""

import base64
import binascii
import hashlib
import json
import os
import struct

from nova_containervm.images import errors
from nova_containervm.images import limits as limits_mod

QCOW2 = 'qcow2'
#: Filesystems that guests mount, and (offset, magic number) of each.
FILESYSTEMS = {
    'ext4': (0x438, b'\x53\xef'),
    'erofs': (0x400, b'\xe2\xe1\xf5\xe0'),
    'squashfs': (0, b'hsqs'),
}
_QCOW2_MAGIC = b'QFI\xfb'
#: Bytes by which peek() knows a file.
_HEAD = 2048

#: In the boot sector of a disk that boots by itself (baseimage/bootable.py)
BOOT_SIGNATURE = b'\x07\xb0\xa7\xc0'

SCHEMA = 1
MAGIC = b'containervm-disk'
FOOTER = struct.Struct('<16sIIQ32s')
FOOTER_BYTES = 512
#: Where filesystem, description and footer begin is a multiple of it.
BLOCK = 4096
#: Most bytes of a description.
DESCRIPTION_BYTES = limits_mod.JSON_BYTES + 3 * limits_mod.MIB
_PIECE = 1 << 20


def kind_of(head):
    """What a file is by its first 2048 bytes.

    :returns: :data:`QCOW2`, a name of :data:`FILESYSTEMS`, or None: no disk
    """
    if head.startswith(_QCOW2_MAGIC):
        return QCOW2
    # A tar archive begins with a name. Its second block may hold anything.
    if not head.startswith(FILESYSTEMS['squashfs'][1]) and any(head[:512]):
        return None
    for name, (offset, magic) in FILESYSTEMS.items():
        if head[offset:offset + len(magic)] == magic:
            return name
    return None


def boots(head):
    """Whether a disk boots by itself, as convert/bootable.py makes them."""
    return head[440:444] == BOOT_SIGNATURE and head[510:512] == b'\x55\xaa'


def peek(chunks):
    """Look at the beginning of a file that comes in pieces.

    :param chunks: iterable of bytes
    :returns: what kind_of() says, and an iterable of the whole file
    """
    source = iter(chunks)
    head = b''
    while len(head) < _HEAD:
        chunk = next(source, None)
        if chunk is None:
            break
        head += chunk
    return kind_of(head[:_HEAD]), _joined(head, source)


def _joined(head, rest):
    yield head
    yield from rest


def no_disk(chunks):
    """Pass on a file that is no disk.

    :raises IsDisk: it is one
    """
    kind, chunks = peek(chunks)
    if kind is not None:
        raise errors.IsDisk(
            'the image is a disk (%s), which only servers with the transport '
            'block can have' % kind)
    return chunks


# -- writing -----------------------------------------------------------------

def append(disk, kind, architecture, config, passwd=b'', group=b'',
           properties=None):
    """Put a description behind a filesystem.

    :param disk: binary file, open for reading and writing, that has the
        filesystem and no more; it is at its start afterwards
    :param kind: name of the filesystem
    :param config: the image's, whole
    :param passwd, group: contents of /etc/passwd and /etc/group
    :param properties: as Glance has them, for a guest that cannot ask for
        them; None: for hosts, which can
    :returns: size of the disk in bytes
    """
    disk.seek(0)
    digest, size = hashlib.sha256(), 0
    while piece := disk.read(_PIECE):
        digest.update(piece)
        size += len(piece)
    said = {
        'schema': SCHEMA, 'architecture': architecture, 'config': config,
        'filesystem': {'type': kind, 'size': size,
                       'sha256': digest.hexdigest()},
        'passwd': base64.b64encode(passwd).decode(),
        'group': base64.b64encode(group).decode()}
    if properties is not None:
        said['properties'] = properties
    text = json.dumps(said).encode()
    start = _aligned(size)
    end = _aligned(start + len(text) + FOOTER_BYTES)
    disk.seek(start)
    disk.write(text)
    disk.seek(end - FOOTER_BYTES)
    disk.write(FOOTER.pack(MAGIC, SCHEMA, len(text), start,
                           hashlib.sha256(text).digest())
               .ljust(FOOTER_BYTES, b'\0'))
    disk.flush()
    disk.seek(0)
    return end


def _aligned(size):
    return -(-size // BLOCK) * BLOCK


# -- reading -----------------------------------------------------------------

class Description:
    """What a disk says of itself. Whoever made it may have made it up.

    ``filesystem`` is the name of what is on it; ``size`` and ``sha256`` are
    None, and the config is empty, where the disk says nothing.
    """

    def __init__(self, filesystem):
        self.filesystem = filesystem
        self.size = self.sha256 = self.architecture = None
        self.config = {'os': 'linux', 'config': {}}
        self.passwd = self.group = b''
        self.properties = {}


def read(fd, end=None, begin=0):
    """The description of a raw disk.

    :param fd: open file
    :param begin: where the disk begins in it
    :param end: where it ends; needed for a block device
    :returns: Description
    :raises NotAnImage: it has no filesystem that guests mount
    :raises Damaged: its description makes no sense
    """
    head = os.pread(fd, _HEAD, begin)
    if boots(head):
        raise errors.NotAnImage(
            'the disk boots by itself; upload it with --container-format '
            'bare, or convert it without --bootable')
    kind = kind_of(head)
    if kind is None or kind == QCOW2:
        raise errors.NotAnImage(
            'the disk does not begin with a filesystem of ext4, erofs or '
            'squashfs; "nova-containervm-image convert" makes one that does')
    found = Description(kind)
    if end is None:
        end = os.fstat(fd).st_size
    footer = os.pread(fd, FOOTER.size, max(begin, end - FOOTER_BYTES))
    if not footer.startswith(MAGIC):
        return found
    try:
        _magic, version, length, start, digest = FOOTER.unpack(footer)
    except struct.error:
        raise _damaged('it is cut off')
    if version != SCHEMA:
        raise errors.Unsupported('the disk is of version %d, this host knows '
                                 'version %d' % (version, SCHEMA))
    if (length > DESCRIPTION_BYTES
            or begin + start + length > end - FOOTER_BYTES):
        raise _damaged('it is longer than it can be')
    text = os.pread(fd, length, begin + start)
    if hashlib.sha256(text).digest() != digest:
        raise _damaged('its digest is another')
    _fill(found, text, start)
    return found


def _fill(found, text, start):
    # Each value becomes an object in memory.
    if text.count(b',') + text.count(b'[') + text.count(b'{') \
            > limits_mod.JSON_VALUES:
        raise _damaged('it has too many values')
    try:
        said = json.loads(text.decode())
        found.passwd = base64.b64decode(said['passwd'], validate=True)
        found.group = base64.b64decode(said['group'], validate=True)
        found.architecture = said['architecture']
        found.config = said['config']
        found.size = said['filesystem']['size']
        found.sha256 = said['filesystem']['sha256']
        kind = said['filesystem']['type']
        found.properties = said.get('properties', {})
    except (KeyError, TypeError, ValueError, RecursionError,
            binascii.Error) as exc:
        raise _damaged('%s: %s' % (type(exc).__name__, errors.quote(
            str(exc))))
    if not (isinstance(found.config, dict) and type(found.size) is int
            and isinstance(found.properties, dict)
            and isinstance(found.architecture, str)
            and 0 < found.size <= start):
        raise _damaged('a value is of the wrong kind')
    if kind != found.filesystem:
        raise _damaged('it speaks of %s, but the disk has %s' % (
            errors.quote(str(kind)), found.filesystem))


def _damaged(why):
    return errors.Damaged("the disk's description is damaged: %s" % why)
