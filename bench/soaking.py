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

"""Creates and deletes by the hundred, and random operations for a while.

Nothing here is timed against a reference: what counts is that no server goes
to ERROR, that nothing is left on the host, and that nova-compute's memory and
descriptors do not grow.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import random
import sys
import tempfile
import threading
import time

from openstack import exceptions

from bench import aio
from bench import archive
from bench import container
from bench import program

# Of growth that is no leak: caches, and threads that Nova keeps
_MEMORY = 64 << 20
_DESCRIPTORS = 40


@dataclasses.dataclass(frozen=True)
class Size:
    """What nova-compute takes.

    :param memory: resident bytes
    :param descriptors: open files
    """

    memory: int
    descriptors: int

    @classmethod
    def now(cls, pid):
        """That of a process."""
        pages = int(pathlib.Path(f'/proc/{pid}/statm').read_text().split()[1])
        return cls(pages * os.sysconf('SC_PAGE_SIZE'),
                   len(os.listdir(f'/proc/{pid}/fd')))

    def __str__(self):
        return f'{self.memory >> 20} MiB, {self.descriptors} descriptors'


class Soak:
    """One run.

    :param cloud: an aio.Cloud
    :param image: of the servers; its container runs until it is stopped
    :param progress: called with one line of text
    """

    def __init__(self, cloud, image, progress):
        self.cloud = cloud
        self.image = image
        self.progress = progress
        # As large on disk, so that resizes can go both ways
        self.flavors = (cloud.flavor(), cloud.flavor(ram=64))
        self.done = {}
        self.failures = []
        self._lock = threading.Lock()

    def perform(self, name, operation, *args):
        """Do one operation; note its time, or its failure.

        :returns: whether it worked, and what it returned
        """
        begin = time.monotonic()
        try:
            result = operation(*args)
        except (aio.Failed, exceptions.SDKException) as e:
            with self._lock:
                self.failures.append(f'{name}: {type(e).__name__}: {e}')
            self.progress(self.failures[-1])
            return False, None
        with self._lock:
            self.done.setdefault(name, []).append(time.monotonic() - begin)
        return True, result

    def round(self, _number=0):
        """Create a server, wait for its first line, and delete it."""
        created, server = self.perform('create', self.cloud.create,
                                       self.image)
        if created:
            self.perform('first line', self.cloud.wait_line, server)
            self.perform('delete', self.cloud.delete, server)

    def rounds(self, count, at_once):
        """Rounds, some at a time."""
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            for i, _ in enumerate(pool.map(self.round, range(count)), 1):
                if i % 10 == 0:
                    self.progress(f'{i} of {count} rounds')

    def random(self, seconds, servers, seed):
        """Random operations on some servers, each in its own order."""
        deadline = time.monotonic() + seconds
        with concurrent.futures.ThreadPoolExecutor(servers) as pool:
            for future in [pool.submit(self._one, deadline,
                                       random.Random(f'{seed} {i}'))
                           for i in range(servers)]:
                future.result()

    def _one(self, deadline, choice):
        server = None
        operations = OPERATIONS
        if len(self.cloud.hosts()) > 1:
            operations += ('migrate', 'migrate_back')
        while time.monotonic() < deadline:
            if server is None:
                created, server = self.perform('create', self.cloud.create,
                                               self.image)
                if not created:
                    return
                continue
            name = choice.choice(operations)
            worked, _ = self.perform(name, getattr(self, '_' + name), server)
            if not worked or name == 'delete':
                server = None
        if server is not None:
            self.perform('delete', self.cloud.delete, server)

    # Each begins and ends with a server that is ACTIVE.

    def _act(self, server, status, action, *args, **kwargs):
        getattr(self.cloud.sdk.compute, action)(server.id, *args, **kwargs)
        self._settled(server, status)

    def _settled(self, server, status, timeout=300):
        deadline = time.monotonic() + timeout
        while True:
            now = self.cloud.sdk.compute.get_server(server.id)
            if now.status == status and not now.task_state:
                return
            if now.status == 'ERROR' or time.monotonic() > deadline:
                raise aio.Failed('%s is %s/%s, not %s: %s' % (
                    server.id, now.status, now.task_state, status, now.fault))
            time.sleep(0.3)

    def _delete(self, server):
        self.cloud.delete(server)

    def _stop(self, server):
        self._act(server, 'SHUTOFF', 'stop_server')
        self._act(server, 'ACTIVE', 'start_server')

    def _reboot(self, server):
        self._act(server, 'ACTIVE', 'reboot_server', 'HARD')

    def _pause(self, server):
        self._act(server, 'PAUSED', 'pause_server')
        self._act(server, 'ACTIVE', 'unpause_server')

    def _rebuild(self, server):
        self._act(server, 'ACTIVE', 'rebuild_server', image=self.image.id)

    def _snapshot(self, server):
        sdk = self.cloud.sdk
        made = sdk.compute.create_server_image(
            server.id, 'soak-' + server.id, wait=True, timeout=300)
        sdk.image.delete_image(made.id)
        self._settled(server, 'ACTIVE')

    def _shelve(self, server):
        self._act(server, 'SHELVED_OFFLOADED', 'shelve_server')
        self._act(server, 'ACTIVE', 'unshelve_server')

    def _resize(self, server):
        self._act(server, 'VERIFY_RESIZE', 'resize_server',
                  self._other_flavor(server))
        self._act(server, 'ACTIVE', 'confirm_server_resize')

    def _resize_back(self, server):
        self._act(server, 'VERIFY_RESIZE', 'resize_server',
                  self._other_flavor(server))
        self._act(server, 'ACTIVE', 'revert_server_resize')

    def _other_flavor(self, server):
        now = self.cloud.sdk.compute.get_server(server.id).flavor
        return next(flavor.id for flavor in self.flavors
                    if flavor.name != now.original_name)

    def _migrate(self, server):
        self._act(server, 'VERIFY_RESIZE', 'migrate_server')
        self._act(server, 'ACTIVE', 'confirm_server_resize')

    def _migrate_back(self, server):
        self._act(server, 'VERIFY_RESIZE', 'migrate_server')
        self._act(server, 'ACTIVE', 'revert_server_resize')


OPERATIONS = ('stop', 'reboot', 'pause', 'rebuild', 'snapshot', 'shelve',
              'resize', 'resize_back', 'delete')


def parser():
    """The arguments."""
    result = argparse.ArgumentParser(
        prog='bench/soak', description='Create and delete servers, or do '
        'random things to them, and look for what goes wrong or stays.')
    result.add_argument('--rounds', type=int, default=0, metavar='N',
                        help='creates and deletes, one after the other')
    result.add_argument('--at-once', type=int, default=1, metavar='N',
                        help='of the rounds (default: 1)')
    result.add_argument('--burst', type=int, default=0, metavar='N',
                        help='creates and deletes, all at once')
    result.add_argument('--minutes', type=float, default=0, metavar='N',
                        help='of random operations')
    result.add_argument('--servers', type=int, default=6, metavar='N',
                        help='for the random operations (default: 6)')
    result.add_argument('--seed', default='1', help='of the random choices')
    return result


def _report(soak, sizes, left):
    """Print what was done, and return the exit status.

    :param sizes: of nova-compute from time to time, by host
    :param left: what is left on a host, a line for each
    """
    for name, times in sorted(soak.done.items()):
        times = sorted(times)
        print('%-12s %5d   median %5.1f s   longest %5.1f s' % (
            name, len(times), times[len(times) // 2], times[-1]))
    problems = list(soak.failures)
    for name, each in sizes.items():
        print('nova-compute on %s: %s' % (
            name, ', then '.join(map(str, each))))
        before, after = each[0], each[-1]
        if after.memory - before.memory > _MEMORY:
            problems.append(f'its memory has grown on {name}')
        if after.descriptors - before.descriptors > _DESCRIPTORS:
            problems.append(f'its open files have become more on {name}')
    problems += left
    for problem in problems:
        print('WRONG: ' + problem)
    print('%d operations, %d problems' % (
        sum(map(len, soak.done.values())), len(problems)))
    return 1 if problems else 0


def main(arguments=None):
    """Run; status 1 if something went wrong or was left."""
    options = parser().parse_args(arguments)

    def progress(line):
        print(time.strftime('%H:%M:%S'), line, file=sys.stderr, flush=True)

    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(
            prefix='containervm-soak-', dir='/var/tmp'))
        cloud = stack.enter_context(aio.Cloud())
        image = cloud.upload(archive.docker_archive(
            pathlib.Path(work) / 'image.tar', container.COMMAND,
            program.elf()), 'docker', 'raw')
        soak = Soak(cloud, image, progress)
        hosts = {host.name or 'this host': host for host in cloud.hosts()}
        # What is made once, for the first servers
        soak.rounds(4 * len(hosts), 2 * len(hosts))
        pids = {name: host.nova_compute().pid for name, host in hosts.items()}
        before = {name: host.state() for name, host in hosts.items()}
        sizes = {name: [] for name in hosts}

        def weigh():
            for name, pid in pids.items():
                sizes[name].append(Size.now(pid))

        weigh()
        soak.rounds(options.rounds, options.at_once)
        soak.rounds(options.burst, max(options.burst, 1))
        # In two halves: what is no leak grows less in the second.
        for half in range(2 if options.minutes else 0):
            weigh()
            soak.random(options.minutes * 30, options.servers,
                        f'{options.seed}.{half}')
        weigh()
        left = []
        for name, host in hosts.items():
            try:
                host.assert_as_before(before[name])
            except AssertionError as e:
                left.append(f'{name}: {e}')
        return _report(soak, sizes, left)
