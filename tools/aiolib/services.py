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
"""What runs: programs, the order in which they start, and their health."""

import dataclasses
import pathlib
import socket
import urllib.error
import urllib.request

from aiolib import settings as settings_mod
from aiolib import ui

SCRIPTS = pathlib.Path(__file__).parent / 'scripts'
EPMD_PORT = 4379  # not erlang's 4369: a host may have its own epmd there


@dataclasses.dataclass(frozen=True)
class Program:
    """One program under the supervisor.

    :param name: its name for supervisorctl and `tools/aio logs`
    :param args: argument list
    :param stage: programs of one stage start together, see STAGES
    :param healthy: check that is true once it serves; None: it runs
    :param gate: whether the next stage waits for it
    :param timeout: seconds until it must be healthy
    :param hangs: after a fatal error it may stay as a process that does
        nothing; restart it then
    :param idle_mark: what it logs when, being stopped, it has finished its
        work; what is left then is waiting for timers
    :param restart: whether the supervisor starts it again when it ends
    """

    name: str
    args: tuple
    stage: str
    healthy: object
    user: str = 'root'
    env: dict = dataclasses.field(default_factory=dict)
    gate: bool = True
    timeout: int = 120
    stop_seconds: int = 10
    hangs: bool = False
    idle_mark: str = ''
    restart: bool = True


# Nova's services find the others in Keystone's catalogue, once, when they
# start: they start after it has been filled.
STAGES = ('base', 'control', 'nova', 'compute')
# Started by `tools/aio restart NAME` only.
OPTIONAL = 'optional'


# A check gets the settings and the time at which the supervisor started the
# program (seconds since the epoch): an old report in a database says nothing.

def port(number):
    def check(cfg, started):
        with socket.socket() as s:
            s.settimeout(2)
            return s.connect_ex(('127.0.0.1', number)) == 0
    return check


def http(number, path='/'):
    """Make a check that something answers, be it with "unauthorized"."""
    def check(cfg, started):
        url = f'http://127.0.0.1:{number}{path}'
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=10):
                return True
        except urllib.error.HTTPError as e:
            return e.code in (300, 401)
        except OSError:
            return False
    return check


def command(*args):
    """Make a check from a program that ends with status 0."""
    def check(cfg, started):
        try:
            ui.run([str(a).format(cfg=cfg) for a in args])
        except ui.Failure:
            return False
        return True
    return check


def unix(path):
    """Make a check that a socket accepts connections."""
    def check(cfg, started):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(2)
            try:
                s.connect(path.format(cfg=cfg))
            except OSError:
                return False
            return True
    return check


def nova_report(binary):
    """Make a check that a Nova service has reported since it started.

    It does so a few seconds after it has begun to listen for messages.
    """
    def check(cfg, started):
        return query(cfg, 'select count(*) from nova_cell1.services where '
                     f"`binary`='{binary}' and deleted=0 and "
                     f'last_seen_up >= from_unixtime({int(started)})') != '0'
    return check


def nova_seen(cfg, binary):
    """Say whether the scheduler still takes this service for alive.

    It does for 60 seconds after a report.
    """
    return query(cfg, 'select count(*) from nova_cell1.services where '
                 f"`binary`='{binary}' and deleted=0 and "
                 'last_seen_up > now() - interval 40 second') != '0'


def cinder_report(binary):
    """Make a check that a Cinder service has reported since it started."""
    def check(cfg, started):
        return query(cfg, 'select count(*) from cinder.services where '
                     f"`binary`='{binary}' and deleted=0 and "
                     f'updated_at >= from_unixtime({int(started)})') != '0'
    return check


def agent_report(binary):
    """Make a check that a Neutron agent has reported since it started.

    The report takes the whole way: RabbitMQ, RPC server, database.
    """
    def check(cfg, started):
        return query(cfg, 'select count(*) from neutron.agents where '
                     f"`binary`='{binary}' and "
                     f'started_at >= from_unixtime({int(started)})') != '0'
    return check


def query(cfg, sql):
    """Return what the database prints; '0' when it cannot answer (yet)."""
    try:
        return ui.run(['mariadb', '--no-defaults', '--user=root', '--batch',
                       '--skip-column-names', '--socket',
                       f'{cfg.run}/mariadb/socket', '--execute',
                       f"set time_zone='+00:00'; {sql}"]).strip()
    except ui.Failure:
        return '0'


def uwsgi(cfg, name, number, env, path='/', stage='control'):
    return Program(
        name, (cfg.venv_bin('uwsgi'), '--ini', f'{cfg.etc}/uwsgi/{name}.ini'),
        stage, http(number, path),
        user=settings_mod.CONTROL_USER, env=env)


def programs(cfg):
    """Return all programs. Needs no file to exist."""
    etc, state, log = cfg.etc, cfg.state, cfg.log
    control = settings_mod.CONTROL_USER
    nova_conf = ('--config-file', f'{etc}/nova/nova.conf')
    neutron_conf = ('--config-file', f'{etc}/neutron/neutron.conf')
    cinder_conf = ('--config-file', f'{etc}/cinder/cinder.conf')
    ml2 = (*neutron_conf, '--config-file', f'{etc}/neutron/ml2_conf.ini')
    rabbit_env = {
        'HOME': f'{state}/rabbitmq',
        'RABBITMQ_NODENAME': 'aio@localhost',
        'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
        'RABBITMQ_MNESIA_BASE': f'{state}/rabbitmq/mnesia',
        'RABBITMQ_LOG_BASE': f'{log}/rabbitmq',
        'RABBITMQ_LOGS': '-',
        'RABBITMQ_PID_FILE': f'{state}/rabbitmq/pid',
        'RABBITMQ_ENABLED_PLUGINS_FILE': f'{state}/rabbitmq/plugins',
        'RABBITMQ_CONF_ENV_FILE': '/dev/null',
        'RABBITMQ_CONFIG_FILE': f'{etc}/rabbitmq/rabbitmq',
        'ERL_EPMD_PORT': str(EPMD_PORT),
        'ERL_EPMD_ADDRESS': '127.0.0.1',
        # No busy waiting: there are few cores.
        'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS':
            '+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}',
    }
    nova_env = {
        'OS_NOVA_CONFIG_DIR': '/',
        # api-paste.ini first, or nova.wsgi finds no section osapi_compute.
        'OS_NOVA_CONFIG_FILES':
            f'{cfg.venv}/etc/nova/api-paste.ini;{etc}/nova/nova.conf',
    }

    path = f'{cfg.venv}/bin:{ui.clean_env()["PATH"]}'

    def agent(name, binary, config, report_as):
        return Program(name, (cfg.venv_bin(binary), *neutron_conf,
                              '--config-file', f'{etc}/neutron/{config}'),
                       'compute', agent_report(report_as),
                       # os-ken's "dictionary changed size during iteration"
                       # at start, now and then, leaves one without its main
                       # thread.
                       hangs=True,
                       env={'PATH': path})

    return (
        Program('mariadb', ('/usr/sbin/mariadbd',
                            f'--defaults-file={etc}/mariadb/my.cnf'),
                'base', unix('{cfg.run}/mariadb/socket'), user=control,
                stop_seconds=30),
        Program('epmd', ('/usr/bin/epmd', '-address', '127.0.0.1', '-port',
                         str(EPMD_PORT)),
                'base', port(EPMD_PORT), user=control,
                env={'HOME': f'{state}/rabbitmq'}),
        Program('rabbitmq', ('/usr/lib/rabbitmq/bin/rabbitmq-server',),
                'base', port(5672), user=control, env=rabbit_env,
                stop_seconds=20),
        Program('virtlogd', ('/usr/sbin/virtlogd',), 'base',
                unix('/run/libvirt/virtlogd-sock')),
        Program('libvirtd', ('/usr/sbin/libvirtd', '--config',
                             f'{etc}/libvirt/libvirtd.conf'),
                'base', command('virsh', '--connect', 'qemu:///system',
                                'version')),
        Program('ovsdb', ('/usr/sbin/ovsdb-server', f'{state}/ovs/conf.db',
                          '--remote=punix:/run/openvswitch/db.sock',
                          '--remote=ptcp:6640:127.0.0.1',
                          '--pidfile=/run/openvswitch/ovsdb-server.pid',
                          '--no-chdir'),
                'base', port(6640)),
        Program('vswitchd', ('/usr/sbin/ovs-vswitchd',
                             'unix:/run/openvswitch/db.sock',
                             '--pidfile=/run/openvswitch/ovs-vswitchd.pid',
                             '--no-chdir'),
                'control', command('ovs-appctl', '--timeout=2', 'version')),
        Program('tap-guard', (cfg.venv_bin('python'), '-B',
                              str(SCRIPTS / 'tap_guard.py')),
                'control', None),
        uwsgi(cfg, 'keystone', 5000,
              {'OS_KEYSTONE_CONFIG_DIR': f'{etc}/keystone'},
              '/v3'),
        uwsgi(cfg, 'glance', 9292,
              {'OS_GLANCE_CONFIG_DIR': f'{etc}/glance'}),
        uwsgi(cfg, 'placement', 8778,
              {'OS_PLACEMENT_CONFIG_DIR': f'{etc}/placement'}),
        uwsgi(cfg, 'neutron-api', 9696,
              {'OS_NEUTRON_CONFIG_DIR': f'{etc}/neutron',
               'OS_NEUTRON_CONFIG_FILES': 'neutron.conf;ml2_conf.ini'},
              '/v2.0/'),
        uwsgi(cfg, 'nova-api', 8774, nova_env, stage='nova'),
        uwsgi(cfg, 'nova-metadata', 8775, nova_env, stage='nova'),
        Program('neutron-rpc', (cfg.venv_bin('neutron-rpc-server'), *ml2),
                'control', None, user=control),
        Program('nova-conductor', (cfg.venv_bin('nova-conductor'),
                                   *nova_conf),
                'nova', nova_report('nova-conductor'), user=control,
                gate=False),
        Program('nova-scheduler', (cfg.venv_bin('nova-scheduler'),
                                   *nova_conf),
                'nova', nova_report('nova-scheduler'), user=control,
                gate=False),
        Program('nova-compute',
                (cfg.venv_bin('nova-compute'), *nova_conf, '--config-file',
                 f'{etc}/nova/nova-compute.conf', '--config-dir',
                 str(cfg.nova_override)),
                'compute', nova_report('nova-compute'),
                user=settings_mod.NOVA_USER,
                # Its failures are to be seen, not repeated.
                restart=False, stop_seconds=30,
                idle_mark='thread pool MainProcess.default is shutting down'),
        uwsgi(cfg, 'cinder-api', 8776, {}, stage='nova'),
        Program('cinder-scheduler', (cfg.venv_bin('cinder-scheduler'),
                                     *cinder_conf),
                'nova', cinder_report('cinder-scheduler'), user=control,
                gate=False),
        Program('cinder-volume', (cfg.venv_bin('cinder-volume'),
                                  *cinder_conf),
                'nova', cinder_report('cinder-volume'), user=control,
                gate=False, env={'PYTHONPATH': f'{etc}/cinder/python',
                                 'PATH': path}),
        # For [serial_console] enabled, which `reconfigure` can set.
        Program('nova-serialproxy', (cfg.venv_bin('nova-serialproxy'),
                                     *nova_conf),
                OPTIONAL, port(6083), user=control),
        agent('neutron-ovs-agent', 'neutron-openvswitch-agent',
              'openvswitch_agent.ini', 'neutron-openvswitch-agent'),
        agent('neutron-dhcp-agent', 'neutron-dhcp-agent', 'dhcp_agent.ini',
              'neutron-dhcp-agent'),
        agent('neutron-l3-agent', 'neutron-l3-agent', 'l3_agent.ini',
              'neutron-l3-agent'),
        agent('neutron-metadata-agent', 'neutron-metadata-agent',
              'metadata_agent.ini', 'neutron-metadata-agent'),
    )
