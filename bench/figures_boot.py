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

"""Figures of the boot: QEMU start to the container's first line."""

import pathlib

from bench import bare
from bench import domain
from bench import pairs
from bench import program
from bench import qemu
from bench import report

LIMIT_BARE = 1.5
LIMIT_RECIPE = 15
_MARKER = program.MARKER


def _timed(machine, timeout=300):
    def measure():
        machine.fresh()
        return qemu.time_to_line(machine.argv(), _MARKER, timeout=timeout)
    return measure


def bare_references(work, machine):
    """Two functions that time the bare reference of a domain.

    The first with the command line that anybody would give it, the second
    with the domain's, that is, with what this project has tuned there.
    """
    options = {
        'machine': (machine.option('-machine') or 'q35').split(',')[0],
        'accel': machine.option('-accel') or 'tcg',
        'cpu': machine.option('-cpu') or 'qemu64',
        'memory': machine.option('-m').split(',')[0],
        'smp': machine.option('-smp').split(',')[0],
    }
    return [timed_bare(work, machine.option('-kernel'), cmdline, **options)
            for cmdline in (bare.CMDLINE, machine.option('-append'))]


def timed_bare(work, kernel, cmdline, **options):
    """A function that times the bare reference."""
    argv = bare.argv(work, kernel, cmdline, **options)
    return lambda: qemu.time_to_line(argv, _MARKER)


def against_bare(ours, plain, tuned, runs, progress, what, note):
    """Figure: ours against nothing but the kernel.

    :param ours: function that gives a Sample
    :param plain: the same for the reference, see :func:`bare_references`
    :param tuned: and for the reference with our command line
    """
    a, b, c = pairs.interleave(runs, ours, plain, tuned, progress=progress)
    result = report.Result(
        'boot-bare', what, pairs.wall(a), pairs.wall(b), LIMIT_BARE,
        cpu=(pairs.cpu(a), pairs.cpu(b)))
    same = report.Result(
        '', '', pairs.wall(a), pairs.wall(c), LIMIT_BARE,
        cpu=(pairs.cpu(a), pairs.cpu(c)))
    result.note = (
        f'{note}; the reference: same kernel, machine, CPU and memory, no '
        f'devices, command line "{bare.CMDLINE}". With our command line, '
        'which makes it faster, too, the ratio is %.2f (CPU time: %.2f)' % (
            same.ratio, same.cpu_ratio))
    return result


def against_recipe(ours, recipe, runs, progress, note):
    """Figure: ours against the RFC's literal recipe."""
    a, b = pairs.interleave(runs, ours, recipe, progress=progress)
    return report.Result(
        'boot-recipe', "first line, against the RFC's recipe", pairs.wall(a),
        pairs.wall(b), LIMIT_RECIPE, faster=True,
        cpu=(pairs.cpu(a), pairs.cpu(b)), note=note)


def paused_domain(cloud, image, work):
    """Create a server, pause it, and return its Domain."""
    server = cloud.create(image)
    cloud.wait_line(server)
    cloud.pause(server)
    return domain.Domain(cloud.domain_name(server),
                         pathlib.Path(work) / server.id)


def boot_bare(context):
    """``boot-bare``, through Nova's domain."""
    machine = context.minimal_domain()
    return against_bare(
        _timed(machine), *bare_references(context.work, machine),
        context.runs, context.progress, 'first line, against a bare kernel',
        'the domain as Nova defines it')


def boot_recipe(context):
    """``boot-recipe``, both through Nova's domains."""
    machine = context.minimal_domain()
    recipe = context.recipe_domain()
    return against_recipe(
        _timed(machine), _timed(recipe, 1200),
        max(3, context.runs // 3), context.progress,
        'both as Nova defines them; the reference: cloud base image, '
        'passthrough share, copy, boot disk, cloud-init, chroot')
