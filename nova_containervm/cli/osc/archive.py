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

"""A docker image in a file: is it fit, and what should Glance know of it?"""

import contextlib
import os
import subprocess
import sys
import tempfile

from openstackclient.common import progressbar
from osc_lib import exceptions

from nova_containervm.cli.osc import options
from nova_containervm.images import errors
from nova_containervm.images import survey

TRAIT = 'trait:CUSTOM_CONTAINERVM'
# Of hosts that give servers a disk as their root filesystem
BLOCK_TRAIT = TRAIT + '_BLOCK'

# docker's names, as GOARCH has them, and Nova's
ARCHITECTURES = {
    '386': 'i686', 'amd64': 'x86_64', 'arm': 'armv7l', 'arm64': 'aarch64',
    'ppc64le': 'ppc64le', 'riscv64': 'riscv64', 's390x': 's390x',
}

# MB of memory that the machine's kernel and init need, and what is on top for
# an image with more in it than one static program.
_LEAST_RAM = 128
_USUAL_RAM = 256
_SMALL_IMAGE = 64 * 1024 * 1024
_GIB = 1024 ** 3

_STDERR = 2

# What skopeo can read.
_TRANSPORTS = ('docker', 'oci', 'oci-archive', 'docker-archive',
               'docker-daemon', 'containers-storage', 'dir')


def inspect(chunks, name, ref=None, architecture=None, given=None):
    """Read an image to its end, as a compute host does.

    :param chunks: iterable of bytes
    :param name: for messages
    :param ref: which image, if there are several in the file
    :param architecture: as docker names it; None for this machine's
    :param given: its properties in Glance
    :returns: what images.survey.survey() returns
    :raises CommandError: no server can be made of it
    """
    try:
        return survey.survey(chunks, ref, architecture,
                             given=options.check(image=given))
    except (errors.ImageError, errors.StoreError) as exc:
        raise exceptions.CommandError('%s: %s' % (name, exc))


def check(found, name):
    """Refuse an image that no server could run.

    :param found: what :func:`inspect` returned
    :raises CommandError: it cannot be run, or not with its properties
    """
    if found['command'] is None:
        raise exceptions.CommandError('%s: %s' % (name,
                                                  found['problems'][0]))


def properties(found, ref=None, trait=True):
    """The properties that an image should have in Glance.

    :param trait: let the scheduler know which hosts can run it
    """
    result = {}
    architecture = ARCHITECTURES.get(found['architecture'])
    if architecture:
        result['architecture'] = architecture
    if trait and found['format'] != 'bootable':
        result[BLOCK_TRAIT if found['format'] == 'disk' else TRAIT] = (
            'required')
    if ref:
        result[options.PREFIX + 'ref'] = ref
    return result


def container_format(found):
    """What Glance is to call it."""
    return 'bare' if found['format'] == 'bootable' else 'docker'


def _size(found):
    # A disk that does not describe itself says nothing of what is on it.
    return found['virtual_size'] if found['size'] is None else found['size']


def min_disk(found):
    """GB of root disk: room to write every file of the image once."""
    size = _size(found)
    if found['format'] == 'bootable':
        # The image itself is there, too.
        size += found['virtual_size']
    return max(1, -(-size // _GIB))


def min_ram(found):
    """MB of memory below which an image has no chance to run."""
    # A bootable disk's guest has a program of its own to run first.
    small = _size(found) < _SMALL_IMAGE and found['format'] != 'bootable'
    return _LEAST_RAM if small else _USUAL_RAM


@contextlib.contextmanager
def pulled(source, architecture=None):
    """Have skopeo fetch an image into a file, which goes afterwards.

    The file is a docker archive: an OCI one would lose what is docker's
    alone, such as a HEALTHCHECK.

    :param source: as skopeo names it, ``docker://docker.io/library/nginx``
    :returns: the path of the archive
    :raises CommandError: there is no skopeo, or it failed
    """
    transport, colon, rest = source.partition(':')
    if not colon or not rest or transport not in _TRANSPORTS:
        raise exceptions.CommandError(
            '%r does not say where the image is: put one of %s in front, as '
            'docker://docker.io/library/nginx:latest' % (
                source, ', '.join(t + ':' for t in _TRANSPORTS)))
    with tempfile.TemporaryDirectory(prefix='containervm-') as directory:
        path = os.path.join(directory, 'image.tar')
        command = ['skopeo', '--override-os', 'linux']
        if architecture:
            command += ['--override-arch', architecture]
        command += ['copy', '--', source, 'docker-archive:' + path]
        try:
            # What it says is for the user, but no output of ours.
            done = subprocess.run(command, stdout=_STDERR, check=False)
        except FileNotFoundError:
            raise exceptions.CommandError(
                "The program 'skopeo' is not installed. Install it, or give "
                'the output of "docker save" with --file.')
        if done.returncode:
            raise exceptions.CommandError(
                'skopeo could not fetch %s; see above.' % source)
        yield path


@contextlib.contextmanager
def opened(path, what, progress=True):
    """An image file, opened for reading with a progress bar on terminals.

    :param what: the line above the bar
    :raises CommandError: it cannot be opened
    """
    try:
        source = open(path, 'rb')
    except OSError as exc:
        raise exceptions.CommandError('%s: %s' % (path, exc.strerror))
    with source:
        if not (progress and sys.stdout.isatty()):
            yield source
            return
        print(what)
        yield progressbar.VerboseFileWrapper(source,
                                             os.path.getsize(path))


def chunks(source):
    """The contents of a file."""
    return iter(lambda: source.read(1 << 18), b'')
