# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""The command line of tools/tempest."""

import argparse
import dataclasses
import os
import sys

from aiolib import cli as aio
from aiolib import nodeconfig
from aiolib import nodes
from aiolib import settings as settings_mod
from aiolib import ui
from tempestlib import cloud
from tempestlib import features
from tempestlib import results
from tempestlib import selection
from tempestlib import workspace

DESCRIPTION = """\
Tempest, OpenStack's integration tests, against the all-in-one that runs: with
a docker image, and with a plain one. As root.

  tools/aio up
  tools/tempest run --image container
  tools/tempest run --image plain
  tools/tempest run --image plain --driver libvirt
  tools/tempest compare plain-libvirt plain-containervm

What a run makes in the cloud is gone when it ends; `clean` does that for one
that was killed.
"""
SETS = 'Sets of tests:\n' + '\n'.join(
    f'  {name:8}  {text}' for name, (_regex, text) in selection.SETS.items())


def parser():
    top = argparse.ArgumentParser(
        prog='tools/tempest', description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest='command', required=True,
                                  metavar='COMMAND')

    def add(name, function, text, more=''):
        sub = commands.add_parser(
            name, help=text, description=f'{text[0].upper()}{text[1:]}.',
            epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.set_defaults(function=function)
        return sub

    run = add('run', do_run, 'run tests and keep the results',
              'Status 0: no failure but those of expected.ini.\n\n' + SETS)
    run.add_argument('--image', choices=features.KINDS, required=True,
                     help='the image of the servers')
    run.add_argument('--driver', choices=features.DRIVERS,
                     help='run nova-compute with this driver, and as before '
                          'afterwards (default: the one that it has)')
    run.add_argument('--ssh', action='store_true',
                     help='with a docker image that has an SSH server: tests '
                          'log in to their servers')
    run.add_argument('--name', help='of the results (default: of image and '
                                    'driver)')
    run.add_argument('--append', action='store_true',
                     help='add to the results of that name')
    run.add_argument('--resume', action='store_true',
                     help='the same, without tests that have a result there')
    run.add_argument('--limit', type=float, metavar='MINUTES',
                     help='end after that time; --resume goes on')
    run.add_argument('--concurrency', type=int, default=os.cpu_count(),
                     metavar='N', help='processes (default: as CPUs)')
    listing = add('list', do_list, 'list tests', SETS)
    for sub in (run, listing):
        which = sub.add_mutually_exclusive_group()
        which.add_argument('--set', choices=selection.SETS,
                           help=f'default: {selection.DEFAULT}')
        which.add_argument('--regex', help='what names begin with')
        which.add_argument('--tests', metavar='FILE',
                           help='names, one a line')
        which.add_argument('--failed', metavar='RESULTS',
                           help='those that failed in an earlier run')
        sub.add_argument('--exclude', metavar='REGEX',
                         help='leave these out')
        sub.add_argument('--shard', type=selection.shard, metavar='N/M',
                         help='the Nth of M parts')
    compare = add('compare', do_compare,
                  'list tests that pass in one run and not in another',
                  'Status 1 if one fails or is left out in the second that '
                  'passes in the first.')
    compare.add_argument('first', metavar='RESULTS')
    compare.add_argument('second', metavar='RESULTS')
    show = add('show', do_show, 'show results, with the reasons of failures '
                                'and skips')
    show.add_argument('results', metavar='RESULTS')
    add('clean', do_clean, 'remove what a run that was killed has left')
    return top


def chosen(args, work, ssh=False):
    """Return the ids of the tests that the arguments choose."""
    regex, names = args.regex, None
    if args.tests:
        names = workspace.read_names(args.tests)
    elif args.failed:
        names = results.to_repeat(
            results.load(work.result(args.failed))['tests'])
    elif not regex:
        regex = selection.SETS[args.set or selection.DEFAULT][0]
    return selection.choose(work.tests(ssh), regex, args.exclude, names,
                            args.shard)


def do_list(args):
    ui.PROGRESS['file'] = sys.stderr
    work = prepared_workspace(settings_mod.load(create=False))
    print('\n'.join(chosen(args, work)))


def prepared_workspace(cfg):
    aio.need_root()
    work = workspace.Workspace(cfg)
    with ui.step('tempest') as remark:
        remark('installed' if work.ensure() else 'as it was')
    return work


def do_run(args):
    cfg = settings_mod.load(create=False)
    aio.running(cfg)
    work = prepared_workspace(cfg)
    ids = chosen(args, work, args.ssh)
    limit = None if args.limit is None else args.limit * 60
    before = features.options(cfg)['DEFAULT', 'compute_driver']
    override = nodeconfig.NodeConfig(nodes.first(cfg)).options.get(
        ('DEFAULT', 'compute_driver'), '')
    wanted = features.DRIVERS.get(args.driver, before)
    if args.image == 'container' and wanted != features.OURS:
        raise ui.Failure(f'{wanted} does not boot docker images')
    if args.ssh and args.image != 'container':
        raise ui.Failure('the plain image has no SSH server')
    with ui.step(f'{args.image} image'), aio.alone(cfg):
        files = cloud.image_files(cfg, args.image, args.ssh)
    try:
        if wanted != before:
            use_driver(cfg, wanted)
        what = features.subject(cfg, args.image, args.ssh)
        name = args.name or default_name(what)
        with ui.step('images and flavors'):
            prepared = cloud.prepare(cfg, files)
        path = work.result(name)
        if args.resume and path.exists():
            done = results.load(path)['tests']
            ids = [i for i in ids if selection.name_of(i) not in done]
        work.conf.write_text(features.tempest_conf(
            cfg, what, files[0], prepared, work.work))
        ui.note(f'{len(ids)} tests: {what.words}')
        outcomes, complete = work.run(ids, args.concurrency, limit)
        tests = results.spread(outcomes, ids, complete)
        results.save(path, dataclasses.asdict(what), tests,
                     args.append or args.resume)
    finally:
        clean(cfg)
        if wanted != before:
            use_driver(cfg, override)
    known = results.expected(args.image, args.ssh)
    new, mended = results.judge(tests, known)
    print(summary(tests))
    if not complete:
        print(f'{len(ids) - len(tests)} not run: --resume')
    print(f'Results: {path}')
    for test in new:
        print(f'FAILED {test}: {tests[test]["reason"]}')
    for test in mended:
        print(f'Passes, though expected to fail: {test}')
    return 1 if new else 0


def default_name(what):
    driver, = (n for n, d in features.DRIVERS.items() if d == what.driver)
    return f'{what.image}-{driver}' + ('-ssh' if what.ssh else '')


def use_driver(cfg, driver):
    title = f'nova-compute with {driver or "its own driver"}'
    with ui.step(title), aio.alone(cfg):
        nodeconfig.reconfigure(cfg, aio.running(cfg),
                               [f'DEFAULT.compute_driver={driver}'], None,
                               False)


def clean(cfg):
    with ui.step('what tempest left') as remark:
        left = cloud.sweep(cfg)
        remark(', '.join(left) or 'nothing')


def summary(tests):
    numbers = results.count(tests)
    seconds = sum(o['seconds'] for o in tests.values())
    return (f'{numbers["pass"]} passed, {numbers["fail"]} failed, '
            f'{numbers["skip"]} left out; {seconds / 60:.0f} minutes of '
            'tests')


def do_compare(args):
    work = workspace.Workspace(settings_mod.load(create=False))
    first, second = (results.load(work.result(n))['tests']
                     for n in (args.first, args.second))
    found = results.compare(first, second)
    for key, text in (
            ('failed', 'pass in the first and fail in the second'),
            ('skipped', 'pass in the first and are left out in the second'),
            ('not_run', 'pass in the first and were not run in the second'),
            ('gained', 'pass in the second alone')):
        print(f'{len(found[key])} {text}')
        for name in found[key]:
            reason = second[name]['reason'] if name in second else ''
            print(f'    {name}' + (f': {reason}' if reason else ''))
    return 1 if found['failed'] or found['skipped'] else 0


def do_show(args):
    work = workspace.Workspace(settings_mod.load(create=False))
    data = results.load(work.result(args.results))
    tests, what = data['tests'], features.Subject(**data['subject'])
    print(what.words)
    print(summary(tests))
    for status, title in ((results.FAIL, 'Failures'),
                          (results.SKIP, 'Left out')):
        groups = results.by_reason(tests, status,
                                   results.expected(what.image, what.ssh))
        if groups:
            print(f'\n{title}')
        for reason, names in groups.items():
            print(f'  {reason}')
            for name in names:
                print(f'    {name}')


def do_clean(args):
    cfg = settings_mod.load(create=False)
    aio.running(cfg)
    clean(cfg)


def main(argv=None):
    """Run a command and return the exit status."""
    args = parser().parse_args(argv)
    os.umask(0o022)
    try:
        return args.function(args) or 0
    except ui.Failure as e:
        e.show()
        return 1
    except KeyboardInterrupt:
        return 130
