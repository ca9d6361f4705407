#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Makes the contract of a bootable disk's guest, in that guest.

Started by the init (init/bootable.c) as::

    python3 -m nova_containervm.guest.stock.main DISK OUTPUT SOURCE

DISK is the partition with the container's root filesystem, behind which the
image is described (images/diskfile.py). OUTPUT is a directory; the contract's
files go there. SOURCE says where Nova's metadata is: ``drive:DIRECTORY``,
``service``, or ``none`` for a server without config drive and network.

The exit status is 0, or 1 after one line on standard error.
"""

import os
import sys

from nova_containervm.guest import contract as contract_lib
from nova_containervm.guest import errors as guest_errors
from nova_containervm.guest.stock import metadata as metadata_lib
from nova_containervm.guest.stock import networkdata
from nova_containervm.images import diskfile
from nova_containervm.images import errors as image_errors

_FALLBACK_HOSTNAME = 'container'


def build(description: diskfile.Description,
          found: metadata_lib.Metadata) -> contract_lib.Contract:
    """The contract of this server.

    :param description: of the image
    :param found: what Nova says
    :raises ContractError: the image or an override cannot be run
    :raises ValueError: Nova's network description makes no sense
    """
    hostname = str(found.meta.get('hostname') or '').partition('.')[0]
    given = found.meta.get('meta')
    return contract_lib.build(
        instance_uuid=str(found.meta.get('uuid') or ''),
        hostname=hostname or _FALLBACK_HOSTNAME,
        image_config=description.config, passwd=description.passwd,
        group=description.group, file_caps=(), network_info=None,
        network=networkdata.parse(found.network),
        overrides_sources={
            'image': description.properties,
            'metadata': given if isinstance(given, dict) else {},
            'user_data': found.user_data},
        # The init knows the partition, and nobody listens to a channel.
        transport='block', channel='', image_volumes=True)


def check(description: diskfile.Description) -> None:
    """Whether a server of it would run, if nobody overrides anything.

    :raises ContractError: why not
    """
    build(description, metadata_lib.Metadata({}))


def _read(source: str) -> metadata_lib.Metadata:
    kind, _colon, directory = source.partition(':')
    if kind == 'drive':
        return metadata_lib.from_drive(directory)
    if kind == 'service':
        return metadata_lib.from_service()
    return metadata_lib.Metadata({})


def _describe(path: str) -> diskfile.Description:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Of a block device, only this tells the size.
        return diskfile.read(fd, os.lseek(fd, 0, os.SEEK_END))
    finally:
        os.close(fd)


def main(argv: list[str]) -> int:
    """Entry point.

    :param argv: DISK OUTPUT SOURCE
    :returns: exit status
    """
    disk, output, source = argv
    try:
        made = build(_describe(disk), _read(source))
        for path, content in made.files().items():
            with open(os.path.join(output, os.path.basename(path)),
                      'wb') as target:
                target.write(content)
    except (metadata_lib.MetadataError, image_errors.ImageError,
            guest_errors.ContractError, ValueError) as exc:
        print(' '.join(str(exc).split()), file=sys.stderr)
        return 1
    except OSError as exc:
        print(f'{exc.filename}: {exc.strerror}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
