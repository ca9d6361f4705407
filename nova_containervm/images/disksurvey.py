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

"""Look a disk over that "convert" has made: what would a server run?

Nothing of a disk is read but its description (diskfile.py): the filesystem,
which a stranger may have made, is left alone.
"""

import contextlib
import os
import struct
import subprocess
import tempfile

from oslo_utils.imageutils import format_inspector

from nova_containervm.images import diskfile
from nova_containervm.images import errors
from nova_containervm.images import limits as limits_mod

#: What peek() calls a raw disk that boots by itself.
BOOTABLE = 'bootable'
_HEAD = 2048
#: Of the partition with the container (convert/bootable.py).
_PARTITION = 2
_SECTOR = 512


def peek(chunks):
    """Look at the beginning of a file that comes in pieces.

    :param chunks: iterable of bytes
    :returns: what diskfile.kind_of() says, or :data:`BOOTABLE`; and an
        iterable of the whole file
    """
    kind, chunks = diskfile.peek(chunks)
    source = iter(chunks)
    head = next(source, b'')
    if kind is None and diskfile.boots(head[:_HEAD]):
        kind = BOOTABLE
    return kind, _joined(head, source)


def _joined(head, rest):
    yield head
    yield from rest


def describe(kind, chunks, limits):
    """What a disk says of itself.

    :param kind: what peek() said
    :param chunks: iterable of bytes: the disk
    :param limits: limits.Limits
    :returns: (diskfile.Description, whether it boots by itself, its size in
        bytes)
    :raises ImageError: it is no such disk, or a damaged one
    :raises StoreError: this machine cannot read it
    """
    with tempfile.TemporaryDirectory(prefix='containervm-') as directory:
        path = os.path.join(directory, 'disk')
        try:
            _receive(chunks, path, limits)
            if kind == diskfile.QCOW2:
                path = _raw(path, os.path.join(directory, 'raw'), limits)
        except OSError as exc:
            raise errors.StoreError('%s: %s' % (directory, exc.strerror))
        with open(path, 'rb') as disk:
            return _described(disk.fileno())


def _receive(chunks, path, limits):
    size = 0
    with open(path, 'wb') as out:
        for chunk in chunks:
            size += len(chunk)
            if size > limits.max_image_mb * limits_mod.MIB:
                raise limits.exceeded('max_image_mb',
                                      'the image is larger than allowed')
            out.write(chunk)


def _raw(path, target, limits):
    inspector = format_inspector.QcowInspector()
    with open(path, 'rb') as source, contextlib.suppress(
            format_inspector.ImageFormatError):
        while not inspector.complete and (piece := source.read(65536)):
            inspector.eat_chunk(piece)
        inspector.finish()
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as exc:
        raise errors.Unsupported('it is a qcow2 that could refer to other '
                                 'files (%s)' % ', '.join(exc.failures))
    except format_inspector.ImageFormatError:
        raise errors.Damaged('its qcow2 header makes no sense')
    if inspector.virtual_size > limits.max_unpacked_mb * limits_mod.MIB:
        raise limits.exceeded('max_unpacked_mb',
                              'the disk is larger than allowed')
    try:
        subprocess.run(['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw',
                        path, target], check=True, capture_output=True)
    except FileNotFoundError:
        raise errors.StoreError('the program qemu-img is not installed; '
                                'install the package qemu-utils')
    except subprocess.CalledProcessError as exc:
        raise errors.Damaged('qemu-img cannot read it: %s' % errors.quote(
            exc.stderr.decode('utf-8', 'replace').strip()[-200:]))
    return target


def _described(fd):
    size = os.fstat(fd).st_size
    head = os.pread(fd, _HEAD, 0)
    if not diskfile.boots(head):
        return diskfile.read(fd), False, size
    start, count = struct.unpack_from('<II', head, 446 + 16 * _PARTITION + 8)
    end = (start + count) * _SECTOR
    if not count or end > size:
        raise errors.Damaged('the disk has no partition with a container')
    return diskfile.read(fd, end, start * _SECTOR), True, size
