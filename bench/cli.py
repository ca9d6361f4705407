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

"""The command ``bench/run``."""

import argparse
import contextlib
import functools
import pathlib
import sys
import tempfile

from bench import aio
from bench import figures_boot
from bench import figures_disk
from bench import figures_spawn
from bench import recipe
from bench import report

FIGURES = {
    'boot-recipe': figures_boot.boot_recipe,
    'boot-bare': figures_boot.boot_bare,
    'spawn': figures_spawn.spawn,
    'disk': figures_disk.disk,
}


class Context:
    """What figures share: the cloud, images, domains; made when needed.

    :param runs: rounds of a measurement
    :param work: directory for scratch files
    :param progress: called with one line of text
    """

    def __init__(self, runs, work, progress, options):
        self.runs = runs
        self.work = pathlib.Path(work)
        self.progress = progress
        self.options = options
        self.stack = contextlib.ExitStack()

    @functools.cached_property
    def cloud(self):
        """The all-in-one."""
        return self.stack.enter_context(aio.Cloud())

    @functools.cache  # noqa: B019  one context a process
    def docker_image(self):
        """The image with nothing but the timed program."""
        return self.cloud.docker_image(self.work)

    @functools.cache  # noqa: B019
    def minimal_domain(self):
        """A server with the settings that the all-in-one has."""
        self.progress('a server with the minimal base image')
        return figures_boot.paused_domain(self.cloud, self.docker_image(),
                                          self.work)

    @functools.cache  # noqa: B019
    def recipe_domain(self):
        """A server with the RFC's settings; the others are put back."""
        # Before the settings change
        self.minimal_domain()
        self.progress("a server with the RFC's recipe")
        with recipe.settings(self.cloud, self.options.cloud_image):
            return figures_boot.paused_domain(
                self.cloud, self.docker_image(), self.work)


def parser():
    """The arguments."""
    result = argparse.ArgumentParser(
        prog='bench/run', description='Measure the figures of the project: '
        'ratios in one run, on the all-in-one that tools/aio has started.')
    result.add_argument('figure', nargs='*', choices=[[], *FIGURES],
                        metavar='NAME', help='one of %s; default: all' %
                        ', '.join(FIGURES))
    result.add_argument('--runs', type=int, default=9, metavar='N',
                        help='rounds of each measurement (default: 9)')
    result.add_argument('--json', action='store_true',
                        help='print JSON in place of the table')
    result.add_argument('--cloud-image', metavar='FILE',
                        help="base.qcow2 of a base image of type cloud, for "
                        "boot-recipe (default: build one in $AIO_DIR/base)")
    result.add_argument('--quiet', action='store_true',
                        help='no progress on standard error')
    return result


def main(arguments=None):
    """Run the figures; status 1 if a goal is missed."""
    options = parser().parse_args(arguments)

    def progress(line):
        if not options.quiet:
            print(line, file=sys.stderr, flush=True)

    results = []
    # Not below /tmp, which may be memory: disks are opened with O_DIRECT
    with tempfile.TemporaryDirectory(prefix='containervm-bench-',
                                     dir='/var/tmp') as work:
        context = Context(options.runs, work, progress, options)
        with context.stack:
            for name in options.figure or FIGURES:
                progress(f'== {name}')
                results.append(FIGURES[name](context))
    print(report.as_json(results) if options.json else report.table(results))
    return 0 if all(r.met for r in results) else 1
