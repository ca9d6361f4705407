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
"""Settings of nova-compute and QEMU that `tools/aio reconfigure` changes."""

import concurrent.futures
import configparser
import dataclasses
import json

from aiolib import host
from aiolib import logs
from aiolib import nodes
from aiolib import program
from aiolib import render
from aiolib import services
from aiolib import settings
from aiolib import ui

# Nova logs this (at level debug) once its RPC servers listen.
_LISTENS = 'Join ServiceGroup membership for this service compute'
QEMU_USERS = ('libvirt-qemu', 'root')


class NodeConfig:
    """A host's settings that differ from the defaults, kept in a file.

    :ivar options: {(group, option): value}
    :ivar unset: {(group, option)} that nova-compute.conf is to lack
    :ivar qemu_user: user that QEMU runs as
    """

    def __init__(self, node):
        self.node = node
        self.path = node.state / 'nodeconfig.json'
        self.reset()
        if self.path.exists():
            data = json.loads(self.path.read_text())
            self.options = {(g, o): v for g, o, v in data['options']}
            self.unset = {(g, o) for g, o in data.get('unset', ())}
            self.qemu_user = data['qemu_user']

    def reset(self):
        self.options = {}
        self.unset = set()
        self.qemu_user = QEMU_USERS[0]

    def save(self):
        host.write(self.path, json.dumps({
            'options': [[g, o, v] for (g, o), v in self.options.items()],
            'unset': sorted(self.unset),
            'qemu_user': self.qemu_user}, indent=1) + '\n')

    def set(self, text):
        """Take one `--set` argument: GROUP.option=value or a file.

        An empty value takes the override away.
        """
        name, equals, value = text.partition('=')
        if not equals:
            self._set_file(text)
            return
        group, dot, option = name.strip().rpartition('.')
        if not dot or not group or not option:
            raise ui.Failure(
                f'--set {text}: expected GROUP.option=value or a file',
                'For instance: --set libvirt.virt_type=qemu, or '
                '--set DEFAULT.debug=true')
        if value.strip():
            self.options[group, option] = value.strip()
        else:
            self.options.pop((group, option), None)

    def leave_out(self, name):
        """Take one `--unset` argument: GROUP.option."""
        group, dot, option = name.strip().rpartition('.')
        if not dot or not group or not option:
            raise ui.Failure(f'--unset {name}: expected GROUP.option')
        if option in ('compute_driver', 'virt_type'):
            raise ui.Failure(f'--unset {name}: it is needed',
                             'Use --set to change it.')
        self.options.pop((group, option), None)
        self.unset.add((group, option))

    def _set_file(self, path):
        parser = configparser.RawConfigParser(
            strict=False, default_section='no such section',
            delimiters=('=',))
        parser.optionxform = str
        try:
            with open(path) as f:
                parser.read_file(f)
        except (OSError, configparser.Error) as e:
            raise ui.Failure(
                f'--set {path}: {e}',
                'Give GROUP.option=value, or an ini file.') from e
        for group in parser.sections():
            for option, value in parser[group].items():
                self.options[group, option] = value

    def render(self):
        """Return the text of the override file."""
        groups = {}
        for (group, option), value in sorted(self.options.items()):
            groups.setdefault(group, {})[option] = value
        return render.ini(groups)

    def write(self):
        """Write nova-compute's override file, and what it overrides.

        :returns: whether one of them changed
        """
        changed = self._write_main()
        path = self.node.nova_override / '90-reconfigure.conf'
        text = self.render()
        if path.exists() and path.read_text() == text:
            return changed
        host.write(path, text)
        return True

    def _write_main(self):
        """Write nova-compute.conf without what is to be left out.

        :returns: whether it changed
        """
        path = self.node.nova_conf
        before = path.read_text()
        parser = configparser.RawConfigParser(
            default_section='no such section', delimiters=('=',))
        parser.read_string(before)
        text = render.nova_compute(
            self.node, parser['DEFAULT']['compute_driver'],
            parser['libvirt']['virt_type'], self.unset)
        if text == before:
            return False
        host.write(path, text, 0o640,
                   (0, host.ids(settings.CONTROL_USER)[1]))
        return True


    def write_qemu_conf(self, record):
        """Write libvirt's qemu.conf; return whether it changed."""
        text = render.qemu_conf(self.qemu_user)
        path = self.node.qemu_conf
        if self.node.first:
            return record.write_file(path, text, 0o600)
        if path.exists() and path.read_text() == text:
            return False
        host.write(path, text, 0o600)
        return True


def _ready(node, compute, start):
    """Make a check that nova-compute takes work.

    It reports some seconds after it has begun to listen. While the last
    report of the one before is fresh, the log's word for that is enough; a
    report alone is not, for it may be of the one before, too, and Nova sets
    what is created until then to ERROR.
    """
    def check(cfg, started):
        log = logs.since(cfg.log / f'{compute.name}.log', start)
        return _LISTENS in log and (
            program.nova_seen(cfg, 'nova-compute', node.name) or
            compute.healthy(cfg, started))
    return check


def reconfigure(cfg, supervisor, sets, qemu_user, reset, force=False,
                unset=(), only=None):
    """Change nova-compute's settings and restart what they concern.

    Returns when nova-compute takes work again.

    :param only: name of the one compute host to change; None: all
    :raises ui.Failure: with nova-compute's own message when it refuses
    """
    if not supervisor.running():
        raise ui.Failure('the all-in-one does not run',
                         'Start it: tools/aio up')
    chosen = [nodes.by_name(cfg, only)] if only else nodes.every(cfg)
    record = host.Record(cfg)
    work = []
    for node in chosen:
        config = NodeConfig(node)
        if reset:
            config.reset()
        for text in sets:
            config.set(text)
        for name in unset:
            config.leave_out(name)
        if qemu_user:
            config.qemu_user = qemu_user
        config.save()
        changed = config.write()
        qemu_changed = config.write_qemu_conf(record)
        compute = node.program('nova-compute')
        state = supervisor.info()[compute]['statename']
        if changed or qemu_changed or force or state != 'RUNNING':
            work.append((node, qemu_changed))
    with concurrent.futures.ThreadPoolExecutor(nodes.MOST) as pool:
        results = [pool.submit(_restart, node, supervisor, qemu_changed)
                   for node, qemu_changed in work]
        done = [text for result in results for text in result.result()]
    return done or ['nothing to do']


def _restart(node, supervisor, with_libvirtd):
    """Restart a host's nova-compute; return what was done, in words."""
    done = []
    by_name = {p.name: p for p in services.programs(node.cfg)}
    compute = by_name[node.program('nova-compute')]
    supervisor.finish_program(compute)
    if with_libvirtd:
        # Guests stay: libvirtd finds them again.
        libvirtd = by_name[node.program('libvirtd')]
        supervisor.stop_program(libvirtd.name)
        supervisor.start_program(libvirtd.name)
        supervisor.wait_healthy([libvirtd])
        done.append(f'{libvirtd.name} restarted')
    start = supervisor.log_end(compute.name)
    supervisor.start_program(compute.name)
    supervisor.wait_healthy(
        [dataclasses.replace(compute, healthy=_ready(node, compute, start))],
        {compute.name: start})
    done.append(f'{compute.name} restarted')
    return done
