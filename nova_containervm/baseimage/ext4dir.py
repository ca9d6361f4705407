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

"""Makes an ext4 image of a tar archive, the same bytes each time.

mke2fs -d wants a directory with the right owners. Without root that takes a
user namespace: unshare(1) maps the caller to root there, and the caller's
subordinate ids (/etc/subuid) to the rest.
"""

import os
import pathlib
import tarfile

from nova_containervm.baseimage import disk
from nova_containervm.baseimage import tools

_UUID = 'c0a7a1e5-0001-4000-8000-636f6e746e72'
_HASH_SEED = 'c0a7a1e5-0001-4000-8000-68617368736d'

# Unpack, then make the image. Arguments: archive, directory, image, and the
# mke2fs command.
_SCRIPT = """\
set -eu
archive=$1 directory=$2
shift 2
mkdir "$directory"
tar -x -p --numeric-owner --xattrs --xattrs-include='*' \
    -f "$archive" -C "$directory"
"$@"
rm -rf "$directory"
"""


def from_tar(archive, image, label, wanted):
    """Write an ext4 image with the content of *archive*.

    :param archive: path of an uncompressed tar.
    :param image: path of the image to write.
    :param label: volume label.
    :param wanted: function of a member's name (no leading "./"): whether
        the caller wants its content.
    :returns: ``{name: bytes}`` of the regular files wanted.
    :raises BuildError: a tool fails.
    """
    image = pathlib.Path(image)
    found, size, count = _scan(archive, wanted)
    # Room for metadata, and to boot with before the disk is grown.
    size = (int(size * 1.1) + 4096 * count // 8) // disk.MIB + 96
    directory = image.with_name('tree')
    mke2fs = ['mke2fs', '-q', '-F', '-t', 'ext4', '-b', '4096', '-I', '256',
              '-L', label, '-U', _UUID, '-m', '1', '-N', str(count + 16384),
              '-O', 'metadata_csum,64bit,^orphan_file',
              '-E', f'hash_seed={_HASH_SEED},lazy_itable_init=0,'
                    'lazy_journal_init=0,root_owner=0:0',
              '-d', str(directory), str(image), f'{size}M']
    command = ['sh', '-c', _SCRIPT, 'sh', archive, directory, *mke2fs]
    if os.geteuid() != 0:
        command = ['unshare', '--user', '--map-auto', '--map-root-user',
                   '--', *command]
    tools.run(command, env=tools.environment(
        E2FSPROGS_FAKE_TIME=str(tools.epoch())))
    disk.fix_times(image)
    return found


def _scan(archive, wanted):
    """Return (wanted files, bytes in whole blocks, number of entries)."""
    found, size, count = {}, 0, 0
    with tarfile.open(archive, 'r:') as tar:
        for member in tar:
            count += 1
            size += -(-member.size // 4096) * 4096
            name = member.name.removeprefix('./')
            stream = tar.extractfile(member) if member.isreg() else None
            if stream and wanted(name):
                found[name] = stream.read()
    return found, size, count
