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

"""Fuzzers for the reading and unpacking of images.

Random decisions of a grammar (always there), or decisions led by the coverage
of our code (needs the module atheris)::

    python3 -m tests.images.fuzz --seconds 300 [--seed N]
    python3 -m tests.images.fuzz --seconds 300 --atheris
    python3 -m tests.images.fuzz --repeat FILE

Seconds are of CPU time: beside other work it takes longer, not less. What is
checked is in checks.py. The input that fails is printed, and kept in a file.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time


class _NoImports:
    """Refuses modules, as for a process that has lost its file system."""

    def find_spec(self, name, _path=None, _target=None):
        raise AssertionError('import of %s while unpacking' % name)


class Run:
    """One run of a fuzzer.

    :param bench: a checks.Bench
    :param seconds: CPU time after which it ends
    :param failure: path of the file for an input that fails
    """

    def __init__(self, bench, seconds, failure):
        self.bench = bench
        self.failure = failure
        for kind in range(8):  # loads what is loaded on first use
            self.bench.run(bytes([kind]) + bytes(range(256)))
        self.bench.count = self.bench.accepted = 0
        self._end = time.process_time() + seconds

    def over(self):
        return time.process_time() >= self._end

    def one(self, data):
        sys.meta_path.insert(0, _NoImports())
        try:
            self.bench.run(data)
        except BaseException:
            sys.meta_path.pop(0)
            with open(self.failure, 'wb') as out:
                out.write(data)
            print('FAILED. Repeat it with: python3 -m tests.images.fuzz '
                  '--repeat %s\nThe input: %s' % (self.failure, data.hex()),
                  flush=True)
            raise
        sys.meta_path.pop(0)

    def report(self):
        print('%d inputs, %d images accepted, none got out' % (
            self.bench.count, self.bench.accepted), flush=True)
        self.bench.close()


def random_inputs(run, seed):
    """Random decisions until the time is over."""
    while not run.over():
        rng = random.Random(seed)
        run.one(sample(rng))
        seed += 1
    print('next seed: %d' % seed)
    run.report()


def sample(rng):
    """An input: what to do with it (see checks.Bench.run), and decisions."""
    return bytes([rng.randrange(6)]) + rng.randbytes(
        rng.choice((40, 150, 400, 1000)))


def coverage_guided(run):
    """Decisions led by coverage until the time is over. Does not return."""
    import atheris
    corpus = tempfile.mkdtemp(prefix='fuzz-corpus')

    def target(data):
        run.one(data)
        if run.over():
            run.report()
            shutil.rmtree(corpus)
            os._exit(0)

    rng = random.Random(1)
    for number in range(100):
        with open('%s/%d' % (corpus, number), 'wb') as out:
            out.write(sample(rng))
    atheris.Setup([sys.argv[0], corpus, '-max_len=20480', '-timeout=60',
                   '-artifact_prefix=%s-' % run.failure], target)
    atheris.Fuzz()


def _bench(instrument):
    """A checks.Bench, with all our modules under it instrumented or not."""
    if not instrument:
        from tests.images import checks
        return checks.Bench()
    import atheris
    with atheris.instrument_imports(include=['nova_containervm']):
        from tests.images import checks
    return checks.Bench()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=int, default=60)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--atheris', action='store_true')
    parser.add_argument('--failure', default='fuzz-failure', metavar='FILE',
                        help='where to keep an input that fails')
    parser.add_argument('--repeat', metavar='FILE')
    args = parser.parse_args()
    if args.repeat:
        with open(args.repeat, 'rb') as source:
            _bench(False).run(source.read())
        return 0
    run = Run(_bench(args.atheris), args.seconds, args.failure)
    if args.atheris:
        return coverage_guided(run)
    return random_inputs(run, args.seed)


if __name__ == '__main__':
    sys.exit(main())
