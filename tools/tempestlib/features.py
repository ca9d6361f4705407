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
"""tempest.conf: where the cloud is, and what servers can do in it."""

import configparser
import dataclasses

from aiolib import nodeconfig
from aiolib import nodes
from aiolib import render
from aiolib import settings as settings_mod

OURS = 'containervm.ContainerVMDriver'
LIBVIRT = 'libvirt.LibvirtDriver'
DRIVERS = {'containervm': OURS, 'libvirt': LIBVIRT}
KINDS = ('container', 'plain')


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is tested.

    :param image: one of KINDS
    :param driver: value of compute_driver
    :param transport: how a container's files reach its machine
    :param computes: number of compute hosts
    :param serial_console: whether the cloud has serial consoles
    :param ssh: whether tempest logs in to its servers
    """

    image: str
    driver: str = OURS
    transport: str = '9p'
    computes: int = 1
    serial_console: bool = False
    ssh: bool = False

    @property
    def can_move_alive(self):
        """Whether QEMU can save and migrate the machine: not with a share."""
        return self.image == 'plain' or self.transport == 'block'

    @property
    def words(self):
        text = f'{self.image} image, {self.driver}'
        if self.image == 'container':
            text += f', {self.transport}'
        return text + (', with logins' if self.ssh else '')


def options(cfg):
    """Return the first host's settings of nova-compute.

    :returns: dict of (group, option) to value
    """
    node = nodes.first(cfg)
    parser = configparser.RawConfigParser(
        default_section='no such section', delimiters=('=',))
    parser.read(node.nova_conf)
    found = {(group, option): value for group in parser.sections()
             for option, value in parser[group].items()}
    config = nodeconfig.NodeConfig(node)
    for name in config.unset:
        found.pop(name, None)
    return {**found, **config.options}


def subject(cfg, image, ssh=False):
    """Return what a test would test as the cloud is now."""
    now = options(cfg)
    return Subject(
        image=image, driver=now['DEFAULT', 'compute_driver'],
        transport=now.get(('containervm', 'rootfs_transport'), '9p'),
        computes=cfg.computes,
        serial_console=now.get(('serial_console', 'enabled'), '') == 'true',
        ssh=ssh)


def compute_features(what):
    """Return the group [compute-feature-enabled].

    :param what: a Subject
    """
    container = what.image == 'container'
    several = what.computes > 1
    alive = what.can_move_alive
    return {
        # What differs between the kinds
        'suspend': alive,
        'rescue': not container,
        'stable_rescue': not container,
        'live_migration': several and alive,
        'block_migration_for_live_migration': several and alive,
        # What both can
        'resize': True,
        'snapshot': True,
        'shelve': True,
        'pause': True,
        'console_output': True,
        'interface_attach': True,
        'config_drive': True,
        'disk_config': True,
        'cold_migration': several,
        'shelve_migrate': several,
        'hostname_fqdn_sanitization': True,
        # What this cloud has not, for either
        'vnc_console': False,
        'spice_console': False,
        'serial_console': what.serial_console,
        'attach_encrypted_volume': False,
        'volume_multiattach': False,
        'swap_volume': False,
        'volume_backed_live_migration': False,
        # Nova has removed it, or libvirt wants an agent in the guest.
        'personality': False,
        'change_password': False,
        'scheduler_enabled_filters': ','.join(render.ENABLED_FILTERS),
    }


def tempest_conf(cfg, what, image, prepared, directory):
    """Render tempest.conf.

    :param what: a Subject
    :param image: description of the image's file, see cloud.image_files
    :param prepared: ids that scripts/cloud.py prints
    :param directory: for logs and locks
    """
    return render.ini({
        'DEFAULT': {'log_file': f'{directory}/tempest.log'},
        'oslo_concurrency': {'lock_path': f'{directory}/lock'},
        'auth': {
            'use_dynamic_credentials': True,
            # A network and a router for each class of tests is more load
            # than the servers. All take the shared one.
            'create_isolated_networks': False,
            'admin_username': 'admin',
            'admin_password': settings_mod.PASSWORD,
            'admin_project_name': 'admin',
            'admin_domain_name': 'Default',
        },
        'identity': {'uri_v3': render.AUTH_URL,
                     'region': settings_mod.REGION},
        'compute': {
            'image_ref': prepared['images'][0],
            'image_ref_alt': prepared['images'][1],
            'flavor_ref': prepared['flavors'][0],
            'flavor_ref_alt': prepared['flavors'][1],
            'fixed_network_name': 'private',
            'min_compute_nodes': what.computes,
            # Without one, tests of microversions are left out.
            'max_microversion': 'latest',
        },
        'placement': {'max_microversion': 'latest'},
        'compute-feature-enabled': compute_features(what),
        'image': {'build_timeout': 300},
        'network': {'public_network_id': prepared['public'],
                    'floating_network_name': 'public'},
        'validation': {
            # Only one of the images has an SSH server.
            'run_validation': what.ssh,
            'connect_method': 'floating',
            'image_ssh_user': 'root',
            'image_alt_ssh_user': 'root',
        },
        # The machine has its address from the host, by no DHCP client.
        'scenario': {'dhcp_client': '', 'img_file': image['file'],
                     'img_container_format': image['container_format'],
                     'img_disk_format': image['disk_format']},
        'volume': {'catalog_type': 'volumev3', 'volume_size': 1,
                   'storage_protocol': 'file'},
        # Of the driver of the all-in-one
        'volume-feature-enabled': {'snapshot': False, 'backup': False,
                                   'clone': False,
                                   'extend_volume_with_snapshot': False,
                                   'enable_volume_image_dep_tests': False},
        'service_available': {'cinder': True, 'glance': True, 'nova': True,
                              'neutron': True, 'swift': False,
                              'horizon': False},
    }, 'tools/tempest')
