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

"""Makes the disk image: a partition table, a boot partition, ext4, qcow2.

All of it is made in ordinary files with mtools, syslinux and e2fsprogs: no
loop devices, no mounts, no root.
"""

import os
import pathlib
import re
import struct

from nova_containervm.baseimage import errors
from nova_containervm.baseimage import tools

SECTOR = 512
MIB = 1 << 20

# Fixed, for reproducibility: nothing ever looks a file system up by them,
# and every server's disk is a copy anyway.
_DISK_ID = 0xC0A7A1E5
_FAT_SERIAL = 'C0A7B007'
_EXT4_UUID = 'c0a7a1e5-0000-4000-8000-636f6e746e72'
_HASH_SEED = 'c0a7a1e5-0000-4000-8000-68617368736d'

_TYPE_FAT16 = 0x0e
_TYPE_LINUX = 0x83

_SYSLINUX_MBR = ('/usr/lib/syslinux/mbr/mbr.bin',
                 '/usr/lib/EXTLINUX/mbr.bin')

# Room for group descriptors is set aside for this size. On a larger disk the
# kernel goes on with meta_bg, which is as good. What is set aside has to be
# written, as zeros, to every few block groups that a new server's disk grows
# by.
_RESIZE_BLOCKS = (256 << 30) // 4096


def _align(size, unit=MIB):
    return (size + unit - 1) // unit * unit


def make_fat(path, files):
    """Make a bootable FAT16 file system image with *files* in it.

    :param path: image file to write.
    :param files: ``{name: bytes}``, at the top level.
    :returns: size in bytes, a multiple of 1 MiB.
    """
    path = pathlib.Path(path)
    content = sum(_align(len(data), 4096) for data in files.values())
    size = _align(content + 2 * MIB)
    path.write_bytes(b'')
    os.truncate(path, size)
    tools.run(['mformat', '-i', path, '-v', 'CVMBOOT', '-N', _FAT_SERIAL,
               '-T', size // SECTOR, '-h', '64', '-s', '32', '-H', '2048',
               '-c', '4', '::'])
    for name, data in sorted(files.items()):
        staged = path.with_name(path.name + '.staged')
        staged.write_bytes(data)
        os.utime(staged, (tools.epoch(), tools.epoch()))
        tools.run(['mcopy', '-m', '-i', path, staged, f'::{name}'])
        staged.unlink()
    tools.run(['syslinux', '--install', path])
    return size


def make_ext4(path, label, size):
    """Make an empty ext4 image of *size* bytes.

    Inode tables and journal are initialised now (they are zeros, which a
    qcow2 does not store), so that a new server does not do it in the
    background on its own disk.
    """
    path = pathlib.Path(path)
    path.write_bytes(b'')
    os.truncate(path, size)
    tools.run(
        ['mke2fs', '-q', '-F', '-t', 'ext4', '-b', '4096', '-I', '256',
         '-L', label, '-U', _EXT4_UUID, '-m', '1', '-J', 'size=16',
         '-O', 'metadata_csum,64bit,^orphan_file',
         '-E', f'hash_seed={_HASH_SEED},lazy_itable_init=0,'
               f'lazy_journal_init=0,resize={_RESIZE_BLOCKS},'
               'root_owner=0:0', path],
        env=tools.environment(E2FSPROGS_FAKE_TIME=str(tools.epoch())))


def add_programs(image, directory, programs):
    """Put *programs* into an ext4 image, in a new directory of its own.

    :param directory: name of that directory, at the top level.
    :param programs: ``{name: bytes}``.
    """
    image = pathlib.Path(image)
    commands = [f'mkdir {directory}']
    for name, data in sorted(programs.items()):
        staged = image.with_name(f'{name}.staged')
        staged.write_bytes(data)
        commands += [f'write {staged} {directory}/{name}'] + [
            f'set_inode_field {directory}/{name} {field} {value}'
            for field, value in (('mode', '0100755'), ('uid', 0),
                                 ('gid', 0))]
    # It fails without saying so.
    out = tools.run(['debugfs', '-w', '-f', '-', image],
                    data='\n'.join(commands).encode() + b'\n',
                    env=tools.environment(
                        E2FSPROGS_FAKE_TIME=str(tools.epoch())))
    fix_times(image)
    for name, data in programs.items():
        staged = image.with_name(f'{name}.staged')
        tools.run(['debugfs', '-R', f'dump {directory}/{name} {staged}',
                   image])
        if staged.read_bytes() != data:
            raise errors.BuildError(
                f'debugfs has not written {name}: {out.decode()}')
        staged.unlink()


def fix_times(image):
    """Set the times of all inodes of an ext4 image to the build's.

    It copies ctime, which nobody can choose, and atime.
    """
    now = f'@{tools.epoch()}'
    commands = []
    for number in _used_inodes(image):
        commands += [f'set_inode_field <{number}> {field} {now}'
                     for field in ('atime', 'ctime', 'crtime')]
    tools.run(['debugfs', '-w', '-f', '-', image],
              data='\n'.join(commands).encode() + b'\n',
              env=tools.environment(E2FSPROGS_FAKE_TIME=str(tools.epoch())))


def _used_inodes(image):
    """Numbers of the inodes in use, the reserved ones left out."""
    out = tools.run(['dumpe2fs', image]).decode()
    fields = dict(re.findall(r'^(Inode count|First inode): +(\d+)$', out,
                             re.M))
    total, first = int(fields['Inode count']), int(fields['First inode'])
    free = set()
    for line in re.findall(r'^  Free inodes: (.*)$', out, re.M):
        for item in filter(None, line.split(', ')):
            start, _dash, end = item.partition('-')
            free.update(range(int(start), int(end or start) + 1))
    return [2, *(n for n in range(first, total + 1) if n not in free)]


def mbr(boot_code, partitions, disk_id=_DISK_ID):
    """Return the 512 bytes of a partition table.

    :param boot_code: up to 440 bytes.
    :param partitions: up to 4 of (type, bootable, first sector, sectors).
    :param disk_id: signature of the disk.
    """
    if len(boot_code) > 440:
        raise errors.BuildError('boot code larger than 440 bytes')
    table = b''
    for kind, bootable, start, count in partitions:
        # CHS fields at their maximum: "use the LBA fields".
        table += struct.pack('<B3sB3sII', 0x80 if bootable else 0,
                             b'\xfe\xff\xff', kind, b'\xfe\xff\xff',
                             start, count)
    return (boot_code.ljust(440, b'\0') + struct.pack('<IH', disk_id, 0)
            + table.ljust(64, b'\0') + b'\x55\xaa')


def syslinux_boot_code():
    """Boot code for the MBR, from the host's syslinux."""
    for path in _SYSLINUX_MBR:
        if os.path.exists(path):
            return pathlib.Path(path).read_bytes()
    raise errors.BuildError(
        'no mbr.bin of syslinux on this host; install them with: '
        'apt-get install syslinux-common')


def assemble(path, boot_image, *images, disk_id=_DISK_ID, boot_code=None):
    """Join partitions to a raw disk image.

    Each begins on a MiB, and is as long as its image.

    :param boot_image: the FAT that the BIOS is to boot.
    :param images: of up to three more; the last may end within a MiB.
    :param disk_id: signature of the disk.
    :param boot_code: for the MBR; None for syslinux's.
    :returns: size in bytes.
    """
    partitions, offset = [], MIB
    with open(path, 'wb') as disk:
        for number, source in enumerate((boot_image, *images)):
            size = _align(os.path.getsize(source), SECTOR)
            partitions.append((_TYPE_LINUX if number else _TYPE_FAT16,
                               not number, offset // SECTOR, size // SECTOR))
            with open(source, 'rb') as stream:
                copy_sparse(stream, disk, offset)
            end = offset + size
            offset = _align(end)
        disk.seek(0)
        disk.write(mbr(boot_code or syslinux_boot_code(), partitions,
                       disk_id))
        disk.truncate(end)
    return end


def copy_sparse(stream, disk, offset, size=None):
    """Copy a file into another, zeros left out.

    :param stream: binary file, read from where it is.
    :param offset: where to write in *disk*.
    :param size: bytes to copy; None for all.
    """
    block = 64 * 1024
    while data := stream.read(block if size is None else min(block, size)):
        if data.count(0) != len(data):
            disk.seek(offset)
            disk.write(data)
        offset += len(data)
        if size is not None:
            size -= len(data)


def partitions_of(disk):
    """What a disk's partition table says.

    :param disk: binary file.
    :returns: (boot code, signature, [(offset, size), ...]), in bytes.
    :raises BuildError: it has none.
    """
    disk.seek(0)
    sector = disk.read(SECTOR)
    if len(sector) != SECTOR or sector[510:] != b'\x55\xaa':
        raise errors.BuildError('the disk has no partition table')
    found = []
    for at in range(446, 510, 16):
        start, count = struct.unpack_from('<II', sector, at + 8)
        if count:
            found.append((start * SECTOR, count * SECTOR))
    return sector[:440], struct.unpack_from('<I', sector, 440)[0], found


def to_qcow2(raw, target, compress=False):
    """Convert the raw image to qcow2, compressed if that pays."""
    tools.run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2',
               *(['-c'] if compress else []),
               '-o', 'compat=1.1,lazy_refcounts=off', raw, target])
