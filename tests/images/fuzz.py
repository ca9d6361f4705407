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

"""Fuzzers for the unpacking of layers.

A grammar fuzzer (always there) that makes archives of hostile members, and
a coverage-guided one (needs the module atheris)::

    python3 -m tests.images.fuzz --seconds 300 [--seed N]
    python3 -m tests.images.fuzz --atheris --seconds 300

Checked for every input: nothing outside the tree changes (a canary tree is
compared), no exception but errors.ImageError, never a message without
words, no input takes over 10 s, and what was accepted verifies. A failing
input is written to fuzz-failure.bin and its seed printed.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time

from nova_containervm.images import errors
from nova_containervm.images import extract
from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import limits
from nova_containervm.images import manifest
from nova_containervm.images import stream
from nova_containervm.images import survey
from nova_containervm.images import tarread
from nova_containervm.images import verify
from tests.unit.images import builders
from tests.unit.images import trees

LIMITS = limits.Limits(max_unpacked_mb=4, max_entries=2000, max_image_mb=8)


class Bench:
    """A directory with a canary beside the tree that is unpacked into."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='fuzz')
        self.tree = os.path.join(self.dir, 'tree')
        self.canary = os.path.join(self.dir, 'canary')
        os.makedirs(self.canary + '/sub')
        for name in ('keep', 'sub/keep'):
            with open(os.path.join(self.canary, name), 'wb') as out:
                out.write(b'precious')
        self.wanted = trees.native(self.canary)
        self.count = self.accepted = 0

    def one(self, layer):
        """Unpack one layer in this very process, and check."""
        start = time.monotonic()
        os.mkdir(self.tree, 0o700)
        tree = fsutil.open_dir(self.tree)
        form = forms.Mapped()
        record = os.open(self.dir + '/manifest',
                         os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        before = len(os.listdir('/proc/self/fd'))
        try:
            writer = manifest.Writer(record)
            reader = tarread.TarReader(stream.Reader(
                layer[i:i + 1000] for i in range(0, len(layer), 1000)))
            facts = extract.Extractor(tree, form, LIMITS, writer).run(reader)
            writer.close()
            self.accepted += 1
            os.lseek(record, 0, os.SEEK_SET)
            if not facts.links:  # those are not finished yet
                problems = verify.compare(record, tree, form)
                assert not problems, problems
        except errors.ImageError as exc:
            assert len(str(exc)) > 10, repr(exc)
        assert len(os.listdir('/proc/self/fd')) == before, 'descriptors leak'
        os.close(record)
        fsutil.empty_dir(tree)
        os.close(tree)
        os.rmdir(self.tree)
        self.count += 1
        assert trees.native(self.canary) == self.wanted, 'canary touched'
        assert sorted(os.listdir(self.dir)) == ['canary', 'manifest']
        assert time.monotonic() - start < 10, 'slow'

    def archive(self, data):
        """Read a whole archive; nothing is unpacked."""
        start = time.monotonic()
        try:
            survey.survey([data], architecture='amd64', limits=LIMITS)
        except errors.ImageError as exc:
            assert len(str(exc)) > 10, repr(exc)
        assert time.monotonic() - start < 10, 'slow'

    def close(self):
        shutil.rmtree(self.dir)


class Grammar:
    """Archives whose members get in each other's way."""

    def __init__(self, rng, canary):
        self.rng = rng
        self.canary = canary.encode()
        self.words = [b'a', b'b', b'c', b'd', b'etc', b'x' * 255, b'\xff',
                      b'.wh.a', b'.wh.b', b'.wh..wh..opq', b'.wh.', b'.wh...',
                      b'.wh..wh.plnk', b'..', b'.', b'', b'canary', b'keep']
        self.weights = [9, 9, 9, 5, 2, 1, 1, 4, 3, 3, .2, .2, .3, .3, 1, 1,
                        1, 1]

    def name(self):
        rng = self.rng
        parts = rng.choices(self.words, self.weights,
                            k=rng.choice((1, 1, 2, 2, 3, 5)))
        name = b'/'.join(parts)
        if rng.random() < .05:
            name = b'/' + name
        if rng.random() < .05:
            name += b'/'
        return name

    def target(self):
        rng = self.rng
        pick = rng.random()
        if pick < .1:
            return self.canary + rng.choice((b'', b'/keep', b'/sub'))
        if pick < .3:
            return b'../' * rng.randrange(1, 6) + self.name()
        return self.name()

    def member(self, tar):
        rng = self.rng
        kind = rng.choice(b'000011222555346')
        fields = {'mode': rng.choice((0, 0o644, 0o755, 0o4777, 0o7777)),
                  'uid': rng.choice((0, 0, 1000, 2 ** 31)),
                  'mtime': rng.choice((0, 1, builders.MTIME, 2 ** 33))}
        data = b''
        if kind == ord('0'):
            data = rng.randbytes(rng.choice((0, 1, 511, 512, 513, 3000)))
        if kind in b'12':
            fields['linkname'] = self.target()
        if kind in b'34':
            fields.update(major=rng.randrange(300), minor=rng.randrange(9))
        pax = []
        if rng.random() < .08:
            pax.append((rng.choice((
                'SCHILY.xattr.user.a', 'SCHILY.xattr.user.virtfs.mode',
                'SCHILY.xattr.user.overlay.opaque',
                'SCHILY.xattr.security.capability', 'mtime', 'path',
                'linkpath', 'GNU.sparse.map', 'GNU.sparse.size')),
                rng.choice((b'x', b'12.5', self.name(), b'0,1,2,3'))))
        tar.add(self.name(), bytes([kind]), data, pax=pax, **fields)

    def layer(self):
        rng = self.rng
        tar = builders.Tar()
        for _ in range(rng.choice((1, 3, 6, 12, 40))):
            self.member(tar)
        data = tar.end()
        if rng.random() < .15:
            data = bytearray(data)
            for _ in range(rng.randrange(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            data = bytes(data)
        if rng.random() < .05:
            data = data[:rng.randrange(len(data))]
        return data


def grammar(seconds, seed):
    """Run the grammar fuzzer. Returns an exit status."""
    bench = Bench()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        layer = Grammar(random.Random(seed), bench.canary).layer()
        try:
            bench.one(layer)
            if seed % 8 == 0:
                bench.archive(random.Random(seed).choice((
                    builders.docker, builders.oci, builders.docker_v1))(
                        [layer]))
        except BaseException:
            with open('fuzz-failure.bin', 'wb') as out:
                out.write(layer)
            print('failed with --seed %d; see fuzz-failure.bin' % seed)
            raise
        seed += 1
    print('%d layers, %d accepted, none got out; next seed %d' % (
        bench.count, bench.accepted, seed))
    bench.close()
    return 0


def coverage_guided(seconds):
    """Run atheris over the same checks."""
    import atheris
    atheris.instrument_all()
    bench = Bench()

    def target(data):
        if len(data) > 2 and data[0] % 4 == 0:
            bench.archive(data[1:])
        else:
            # Random bytes hardly ever have a right checksum: mend it.
            bench.one(mend(data[1:]))

    corpus = os.path.join(bench.dir, '..', 'fuzz-corpus-%d' % os.getpid())
    os.makedirs(corpus)
    for seed in range(60):
        with open('%s/%d' % (corpus, seed), 'wb') as out:
            out.write(b'\1' + Grammar(random.Random(seed),
                                      bench.canary).layer()[:20000])
    with open(corpus + '/oci', 'wb') as out:
        out.write(b'\0' + builders.oci([builders.Tar().file('x').end()]))
    atheris.Setup([sys.argv[0], corpus, '-max_total_time=%d' % seconds,
                   '-max_len=20480', '-print_final_stats=1'], target)
    atheris.Fuzz()


def mend(data):
    """Put the right checksum into every block that wants to be a header."""
    out = bytearray(data)
    for at in range(0, len(out) - 511, 512):
        if out[at + 257:at + 262] == b'ustar':
            out[at + 148:at + 156] = b' ' * 8
            out[at + 148:at + 156] = b'%06o\0 ' % sum(out[at:at + 512])
    return bytes(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=int, default=60)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--atheris', action='store_true')
    args = parser.parse_args()
    if args.atheris:
        return coverage_guided(args.seconds)
    return grammar(args.seconds, args.seed)


if __name__ == '__main__':
    sys.exit(main())
