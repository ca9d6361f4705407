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
"""What runs: programs, and the order in which they start."""

from aiolib import nodes
from aiolib import nodeservices
from aiolib import settings as settings_mod
from aiolib import ui
from aiolib.program import Program
from aiolib.program import cinder_report
from aiolib.program import http
from aiolib.program import nova_report
from aiolib.program import port
from aiolib.program import unix

EPMD_PORT = 4379  # not erlang's 4369: a host may have its own epmd there

# Nova's services find the others in Keystone's catalogue, once, when they
# start: they start after it has been filled.
STAGES = ('base', 'control', 'nova', 'compute')
# Started by `tools/aio restart NAME` only.
OPTIONAL = 'optional'


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
    cinder_conf = ('--config-file', f'{etc}/cinder/cinder.conf')
    neutron_conf = ('--config-file', f'{etc}/neutron/neutron.conf')
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

    first = nodes.first(cfg)

    def agent(name, config):
        return nodeservices.neutron_agent(
            cfg, name, name, f'{etc}/neutron/{config}', first.name)

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
        uwsgi(cfg, 'cinder-api', 8776, {}, stage='nova'),
        Program('cinder-scheduler', (cfg.venv_bin('cinder-scheduler'),
                                     *cinder_conf),
                'nova', cinder_report('cinder-scheduler'), user=control,
                gate=False),
        Program('cinder-volume', (cfg.venv_bin('cinder-volume'),
                                  *cinder_conf),
                'nova', cinder_report('cinder-volume'), user=control,
                gate=False, env={'PYTHONPATH': f'{etc}/cinder/python',
                                 'PATH': f'{cfg.venv}/bin:'
                                         f'{ui.clean_env()["PATH"]}'}),
        # For [serial_console] enabled, which `reconfigure` can set.
        Program('nova-serialproxy', (cfg.venv_bin('nova-serialproxy'),
                                     *nova_conf),
                OPTIONAL, port(6083), user=control),
        *nodeservices.programs(first),
        agent('neutron-dhcp-agent', 'dhcp_agent.ini'),
        agent('neutron-l3-agent', 'l3_agent.ini'),
        agent('neutron-metadata-agent', 'metadata_agent.ini'),
        *nodeservices.between(cfg),
        *(program for node in nodes.every(cfg)[1:]
          for program in nodeservices.programs(node)),
    )
