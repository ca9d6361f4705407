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
"""The command line of tools/aio."""

import argparse
import contextlib
import dataclasses
import fcntl
import os
import shutil
import sys

from aiolib import baseimage
from aiolib import demo
from aiolib import host
from aiolib import nodeconfig
from aiolib import nodes
from aiolib import services
from aiolib import settings
from aiolib import steps
from aiolib import supervisor
from aiolib import ui
from images.build import FORMATS
from images.recipes import RECIPES

DESCRIPTION = """\
A real OpenStack on this machine, for nova-containervm: Keystone, Glance,
Placement, Neutron, Nova, Cinder, RabbitMQ, MariaDB, libvirt and QEMU. For
Debian 12 or 13, as root; nothing listens on the network but on 127.0.0.1.

  tools/aio demo       see it work: sets up everything, boots a docker image
  tools/aio up         start it (sets up what is missing; run it any time)
  eval "$(tools/aio env)"
  openstack server list
  tools/aio down       stop it; --wipe puts the host back as it was
"""


def parser():
    top = argparse.ArgumentParser(
        prog='tools/aio', description=DESCRIPTION, epilog=settings.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest='command', required=True,
                                  metavar='COMMAND')

    def add(name, function, text, more=''):
        sub = commands.add_parser(
            name, help=text, description=f'{text[0].upper()}{text[1:]}.',
            epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.set_defaults(function=function)
        return sub

    up = add('up', do_up, 'set up what is missing and start what does not '
             'run', settings.HELP)
    up.add_argument('--computes', type=int, choices=range(1, nodes.MOST + 1),
                    help='number of compute hosts: a second one, with its own '
                         'libvirtd and Open vSwitch, lives in namespaces of '
                         'this machine (default: as the last time, first 1)')
    down = add('down', do_down, 'stop everything; servers are powered off')
    down.add_argument('--wipe', action='store_true',
                      help='also remove servers, images and databases, and '
                           'put users and files below /etc back')
    down.add_argument('--caches', action='store_true',
                      help='with --wipe: also remove the venv and all caches')
    down.add_argument('--packages', action='store_true',
                      help='with --wipe: also remove the Debian packages '
                           'that `up` installed')
    add('status', do_status, 'say what runs; status 0 if all of it does')
    add('env', do_env, 'print what points the openstack client at this cloud',
        'Use it with: eval "$(tools/aio env)"\n'
        'The cloud `aio` is the administrator; `aio-demo` (export '
        'OS_CLOUD=aio-demo) an ordinary user.')
    logs = add('logs', do_logs, 'show the log of a service')
    logs.add_argument('name', nargs='?', help='without it: list the names')
    logs.add_argument('-f', '--follow', action='store_true',
                      help='keep showing what is added')
    logs.add_argument('-n', '--lines', type=int, default=100, metavar='N',
                      help='how many of the last lines (default 100)')
    restart = add('restart', do_restart,
                  'restart services and wait until they are ready')
    restart.add_argument('name', nargs='+')
    conf = add(
        'reconfigure', do_reconfigure,
        'change settings of nova-compute and restart what they concern',
        'Settings are kept until they are set again or --reset. When '
        'nova-compute\nrefuses to start, its message is printed and the exit '
        'status is 1.\n\n'
        '  tools/aio reconfigure --set containervm.writable_layer=share\n'
        '  tools/aio reconfigure --set libvirt.sub_virt_type=   '
        '(take one away)\n'
        '  tools/aio reconfigure --reset')
    conf.add_argument('--set', action='append', default=[], dest='sets',
                      metavar='FILE|GROUP.OPTION=VALUE',
                      help='an option, or an ini file of options; '
                           'repeatable')
    conf.add_argument('--unset', action='append', default=[],
                      metavar='GROUP.OPTION',
                      help='leave out an option that nova-compute has here '
                           'by default; repeatable')
    conf.add_argument('--qemu-user', choices=nodeconfig.QEMU_USERS,
                      help='the user that QEMU runs as '
                           '(restarts libvirtd, too)')
    conf.add_argument('--reset', action='store_true',
                      help='first forget all settings made this way')
    conf.add_argument('--host', metavar='NAME',
                      help='change this compute host only (default: all)')
    conf.add_argument('--restart', action='store_true',
                      help='restart nova-compute even if nothing changed')
    on = add('on', do_on, 'run a command on a compute host',
             'For instance, with `up --computes 2`:\n'
             '  tools/aio on aio2 virsh list --all')
    on.add_argument('host', metavar='HOST')
    on.add_argument('words', nargs=argparse.REMAINDER, metavar='COMMAND')
    add('demo', do_demo, 'see it work: boot a docker image and fetch its page')
    image = add(
        'image', do_image,
        'build a docker archive from Debian packages; print its path',
        'Images:\n' + '\n'.join(f'  {name:10} {recipe.description}'
                                for name, recipe in RECIPES.items()))
    image.add_argument('name', choices=list(RECIPES), metavar='NAME')
    image.add_argument('--format', choices=FORMATS, default=FORMATS[0])
    image.add_argument('-o', '--output', metavar='FILE',
                       help='copy it there, too')
    base = add('base-image', do_base_image,
               'build a base VM image if its sources changed; print its path')
    base.add_argument('type', choices=baseimage.TYPES)
    return top


@contextlib.contextmanager
def alone(cfg):
    """Let only one command at a time change things."""
    need_root()
    cfg.dir.mkdir(parents=True, exist_ok=True)
    with open(cfg.dir / 'lock', 'w') as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            ui.note('Waiting for another tools/aio to finish ...')
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def do_up(args):
    cfg = settings.load()
    with alone(cfg):
        if args.computes:
            cfg = dataclasses.replace(cfg, computes=args.computes)
        steps.up(cfg)


def do_down(args):
    if (args.caches or args.packages) and not args.wipe:
        raise ui.Failure('--caches and --packages go with --wipe only')
    need_root()
    cfg = settings.load(create=False)
    if not cfg.dir.exists():
        ui.note(f'There is nothing: no {cfg.dir}')
        return
    with alone(cfg):
        steps.down(cfg, args.wipe, args.caches, args.packages)


def need_root():
    if os.geteuid() != 0:
        raise ui.Failure('this needs root')


def running(cfg):
    need_root()
    sup = supervisor.Supervisor(cfg)
    if not sup.running():
        raise ui.Failure('the all-in-one does not run',
                         'Start it: tools/aio up')
    return sup


def do_status(args):
    cfg = settings.load(create=False)
    info = running(cfg).info()
    bad = []
    for program in services.programs(cfg):
        state = info.get(program.name, {'statename': 'UNKNOWN',
                                        'description': '', 'start': 0})
        ready = state['statename'] == 'RUNNING' and (
            program.healthy is None or program.healthy(cfg, state['start']))
        off = program.stage == services.OPTIONAL and \
            state['statename'] != 'RUNNING'
        word = 'ready' if ready else 'off' if off else (
            'NOT READY' if state['statename'] == 'RUNNING'
            else state['statename'])
        if not ready and not off:
            bad.append(program.name)
        print(f'{program.name:24} {word:10} {state["description"]}')
    for node in nodes.every(cfg):
        config = nodeconfig.NodeConfig(node)
        compute = node.program('nova-compute')
        for (group, option), value in sorted(config.options.items()):
            print(f'{compute} override: [{group}] {option} = {value}')
        print(f'{node.program("QEMU")} runs as {config.qemu_user}')
    return 1 if bad else 0


def do_env(args):
    cfg = settings.load(create=False)
    print(f'export OS_CLIENT_CONFIG_FILE={cfg.etc}/clouds.yaml')
    print('export OS_CLOUD=aio')
    # Variables of another cloud would win over clouds.yaml.
    print('unset OS_AUTH_URL OS_USERNAME OS_PASSWORD OS_PROJECT_NAME')
    print(f'case ":$PATH:" in *":{cfg.bin}:"*) ;; '
          f'*) export PATH={cfg.bin}:$PATH;; esac')


def do_logs(args):
    cfg = settings.load(create=False)
    path = cfg.log / f'{args.name}.log'
    if args.name is None or not path.exists():
        names = sorted(p.stem for p in cfg.log.glob('*.log'))
        if args.name is not None:
            raise ui.Failure(f'there is no log of {args.name}',
                             'There are: ' + ' '.join(names))
        print('\n'.join(names))
        return
    sys.stdout.flush()
    os.execvp('tail', ['tail', *(['-F'] if args.follow else []),
                       f'--lines={args.lines}', str(path)])


def do_restart(args):
    cfg = settings.load(create=False)
    sup = running(cfg)
    by_name = {p.name: p for p in services.programs(cfg)}
    for name in args.name:
        if name not in by_name:
            raise ui.Failure(f'there is no service {name}',
                             'There are: ' + ' '.join(by_name))
    for name in args.name:
        with alone(cfg), ui.step(f'restart {name}'):
            sup.finish_program(by_name[name])
            start = {name: sup.log_end(name)}
            sup.start_program(name)
            sup.wait_healthy([by_name[name]], start)


def do_demo(args):
    cfg = settings.load()
    with alone(cfg):
        demo.run(cfg)


def do_image(args):
    ui.PROGRESS['file'] = sys.stderr
    cfg = settings.load()
    need_root()
    cfg.log.mkdir(parents=True, exist_ok=True)
    cfg.images.mkdir(exist_ok=True)
    # Its own lock: tests build images while the cloud is reconfigured.
    with open(cfg.images / 'lock', 'w') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        with ui.step(f'image {args.name}'):
            path = demo.builder(cfg).build(args.name, args.format)
    if args.output:
        shutil.copyfile(path, args.output)
        path = args.output
    print(path)


def do_base_image(args):
    ui.PROGRESS['file'] = sys.stderr
    cfg = settings.load()
    with alone(cfg), ui.step(f'base VM image {args.type}') as remark:
        made = baseimage.ensure(cfg, host.Record(cfg), args.type)
        remark('built' if made else 'up to date')
    print(cfg.base / args.type / 'base.qcow2')


def do_reconfigure(args):
    cfg = settings.load(create=False)
    sup = running(cfg)
    with alone(cfg), ui.step('reconfigure') as remark:
        for text in nodeconfig.reconfigure(cfg, sup, args.sets,
                                           args.qemu_user, args.reset,
                                           args.restart, args.unset,
                                           args.host):
            remark(text)


def do_on(args):
    cfg = settings.load(create=False)
    need_root()
    if not args.words:
        raise ui.Failure('there is no command to run')
    command = [*nodes.by_name(cfg, args.host).enter, *args.words]
    try:
        os.execvp(command[0], command)
    except OSError as e:
        raise ui.Failure(f'{command[0]}: {e.strerror}') from e


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
        print('\nInterrupted. tools/aio up goes on where it was, '
              'tools/aio down stops everything.', file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
