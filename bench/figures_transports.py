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

"""The figures of bench/transports."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from nova_containervm.images import diskstore
from nova_containervm.images import store

from bench import aio
from bench import matrix
from bench import memory
from bench import pairs
from bench import qemu

LINE_LIMIT = 1.15
WORK_LIMIT = 0.9
MEMORY_LIMIT = 0.5
PREPARE_LIMIT = 1.0

JOBS = {
    'find-cold': 'find and stat of 20,000 files, first time',
    'tar-cold': 'tar of the same, first time',
    'find': 'find and stat again',
    'tar': 'tar again',
    'create': 'creating %d files',
    'create-volume': 'the same in a VOLUME',
    'fsync': '%d writes of 4 KiB, each with fsync',
    'fsync-volume': 'the same in a VOLUME',
    'initdb': "PostgreSQL's initdb, in a VOLUME",
    'pgbench': 'there pgbench: start, fill, 2 clients x %d transactions, stop',
}


def _split(samples):
    """By kind, of lists of Samples: wall times and CPU times."""
    return ({kind: pairs.wall(s) for kind, s in samples.items()},
            {kind: pairs.cpu(s) for kind, s in samples.items()})


def _interleave(context, measure, progress=None):
    """Call measure(kind) in turn; lists of what it returns, by kind."""
    results = pairs.interleave(
        context.runs, *(lambda kind=kind: measure(kind)
                        for kind in context.kinds), progress=progress)
    return dict(zip(context.kinds, results))


def first_line(context):
    """From the API's call to the first line; the image is in the store."""
    def measure(kind):
        with context.guests.machine(kind, 'idle') as machine:
            return machine.first_line()

    wall, cpu = _split(_interleave(context, measure, context.progress))
    yield matrix.Row('line', 'first line after create', wall, against='9p',
                     limit=LINE_LIMIT, cpu=cpu)


def _requests(text):
    """Requests per second in what ab prints.

    :raises Failed: some requests failed
    """
    failed = re.search(r'^Failed requests: +(\d+)', text, re.MULTILINE)
    rate = re.search(r'^Requests per second: +([\d.]+)', text, re.MULTILINE)
    if failed is None or rate is None or int(failed[1]):
        raise aio.Failed('ab: %s' % text)
    return float(rate[1])


def _ab(address, count):
    done = subprocess.run(
        ['ab', '-q', '-n', str(count), '-c', str(min(count, 8)),
         f'http://{address}/'],
        check=True, capture_output=True, text=True)
    return _requests(done.stdout)


def _wait_http(machine, timeout=300):
    """Wait until a request gets its answer; return the address."""
    address = machine.address()
    deadline = time.monotonic() + timeout
    while True:
        try:
            _ab(address, 1)
            return address
        except subprocess.CalledProcessError as e:
            if time.monotonic() > deadline:
                raise aio.Failed('http://%s: %s' % (address, e.stderr))
            time.sleep(0.5)


def http(context):
    """nginx from outside, new connections; all servers run all the time."""
    count = context.sizes.requests
    with contextlib.ExitStack() as stack:
        machines = {kind: stack.enter_context(
            context.guests.machine(kind, 'idle')) for kind in context.kinds}
        addresses = {}
        for kind, machine in machines.items():
            machine.first_line()
            addresses[kind] = _wait_http(machine)
            _ab(addresses[kind], count // 4)
        pids = {kind: m.processes() for kind, m in machines.items()}

        def measure(kind):
            before = machines[kind].cpu(pids[kind])
            rate = _ab(addresses[kind], count)
            return qemu.Sample(rate, machines[kind].cpu(pids[kind]) - before)

        wall, cpu = _split(_interleave(context, measure, context.progress))
    yield matrix.Row('http', 'nginx, requests from outside', wall,
                     unit='1/s', least=True, rate=True, cpu=cpu)


def work_of(lines):
    """Jobs of a guest's lines: name to Sample, by the guest's wall clock.

    :param lines: iterable of (Sample, words), see guests.Machine.lines
    :raises Failed: a job failed
    """
    begun, done = {}, {}
    for sample, words in lines:
        if words[0] == 'failed:':
            raise aio.Failed('bench-jobs: %s' % ' '.join(words[1:]))
        if words[0] == 'begin':
            begun[words[1]] = sample
        elif words[0] == 'end':
            done[words[1]] = qemu.Sample(
                float(words[2]), sample.cpu - begun[words[1]].cpu)
        elif words[0] == 'done':
            return done
    raise aio.Failed('bench-jobs has ended too early')


def files(context):
    """The jobs of a guest, one guest at a time."""
    sizes = context.sizes
    counts = {'create': sizes.create, 'fsync': sizes.sync,
              'pgbench': sizes.transactions}

    def measure(kind):
        with context.guests.machine(kind, 'files', *(
                str(counts[name]) for name in (
                    'create', 'fsync', 'pgbench'))) as machine:
            done = work_of(machine.lines(900))
            context.progress('%s: %s' % (kind, ', '.join(
                f'{name} {sample}' for name, sample in done.items())))
            return done

    results = _interleave(context, measure)
    for name, what in JOBS.items():
        wall, cpu = _split({kind: [done[name] for done in runs]
                            for kind, runs in results.items()})
        if name in counts:
            what %= counts[name]
        yield matrix.Row('files', what, wall, limit=WORK_LIMIT, least=True,
                         cpu=cpu)


def _first_of_kind(context, kind):
    """Have the image on the host, but not in its memory."""
    with context.guests.machine(kind, 'idle') as machine:
        machine.first_line()
        paths = memory.image_files(machine)
        memory.drop(paths)


def memory_of(context, kind):
    """By number of idle servers: (Pss, bytes of the image in page cache)."""
    result = {}
    _first_of_kind(context, kind)
    with contextlib.ExitStack() as stack:
        machines = []
        for count in context.sizes.servers:
            new = [stack.enter_context(context.guests.machine(kind, 'idle'))
                   for _ in range(count - len(machines))]
            for machine in new:
                machine.first_line()
                _wait_http(machine)
            machines += new
            pids = [pid for m in machines for pid in m.processes()]
            found = memory.settled(pids, context.guest_size)
            cache = memory.cached(memory.image_files(machines[0]))
            result[count] = found, cache
            context.progress('%d x %s: %d MB each, %d MB of it the guest\'s, '
                             '%d MB translated code; page cache %d MB' % (
                                 count, kind, found.total / count / memory.MB,
                                 found.guest / count / memory.MB,
                                 found.code / count / memory.MB,
                                 cache / memory.MB))
    return result


def idle_memory(context):
    """Memory of idle servers of one image, with nginx running."""
    found = {kind: memory_of(context, kind) for kind in context.kinds}

    def row(what, value, count, limit=None):
        return matrix.Row(
            'memory', what, {kind: [value(*results[count]) / memory.MB]
                             for kind, results in found.items()},
            unit='MB', limit=limit)

    for count in context.sizes.servers:
        yield row(f'PSS per idle server, of {count}',
                  lambda pss, cache, n=count: pss.total / n, count,
                  MEMORY_LIMIT)
    for count in context.sizes.servers:
        yield row(f"the host's page cache of the image, {count} servers",
                  lambda pss, cache: cache, count)
    last = context.sizes.servers[-1]
    yield row(f'PSS and page cache, per server of {last}',
              lambda pss, cache: (pss.total + cache) / last, last,
              MEMORY_LIMIT)
    yield row(f"  of the PSS: the guest's memory, per server of {last}",
              lambda pss, cache: pss.guest / last, last, MEMORY_LIMIT)
    yield row(f'  of the PSS: code that TCG has translated, of {last}',
              lambda pss, cache: pss.code / last, last)


def _timed(work, job):
    """Run job(empty directory); seconds until all is on the disk.

    What it makes stays until all are done: an ext4 without a journal passes
    over deleted inodes for minutes, one by one.
    """
    place = pathlib.Path(tempfile.mkdtemp(dir=work))
    # The store's helpers have no privilege.
    place.chmod(0o755)
    os.sync()
    begun = time.monotonic()
    job(str(place))
    os.sync()
    return time.monotonic() - begun


def _fill(made, archive):
    def fetch():
        with open(archive, 'rb') as source:
            yield from iter(lambda: source.read(65536), b'')
    made.ensure('bench', fetch)


def prepare(context):
    """From the archive to what servers can have; GNU tar beside it."""
    archive = context.docker
    mkfs = context.cloud.setting('containervm', 'mkfs_erofs_cmd')
    layers = context.work / 'layers'
    layers.mkdir()
    subprocess.run(['tar', '-xf', archive, '-C', layers], check=True)
    # Bottom first, as manifest.json has them
    order = re.search(r'"Layers":\[([^]]*)\]', (
        layers / 'manifest.json').read_text())[1]
    names = re.findall(r'"([^"]+)"', order)

    def gnu_tar(place):
        for name in names:
            subprocess.run(['tar', '--numeric-owner', '--xattrs', '-xpf',
                            layers / name, '-C', place], check=True)

    jobs = {
        '9p': lambda place: _fill(store.ImageStore(
            place, owner=(64055, 64055)), archive),
        'virtiofs': lambda place: _fill(store.ImageStore(
            place, access_mode='passthrough'), archive),
        'block': lambda place: _fill(diskstore.DiskStore(
            place, mkfs=mkfs), archive),
        'vm': lambda place: subprocess.run(
            ['qemu-img', 'convert', '-O', 'raw', context.vm[0],
             place + '/disk'], check=True),
        'tar': gnu_tar,
    }
    results = pairs.interleave(
        context.runs, *(lambda job=job: _timed(context.work, job)
                        for job in jobs.values()),
        progress=context.progress)
    wall = dict(zip(jobs, results))
    shutil.rmtree(layers)
    yield matrix.Row('prepare', 'image from its archive, until on disk',
                     wall, against='9p', limit=PREPARE_LIMIT)
    yield matrix.Row('prepare', 'the same; against GNU tar (column 9p)',
                     {'block': wall['block'], '9p': wall['tar']},
                     against='9p')
