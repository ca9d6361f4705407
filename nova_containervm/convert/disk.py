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

"""From an image to a disk for Glance: the steps of ``convert``."""

import contextlib
import dataclasses
import os
import tempfile

from nova_containervm.convert import bootable
from nova_containervm.convert import errors
from nova_containervm.convert import filesystems
from nova_containervm.convert import source as source_lib
from nova_containervm.convert import tools
from nova_containervm.images import diskfile
from nova_containervm.images import mkerofs

OUTPUT_FORMATS = ('qcow2', 'raw')


@dataclasses.dataclass(frozen=True)
class Made:
    """What has been made.

    :param unpacked: bytes of the files in the image, ``entries`` their number
    :param filesystem: bytes of the filesystem
    :param virtual: bytes of the disk as a server sees it
    :param file: bytes of the file
    """

    unpacked: int
    entries: int
    filesystem: int
    virtual: int
    file: int
    architecture: str


@dataclasses.dataclass(frozen=True)
class Options:
    """What to make, and how.

    :param format: of filesystems.FORMATS
    :param method: of filesystems.METHODS
    :param output_format: of OUTPUT_FORMATS
    :param compress: compress the qcow2
    :param ref: which image of several in the archive
    :param architecture: of the compute hosts; None: as this one's
    :param mkfs: name or path of mkfs.erofs
    :param base: directory of the base of bootable disks; None: the disk is to
        be the root filesystem, and no more
    :param properties: overrides that a bootable disk is to have
    """

    format: str = 'erofs'
    method: str = 'direct'
    output_format: str = 'qcow2'
    compress: bool = False
    ref: str | None = None
    architecture: str | None = None
    mkfs: str = mkerofs.COMMAND
    base: str | None = None
    properties: dict[str, str] = dataclasses.field(default_factory=dict)


def output_format(path, wanted=None):
    """The format of an output file: as wanted, or by its name.

    :raises ConvertError: the name says nothing
    """
    if wanted is not None:
        return wanted
    suffix = os.path.splitext(path)[1].lower()
    known = {'.qcow2': 'qcow2', '.raw': 'raw', '.img': 'raw'}
    if suffix not in known:
        raise errors.ConvertError(
            '%s: the name does not say the format; give it the suffix '
            '.qcow2 or .raw, or use --output-format' % path)
    return known[suffix]


@contextlib.contextmanager
def workspace():
    """A directory for temporary files, in TMPDIR."""
    with tempfile.TemporaryDirectory(prefix='containervm-convert-') as path:
        os.mkdir(os.path.join(path, 'work'), 0o700)
        try:
            yield path
        finally:
            # Files may have modes that only this one copes with.
            filesystems.remove(os.path.join(path, 'work'))


def convert(chunks, target, options, progress):
    """Make a disk of an image.

    :param chunks: iterable of bytes: the archive
    :param target: path of the file to make; it is there when it is whole
    :param options: Options
    :param progress: function(name of the step) -> function(share, 0 to 1)
    :returns: Made
    :raises ImageError: the image is at fault
    :raises ConvertError, StoreError: this host is
    """
    with workspace() as path:
        source = source_lib.read(chunks, path, options.ref,
                                 options.architecture)
        try:
            if options.base is not None:
                bootable.check(source, options.properties)
            raw = os.path.join(path, 'disk')
            # The filesystem, and in most cases its files once more
            tools.check_room(path, 2 * source.size)
            with tools.Watched(raw, source.size,
                               progress('Making %s' % options.format)):
                filesystems.make(options.format, source, raw,
                                 os.path.join(path, 'work'), options.method,
                                 options.mkfs)
        finally:
            source.close()
        size = os.stat(raw).st_size
        with open(raw, 'r+b') as disk:
            virtual = diskfile.append(
                disk, options.format, source.architecture, source.config,
                source.passwd, source.group,
                None if options.base is None else options.properties)
            # QEMU is not to write what nobody has asked for.
            os.fsync(disk.fileno())
        if options.base is not None:
            container, raw = raw, os.path.join(path, 'bootable')
            virtual = bootable.assemble(options.base, container, raw)
        write(raw, target, options, progress)
    return Made(source.size, source.entries, size, virtual,
                os.stat(target).st_size, source.architecture)


def write(raw, target, options, progress):
    """Give a raw disk its format and its place."""
    temporary = '%s.%d.part' % (target, os.getpid())
    try:
        with tools.Watched(temporary, os.stat(raw).st_blocks * 512,
                           progress('Writing ' + options.output_format)):
            tools.run([
                tools.require('qemu-img'), 'convert', '-f', 'raw', '-O',
                options.output_format,
                *(['-c', '-o', 'compression_type=zstd'] if options.compress
                  else []), raw, temporary])
        os.rename(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
