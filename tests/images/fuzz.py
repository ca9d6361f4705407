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
    python3 -m tests.images.fuzz --inputs 10000 --atheris
    python3 -m tests.images.fuzz --repeat FILE

Seconds are of CPU time: beside other work it takes longer, not less; an input
that takes a minute of it has hung. SIGTERM ends it after the input that is
being tried, which is no failure. The same seed and number of inputs give the
same inputs; atheris needs PYTHONHASHSEED=0 for it, and does not then try what
the code compares, such as inode numbers. What is checked is in checks.py. The
input that fails is printed, and kept in a file.
"""

import argparse
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time


class _NoImports:
    """Refuses modules, as for a process that has lost its file system."""

    def find_spec(self, name, _path=None, _target=None):
        raise AssertionError('import of %s while unpacking' % name)


#: Seconds of CPU time after which an input is taken to hang.
_HANGS = 60
#: A file system in memory.
_MEMORY = '/dev/shm'


def _hangs(_number, _frame):
    raise AssertionError('%d s of CPU time for one input' % _HANGS)


class Run:
    """One run of a fuzzer.

    :param place: path of a directory for it; removed in the end
    :param args: see main()
    """

    def __init__(self, place, args):
        self.place = place
        self._failure = args.failure
        self._bench = _bench(place, args.atheris)
        for kind in range(8):  # loads what is loaded on first use
            self._bench.run(bytes([kind]) + bytes(range(256)))
        self._bench.count = self._bench.accepted = 0
        self.inputs = args.inputs
        self._end = time.process_time() + args.seconds
        self._stopped = False
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGPROF, _hangs)

    def _stop(self, _number, _frame):
        self._stopped = True

    def raw(self, decisions):
        """See checks.Bench.raw."""
        return self._bench.raw(decisions)

    def over(self):
        return (self._stopped or self._bench.count >= self.inputs
                or time.process_time() >= self._end)

    def one(self, data):
        """Try one input; a failure ends the run."""
        sys.meta_path.insert(0, _NoImports())
        signal.setitimer(signal.ITIMER_PROF, _HANGS)
        try:
            self._bench.run(data)
        except BaseException:
            signal.setitimer(signal.ITIMER_PROF, 0)
            sys.meta_path.pop(0)
            shutil.rmtree(self.place)
            with open(self._failure, 'wb') as out:
                out.write(data)
            print('FAILED. Repeat it with: python3 -m tests.images.fuzz '
                  '--repeat %s\nThe input: %s' % (self._failure, data.hex()),
                  flush=True)
            raise
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.meta_path.pop(0)

    def report(self):
        print('%d inputs%s, %d images accepted, none got out' % (
            self._bench.count, ', then stopped' if self._stopped else '',
            self._bench.accepted), flush=True)
        shutil.rmtree(self.place)


def _bench(place, instrument):
    """A checks.Bench, with our modules under it instrumented or not."""
    if instrument:
        import atheris
        with atheris.instrument_imports(include=['nova_containervm']):
            from tests.images import checks
    else:
        from tests.images import checks
    return checks.Bench(os.path.join(place, 'bench'))


def _place(kind, seed):
    """A new directory; the same each time, as archives point at it."""
    top = _top()
    path = os.path.join(top, 'fuzz-%s-%d' % (kind, seed))
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return tempfile.mkdtemp(prefix='fuzz', dir=top)
    return path


def _top():
    """Where to work: in memory, if files have user attributes there.

    An ext4 without a journal uses no inode again for minutes, and passes over
    the deleted ones one by one: more than half of the time.
    """
    if not os.access(_MEMORY, os.W_OK):
        return tempfile.gettempdir()
    with tempfile.TemporaryFile(dir=_MEMORY) as file:
        try:
            os.setxattr(file.fileno(), 'user.fuzz', b'')
        except OSError:  # before Linux 6.6
            return tempfile.gettempdir()
    return _MEMORY


def sample(rng):
    """An input: what to do with it (see checks.Bench.run), and decisions."""
    return bytes([rng.randrange(6)]) + rng.randbytes(
        rng.choice((40, 150, 400, 1000)))


def random_inputs(run, seed):
    """Random decisions until the time is over."""
    while not run.over():
        run.one(sample(random.Random(seed)))
        seed += 1
    print('next seed: %d' % seed)
    run.report()


def coverage_guided(run, seed, artifacts):
    """Decisions led by coverage until the time is over. Does not return."""
    import atheris

    def target(data):
        run.one(data)
        if run.over():
            run.report()
            os._exit(0)

    corpus = os.path.join(run.place, 'corpus')
    os.mkdir(corpus)
    rng = random.Random(seed)
    inputs = [sample(rng) for _ in range(100)]
    for decisions in inputs[:5]:
        inputs += run.raw(decisions)
    for number, data in enumerate(inputs):
        with open('%s/%d' % (corpus, number), 'wb') as out:
            out.write(data)
    # A seed of 0 would be one of libFuzzer's own choice. Its timeout is of
    # time that others may have had: see _HANGS.
    atheris.Setup([sys.argv[0], corpus, '-max_len=20480', '-timeout=1000000',
                   '-seed=%d' % (seed + 1), '-handle_term=0',
                   '-use_cmp=%d' % math.isinf(run.inputs),
                   '-artifact_prefix=%s-' % artifacts], target)
    atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=math.inf,
                        help='end after that much CPU time')
    parser.add_argument('--inputs', type=float, default=math.inf,
                        help='end after that many')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--atheris', action='store_true')
    parser.add_argument('--failure', default='fuzz-failure', metavar='FILE',
                        help='where to keep an input that fails')
    parser.add_argument('--repeat', metavar='FILE')
    args = parser.parse_args()
    if args.repeat:
        with tempfile.TemporaryDirectory() as place, \
                open(args.repeat, 'rb') as source:
            _bench(place, False).run(source.read())
        return
    run = Run(_place('atheris' if args.atheris else 'grammar', args.seed),
              args)
    if args.atheris:
        coverage_guided(run, args.seed, args.failure)
    random_inputs(run, args.seed)


if __name__ == '__main__':
    main()
