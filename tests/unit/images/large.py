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

"""Large images, made as they are read: for tests of what they cost."""

import functools
import hashlib
import json
import random

import zstandard

from tests.unit.images import builders
from tests.unit.images.builders import Tar

MIB = 1024 * 1024


def _files(seed, count, size):
    """Yield a layer of files of *size* MiB."""
    rng = random.Random(seed)
    for number in range(count):
        yield builders.header(b'f%d-%d' % (seed, number), size=size * MIB)
        for _ in range(size):
            yield rng.randbytes(MIB)
    yield bytes(1024)


def _config(number, **more):
    """A member with a JSON document, and its name."""
    name = '%032x.json' % number
    document = json.dumps(more, ensure_ascii=False).encode()
    return name, Tar().file(name, document).out.getvalue()


def _manifest(entries):
    return Tar().file('manifest.json', json.dumps(
        [{'Config': c, 'Layers': x} for c, x in entries]).encode()).end()


def _docker(layers, packed=None):
    """Yield the archive of layers, which are functions of an iterator.

    :param packed: what has become of the layers, if they are compressed
    """
    digests, names = [], []
    for number, layer in enumerate(layers):
        digest = hashlib.sha256()
        for chunk in layer():
            digest.update(chunk)
        digests.append('sha256:' + digest.hexdigest())
        names.append('%064x.tar' % number)
        data = packed or layer
        size = sum(map(len, data()))
        yield builders.header(names[-1].encode(), size=size)
        yield from data()
        yield bytes(-size % 512)
    name, member = _config(0, architecture='amd64', os='linux', rootfs={
        'type': 'layers', 'diff_ids': digests})
    yield member
    yield _manifest([(name, names)])


def _long(chunks):
    """Compressed with zstd's largest window, 128 MiB."""
    out = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(
            window_log=27, compression_level=1)).compressobj()
    for chunk in chunks:
        yield out.compress(chunk)
    yield out.flush()


def _three():
    return [functools.partial(_files, seed, 8, 4) for seed in range(3)]


def layers():
    """96 MiB in three layers."""
    return _docker(_three())


def one_file():
    """96 MiB in one file of one layer."""
    return _docker([functools.partial(_files, 1, 1, 96)])


def gigabytes():
    """Over 3 GiB in six files, of which a host keeps little: zeros."""
    def files():
        rng = random.Random(1)
        for number in range(6):
            yield builders.header(b'f%d' % number, size=520 * MIB)
            yield rng.randbytes(MIB)
            yield from [bytes(MIB)] * 519
        yield bytes(1024)
    return _docker([files])


def zstd_file():
    """96 MiB, the whole file compressed with zstd."""
    return _long(_docker(_three()))


def zstd_layer():
    """96 MiB, the layer compressed with zstd."""
    layer = functools.partial(_files, 1, 24, 4)
    return _docker([layer], lambda: _long(layer()))


def strings():
    """As much JSON as is kept, of the kind that takes most memory."""
    made = [_config(n, n=n, architecture='s390x', os='linux',
                    rest='x' * 1000000 + '\U0001f4a9') for n in range(5)]
    yield from (member for _name, member in made)
    yield _manifest([(name, []) for name, _member in made])


def values():
    """As many values in JSON as are kept."""
    made = [_config(n, n=n, os='linux', x=[[]] * 24000) for n in range(4)]
    yield from (member for _name, member in made)
    yield _manifest([(name, []) for name, _member in made])


def capabilities():
    """More files with capabilities than are kept."""
    tar = Tar()
    for number in range(2000):
        tar.file('%04d' % number + 'x' * 250, pax={
            'SCHILY.xattr.security.capability': builders.capability()})
    yield builders.docker([tar.end()])


def long_names():
    """So many long names that they do not fit into 128 MiB."""
    deep = b'/'.join([b'x' * 255] * 15)
    tar = Tar()
    for number in range(40000):
        tar.file(deep + b'/.wh.%d' % number)
    yield builders.oci([tar.end()], compression='zstd')


SOURCES = {f.__name__: f for f in (
    layers, one_file, gigabytes, zstd_file, zstd_layer, strings, values,
    capabilities, long_names)}
