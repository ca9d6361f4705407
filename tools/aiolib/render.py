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
"""Configuration files of everything but the supervisor."""

from aiolib import host
from aiolib import migration
from aiolib import nodes
from aiolib import settings as settings_mod

AUTH_URL = 'http://127.0.0.1:5000/v3'
DATABASES = ('keystone', 'glance', 'placement', 'nova_api', 'nova_cell0',
             'nova_cell1', 'neutron', 'cinder')
UWSGI = {  # name: (port, module)
    'keystone': (5000, 'keystone.wsgi.api'),
    'glance': (9292, 'glance.wsgi.api'),
    'placement': (8778, 'placement.wsgi.api'),
    'neutron-api': (9696, 'neutron.wsgi.api'),
    'nova-api': (8774, 'nova.wsgi.osapi_compute'),
    'nova-metadata': (8775, 'nova.wsgi.metadata'),
    'cinder-api': (8776, 'cinder.wsgi.api'),
}


# Nova's default, and ours
_NOVAS_FILTERS = ('ComputeFilter', 'ComputeCapabilitiesFilter',
                  'ImagePropertiesFilter', 'ServerGroupAntiAffinityFilter',
                  'ServerGroupAffinityFilter')
_FILTER = 'nova_containervm.scheduler.ContainerVMFilter'
ENABLED_FILTERS = (*_NOVAS_FILTERS, _FILTER.rpartition('.')[2])


def ini(groups, author='tools/aio'):
    """Render {group: {option: value}}."""
    lines = [f'# Written by {author}.']
    for group, options in groups.items():
        lines.append(f'[{group}]')
        for option, value in options.items():
            if isinstance(value, bool):
                value = str(value).lower()
            # An option that may be there several times
            for one in value if isinstance(value, list) else [value]:
                lines.append(f'{option} = {one}')
    return '\n'.join(lines) + '\n'


def service_login():
    """How the services log in to each other."""
    return {
        'auth_url': AUTH_URL,
        'auth_type': 'password',
        'project_domain_id': 'default',
        'user_domain_id': 'default',
        'project_name': 'service',
        'username': 'service',
        'password': settings_mod.PASSWORD,
        'region_name': settings_mod.REGION,
    }


def keystone_authtoken():
    login = service_login()
    del login['region_name']
    return {**login, 'www_authenticate_uri': AUTH_URL,
            'service_token_roles': 'service',
            'service_token_roles_required': True}


def database(cfg, name):
    return {'connection': cfg.database_url(name), 'max_pool_size': 10}


def keystone(cfg):
    return ini({
        'DEFAULT': {'use_stderr': True},
        'database': database(cfg, 'keystone'),
        'token': {'provider': 'fernet', 'expiration': 86400},
        'fernet_tokens': {'key_repository': f'{cfg.state}/keystone/fernet'},
        'fernet_receipts': {'key_repository': f'{cfg.state}/keystone/fernet'},
        'credential': {'key_repository': f'{cfg.state}/keystone/credential'},
        # The password is no secret: do not spend a second on each login.
        'identity': {'password_hash_rounds': 4},
        'cache': {'enabled': True, 'backend': 'dogpile.cache.memory'},
    })


def glance(cfg):
    return ini({
        'DEFAULT': {'use_stderr': True, 'enabled_backends': 'fs:file'},
        'database': database(cfg, 'glance'),
        'glance_store': {'default_backend': 'fs'},
        'fs': {'filesystem_store_datadir': f'{cfg.state}/glance/images'},
        'os_glance_staging_store': {
            'filesystem_store_datadir': f'{cfg.state}/glance/staging'},
        'os_glance_tasks_store': {
            'filesystem_store_datadir': f'{cfg.state}/glance/tasks'},
        'paste_deploy': {
            'flavor': 'keystone',
            'config_file': f'{cfg.venv}/etc/glance/glance-api-paste.ini'},
        'oslo_concurrency': {'lock_path': f'{cfg.state}/glance/lock'},
        'keystone_authtoken': keystone_authtoken(),
    })


def placement(cfg):
    return ini({
        'DEFAULT': {'use_stderr': True},
        'api': {'auth_strategy': 'keystone'},
        'placement_database': database(cfg, 'placement'),
        'keystone_authtoken': keystone_authtoken(),
    })


def nova(cfg):
    """nova.conf, of every Nova service."""
    return ini({
        'DEFAULT': {
            'use_stderr': True,
            'state_path': f'{cfg.state}/control',
            'transport_url': 'rabbit://guest:guest@127.0.0.1:5672/',
            'my_ip': '127.0.0.1',
            # Nova's default; one host alone could not resize then.
            'allow_resize_to_same_host': cfg.computes == 1,
        },
        'wsgi': {'api_paste_config': f'{cfg.venv}/etc/nova/api-paste.ini'},
        'database': database(cfg, 'nova_cell1'),
        'api_database': database(cfg, 'nova_api'),
        'conductor': {'workers': 1},
        'scheduler': {'workers': 1,
                      # `up` registers the host itself; this is for others.
                      'discover_hosts_in_cells_interval': 60},
        'filter_scheduler': {
            'available_filters': ['nova.scheduler.filters.all_filters',
                                  _FILTER],
            'enabled_filters': ','.join(ENABLED_FILTERS),
        },
        'quota': {'instances': -1, 'cores': -1, 'ram': -1},
        'vnc': {'enabled': False},
        'spice': {'enabled': False},
        'oslo_concurrency': {'lock_path': f'{cfg.state}/control/nova-lock'},
        'keystone_authtoken': keystone_authtoken(),
        'placement': service_login(),
        'glance': service_login(),
        'cinder': service_login(),
        'service_user': {**service_login(), 'send_service_user_token': True},
        'neutron': {**service_login(), 'service_metadata_proxy': True,
                    'metadata_proxy_shared_secret': settings_mod.PASSWORD},
    })


def nova_compute(node, driver, virt_type, without=()):
    """nova-compute.conf: the settings of a compute host.

    :param driver: value of compute_driver
    :param virt_type: kvm or qemu
    :param without: (group, option) to leave out
    """
    cfg = node.cfg
    groups = {
        'DEFAULT': {
            'compute_driver': driver,
            'debug': True,
            'state_path': f'{cfg.state}/nova',
            'instances_path': str(cfg.instances),
            'cpu_allocation_ratio': 16.0,
            # Restarts are frequent here: do not wait minutes for tasks.
            'graceful_shutdown_timeout': 45,
            'manager_shutdown_timeout': 25,
        },
        'libvirt': {'virt_type': virt_type},
        # privsep through plain sudo: /etc/sudoers.d/containervm-aio allows
        # that one program.
        'workarounds': {'disable_rootwrap': True},
        'oslo_concurrency': {'lock_path': f'{cfg.state}/nova/lock'},
    }
    if virt_type == 'qemu':
        groups['libvirt']['cpu_mode'] = 'none'
    if driver == 'containervm.ContainerVMDriver':
        groups['libvirt'].update(
            sub_virt_type='container',
            base_vm_image=f'{cfg.base}/minimal/base.qcow2')
        groups['containervm'] = {'mkfs_erofs_cmd': str(cfg.mkfs_erofs)}
    for group, options in migration.nova_options(node).items():
        groups.setdefault(group, {}).update(options)
    for group, option in without:
        groups.get(group, {}).pop(option, None)
    return ini(groups)


def neutron(cfg):
    """neutron.conf, of the server and the agents."""
    return ini({
        'DEFAULT': {
            'use_stderr': True,
            'state_path': f'{cfg.state}/neutron',
            'transport_url': 'rabbit://guest:guest@127.0.0.1:5672/',
            # dnsmasq keeps an address from a new server as long as one that
            # is deleted has a lease of it. The agent releases leases; this
            # is for those that it misses.
            'dhcp_lease_duration': 120,
            'core_plugin': 'ml2',
            # segments: it has ports without an address (ip_allocation).
            'service_plugins': 'router,segments',
            'rpc_workers': 1,
            'rpc_state_report_workers': 0,
            'api_paste_config': f'{cfg.venv}/etc/neutron/api-paste.ini',
        },
        'database': database(cfg, 'neutron'),
        'oslo_concurrency': {
            'lock_path': f'{cfg.state}/control/neutron-lock'},
        # The agents run as root already; `env` finds privsep-helper in the
        # PATH that the supervisor gives them, which sudo would not.
        # An agent whose first report finds no server yet tries again soon.
        'agent': {'root_helper': 'env', 'report_interval': 10},
        'keystone_authtoken': keystone_authtoken(),
        'nova': service_login(),
        'placement': service_login(),
    })


def ml2(cfg):
    return ini({
        # VLAN, not VXLAN: the userspace datapath of this Open vSwitch drops
        # TCP on its way into a tunnel ("Tunneling packets with HW offload
        # flags is not supported"), so that it would not reach a second host.
        'ml2': {'type_drivers': 'flat,vlan,vxlan,local',
                'project_network_types': 'vlan',
                'mechanism_drivers': 'openvswitch',
                'extension_drivers': 'port_security'},
        'ml2_type_flat': {'flat_networks': 'public'},
        'ml2_type_vlan': {'network_vlan_ranges': 'public:100:999'},
        'ml2_type_vxlan': {'vni_ranges': '1:1000'},
        'securitygroup': {'enable_ipset': False,
                          'firewall_driver': 'openvswitch'},
    })


def neutron_agent(node, name):
    """Configuration of one of the four agents (file name)."""
    cfg = node.cfg
    # The kernel may lack the openvswitch module; the userspace datapath
    # works everywhere.
    ovs = {'datapath_type': 'netdev',
           'ovsdb_connection': 'tcp:127.0.0.1:6640'}
    lock = {'lock_path': f'{cfg.state}/neutron/lock'}
    return ini({
        'openvswitch_agent.ini': {
            'ovs': {**ovs, 'bridge_mappings': 'public:br-ex',
                    'local_ip': node.address},
            'agent': {'tunnel_types': 'vxlan'},
            'securitygroup': {'firewall_driver': 'openvswitch'},
            'oslo_concurrency': lock,
        },
        'dhcp_agent.ini': {
            'DEFAULT': {'interface_driver': 'openvswitch',
                        'enable_isolated_metadata': True,
                        'force_metadata': True},
            'ovs': ovs,
            'oslo_concurrency': lock,
        },
        'l3_agent.ini': {
            'DEFAULT': {'interface_driver': 'openvswitch',
                        'agent_mode': 'legacy'},
            'ovs': ovs,
            'oslo_concurrency': lock,
        },
        'metadata_agent.ini': {
            'DEFAULT': {'nova_metadata_host': '127.0.0.1',
                        'metadata_proxy_shared_secret': settings_mod.PASSWORD,
                        'metadata_workers': 0},
            'oslo_concurrency': lock,
        },
    }[name])


def uwsgi(cfg, name):
    port, module = UWSGI[name]
    more = {}
    if name == 'cinder-api':
        # It looks for its configuration nowhere else.
        more = {'pyargv': f'--config-file {cfg.etc}/cinder/cinder.conf'}
    return ini({'uwsgi': {
        'http-socket': f'127.0.0.1:{port}',
        'module': f'{module}:application',
        **more,
        'virtualenv': cfg.venv,
        'master': True,
        'processes': 1,
        'threads': 8,
        'enable-threads': True,
        'lazy-apps': True,
        'need-app': True,
        'die-on-term': True,
        'thunder-lock': True,
        'buffer-size': 65535,
        # uwsgi closes anyway; a client that is not told gets "Connection
        # reset by peer" on its next POST.
        'add-header': 'Connection: close',
        'http-auto-chunked': True,
        'http-chunked-input': True,
        # Clients of Glance send an image in chunks of 1 MiB, and a busy host
        # may pause for longer than 4 s: uwsgi takes neither otherwise.
        'chunked-input-limit': 8 << 20,
        'chunked-input-timeout': 120,
    }})


def mariadb(cfg):
    return ini({'mariadbd': {
        'datadir': f'{cfg.state}/mariadb',
        'socket': f'{cfg.run}/mariadb/socket',
        'pid-file': f'{cfg.run}/mariadb/pid',
        'skip-networking': 1,
        'skip-log-bin': 1,
        'max-connections': 500,
        'character-set-server': 'utf8mb3',
        'innodb-buffer-pool-size': '192M',
        # Nobody needs this data after a power failure.
        'innodb-flush-log-at-trx-commit': 0,
        'innodb-doublewrite': 0,
        'innodb-flush-method': 'nosync',
    }})


def libvirtd(node):
    return ('# Written by tools/aio.\n'
            'unix_sock_group = "libvirt"\n'
            'unix_sock_ro_perms = "0770"\n'
            'unix_sock_rw_perms = "0770"\n'
            'auth_unix_ro = "none"\n'
            'auth_unix_rw = "none"\n'
            # Into our log, not into the journal of systemd.
            'log_outputs = "3:stderr"\n' + migration.libvirtd_conf(node))


def qemu_conf(user):
    """/etc/libvirt/qemu.conf.

    :param user: that QEMU runs as; libvirt-qemu is Debian's default
    """
    lines = [
        '# Written by tools/aio; `tools/aio down --wipe` restores the '
        'original.',
        '# Hosts without cgroup controllers that libvirt could use:',
        'cgroup_controllers = []',
        'namespaces = []',
        '# AppArmor\'s profiles know nothing of the directory of this cloud.',
        'security_driver = "none"',
        'stdio_handler = "logd"',
    ]
    if user == 'root':
        lines += ['user = "root"', 'group = "root"']
    else:
        lines += ['user = "libvirt-qemu"', 'group = "libvirt-qemu"']
    return '\n'.join(lines) + '\n'


def sudoers(cfg):
    """Let the services start what does privileged work for them.

    For nova that is the venv's privsep daemon, for cinder-volume its rootwrap,
    and nothing else.
    """
    text = '# Written by tools/aio; removed by tools/aio down --wipe.\n'
    for user, command in (
            (settings_mod.NOVA_USER, 'privsep-helper *'),
            (settings_mod.CONTROL_USER,
             f'cinder-rootwrap {cfg.etc}/cinder/rootwrap.conf *')):
        text += (f'Defaults:{user} secure_path="{cfg.venv}/bin:'
                 '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:'
                 '/bin", !requiretty\n'
                 f'{user} ALL=(root) NOPASSWD: {cfg.venv}/bin/{command}\n')
    return text


def clouds_yaml(cfg):
    text = '# Written by tools/aio.\nclouds:\n'
    for cloud, user, project in (('aio', 'admin', 'admin'),
                                 ('aio-demo', 'demo', 'demo')):
        text += (f'  {cloud}:\n'
                 '    auth:\n'
                 f'      auth_url: {AUTH_URL}\n'
                 f'      username: {user}\n'
                 f'      password: {settings_mod.PASSWORD}\n'
                 f'      project_name: {project}\n'
                 '      user_domain_id: default\n'
                 '      project_domain_id: default\n'
                 f'    region_name: {settings_mod.REGION}\n'
                 '    identity_api_version: 3\n')
    return text


def write_all(cfg, driver, virt_type):
    """Write every file below etc/."""
    control = host.ids(settings_mod.CONTROL_USER)[1]
    files = {
        'mariadb/my.cnf': mariadb(cfg),
        'rabbitmq/rabbitmq.conf': 'listeners.tcp.default = 5672\n'
                                  'log.console = true\n'
                                  'log.console.level = warning\n'
                                  'vm_memory_high_watermark.absolute = 1GB\n',
        'keystone/keystone.conf': keystone(cfg),
        'glance/glance-api.conf': glance(cfg),
        'placement/placement.conf': placement(cfg),
        'nova/nova.conf': nova(cfg),
        'neutron/neutron.conf': neutron(cfg),
        'neutron/ml2_conf.ini': ml2(cfg),
    }
    for name in ('dhcp_agent.ini', 'l3_agent.ini', 'metadata_agent.ini'):
        files[f'neutron/{name}'] = neutron_agent(nodes.first(cfg), name)
    for name in UWSGI:
        files[f'uwsgi/{name}.ini'] = uwsgi(cfg, name)
    for node in nodes.every(cfg):
        agent = 'openvswitch_agent.ini'
        files[node.etc / 'neutron' / agent] = neutron_agent(node, agent)
        files[node.etc / 'libvirt' / 'libvirtd.conf'] = libvirtd(node)
        files[node.nova_conf] = nova_compute(node, driver, virt_type)
        host.make_dir(node.nova_override)
    for name, text in files.items():
        path = cfg.etc / name
        host.make_dir(path.parent)
        # Passwords, if well-known ones: not for every user of the host.
        host.write(path, text, 0o640, (0, control))
    host.write(cfg.etc / 'clouds.yaml', clouds_yaml(cfg), 0o600)
