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
"""What runs on a compute host, and between two of them."""

import dataclasses
import pathlib

from aiolib import migration
from aiolib import nodes
from aiolib import settings as settings_mod
from aiolib import ui
from aiolib.program import Program
from aiolib.program import agent_report
from aiolib.program import command
from aiolib.program import nova_report
from aiolib.program import unix


SCRIPTS = pathlib.Path(__file__).parent / 'scripts'

# Where it finds systemd-machined, libvirt has that make control groups, and
# then cannot do without their controllers (render.qemu_conf): "v2 controller
# '(null)' is not available".
NO_SYSTEM_BUS = {'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/nonexistent'}


def programs(node):
    """Return the programs of one compute host."""
    cfg = node.cfg
    virtlogd = '/run/libvirt/virtlogd-sock'
    return tuple(_there(node, program) for program in (
        Program('virtlogd', ('/usr/sbin/virtlogd',), 'base',
                unix(virtlogd) if node.first else
                command(*node.enter, 'test', '-S', virtlogd)),
        Program('libvirtd', ('/usr/sbin/libvirtd', '--config',
                             f'{node.etc}/libvirt/libvirtd.conf',
                             *(('--listen',) if cfg.computes > 1 else ())),
                'base', command(*node.enter, 'virsh', '--connect',
                                'qemu:///system', 'version'),
                env=NO_SYSTEM_BUS),
        Program('ovsdb', ('/usr/sbin/ovsdb-server',
                          f'{node.state}/ovs/conf.db',
                          '--remote=punix:/run/openvswitch/db.sock',
                          '--remote=ptcp:6640:127.0.0.1',
                          '--pidfile=/run/openvswitch/ovsdb-server.pid',
                          '--no-chdir'),
                'base', command(*node.enter, 'ovs-vsctl', '--timeout=2',
                                '--no-wait', '--db=tcp:127.0.0.1:6640',
                                'show')),
        Program('vswitchd', ('/usr/sbin/ovs-vswitchd',
                             'unix:/run/openvswitch/db.sock',
                             '--pidfile=/run/openvswitch/ovs-vswitchd.pid',
                             '--no-chdir'),
                'control', command(*node.enter, 'ovs-appctl', '--timeout=2',
                                   'version')),
        Program('tap-guard', (cfg.venv_bin('python'), '-B',
                              str(SCRIPTS / 'tap_guard.py')),
                'control', None),
        Program('nova-compute',
                (cfg.venv_bin('nova-compute'), '--config-file',
                 f'{cfg.etc}/nova/nova.conf', '--config-file',
                 str(node.nova_conf), '--config-dir',
                 str(node.nova_override)),
                'compute', nova_report('nova-compute', node.name),
                user=settings_mod.NOVA_USER,
                # Its failures are to be seen, not repeated.
                restart=False, stop_seconds=30,
                idle_mark='thread pool MainProcess.default is shutting down'),
        neutron_agent(cfg, 'neutron-ovs-agent', 'neutron-openvswitch-agent',
                      f'{node.etc}/neutron/openvswitch_agent.ini', node.name),
    ))


def between(cfg):
    """Return the programs that only two compute hosts need."""
    if cfg.computes == 1:
        return ()
    sshds = (_there(node, Program(
        'sshd', ('/usr/sbin/sshd', '-D', '-e', '-f',
                 f'{node.etc}/sshd/sshd_config'),
        'base', command(*node.enter, 'ssh-keyscan', '-T', '2', '-p',
                        migration.SSH_PORT, node.address)))
        for node in nodes.every(cfg))
    return (*sshds, Program(
        'api-proxy', ('/usr/sbin/haproxy', '-db', '-f',
                      f'{cfg.etc}/api/haproxy.cfg'), 'base', None))


def neutron_agent(cfg, name, binary, config, host):
    return Program(
        name, (cfg.venv_bin(binary), '--config-file',
               f'{cfg.etc}/neutron/neutron.conf', '--config-file', config),
        'compute', agent_report(binary, host),
        # os-ken's "dictionary changed size during iteration" at start, now
        # and then, leaves one without its main thread.
        hangs=True,
        env={'PATH': f'{cfg.venv}/bin:{ui.clean_env()["PATH"]}'})


def _there(node, program):
    """Make a program run on a host, by nsenter on the second."""
    if node.first:
        return program
    enter = node.enter
    if program.user != 'root':
        # The supervisor would change the user first, and only root enters.
        enter += ('/usr/bin/setpriv', f'--reuid={program.user}',
                  f'--regid={program.user}', '--init-groups', '--')
    return dataclasses.replace(program, name=node.program(program.name),
                               args=(*enter, *program.args), user='root')
