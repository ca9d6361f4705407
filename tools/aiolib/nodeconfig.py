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

import configparser
import dataclasses
import json

from aiolib import host
from aiolib import render
from aiolib import services
from aiolib import settings
from aiolib import ui

# Nova logs this (at level debug) once its RPC servers listen.
_LISTENS = 'Join ServiceGroup membership for this service compute'
QEMU_USERS = ('libvirt-qemu', 'root')


class NodeConfig:
    """The settings that differ from the defaults, kept in a file.

    :ivar options: {(group, option): value}
    :ivar unset: {(group, option)} that nova-compute.conf is to lack
    :ivar qemu_user: user that QEMU runs as
    :ivar driver: compute_driver, or '' for the default
    """

    def __init__(self, cfg):
        self.cfg = cfg
        self.path = cfg.state / 'nodeconfig.json'
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
        path = self.cfg.nova_override / '90-reconfigure.conf'
        text = self.render()
        if path.exists() and path.read_text() == text:
            return changed
        host.write(path, text)
        return True

    def _write_main(self):
        """Write nova-compute.conf without what is to be left out.

        :returns: whether it changed
        """
        path = self.cfg.etc / 'nova' / 'nova-compute.conf'
        before = path.read_text()
        parser = configparser.RawConfigParser(
            default_section='no such section', delimiters=('=',))
        parser.read_string(before)
        text = render.nova_compute(
            self.cfg, parser['DEFAULT']['compute_driver'],
            parser['libvirt']['virt_type'], self.unset)
        if text == before:
            return False
        host.write(path, text, 0o640,
                   (0, host.ids(settings.CONTROL_USER)[1]))
        return True


def write_qemu_conf(cfg, record, qemu_user):
    return record.write_file(host.QEMU_CONF, render.qemu_conf(qemu_user),
                             0o600)


def _ready(compute, start):
    """Make a check that nova-compute takes work.

    It reports some seconds after it has begun to listen. While the last
    report of the one before is fresh, the log's word for that is enough; a
    report alone is not, for it may be of the one before, too, and Nova sets
    what is created until then to ERROR.
    """
    def check(cfg, started):
        with open(cfg.log / 'nova-compute.log', errors='replace') as f:
            f.seek(start)
            listens = any(_LISTENS in line for line in f)
        return listens and (services.nova_seen(cfg, 'nova-compute') or
                            compute.healthy(cfg, started))
    return check


def reconfigure(cfg, supervisor, sets, qemu_user, reset, force=False,
                unset=()):
    """Change nova-compute's settings and restart what they concern.

    Returns when nova-compute takes work again.

    :raises ui.Failure: with nova-compute's own message when it refuses
    """
    if not supervisor.running():
        raise ui.Failure('the all-in-one does not run',
                         'Start it: tools/aio up')
    node = NodeConfig(cfg)
    if reset:
        node.reset()
    for text in sets:
        node.set(text)
    for name in unset:
        node.leave_out(name)
    if qemu_user:
        node.qemu_user = qemu_user
    node.save()
    record = host.Record(cfg)
    changed = node.write()
    qemu_changed = write_qemu_conf(cfg, record, node.qemu_user)
    state = supervisor.info()['nova-compute']['statename']
    if not (changed or qemu_changed or force) and state == 'RUNNING':
        return ['nothing to do']
    done = []
    by_name = {p.name: p for p in services.programs(cfg)}
    compute = by_name['nova-compute']
    supervisor.finish_program(compute)
    if qemu_changed:
        # Guests stay: libvirtd finds them again.
        supervisor.stop_program('libvirtd')
        supervisor.start_program('libvirtd')
        supervisor.wait_healthy([by_name['libvirtd']])
        done.append('libvirtd restarted')
    start = supervisor.log_size('nova-compute')
    supervisor.start_program('nova-compute')
    supervisor.wait_healthy(
        [dataclasses.replace(compute, healthy=_ready(compute, start))],
        {'nova-compute': start})
    done.append('nova-compute restarted')
    return done
