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
"""How two compute hosts move servers between them.

Files go by ssh, as user nova, to a daemon for this purpose alone. For live
migration the source's libvirtd connects to the target's by TLS with
certificates of both: guests and other users of this machine reach its
addresses, too.
"""

import json
import os
import pathlib

from aiolib import host
from aiolib import nodes
from aiolib import settings as settings_mod
from aiolib import ui

SSH_PORT = 10022
SSH_CONFIG = pathlib.Path('/etc/ssh/ssh_config.d/containervm-aio.conf')
_NEW_KEY = ('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
            'ec_paramgen_curve:prime256v1', '-nodes', '-days', '3650')
_HOST_USES = ('basicConstraints=critical,CA:FALSE',
              # libvirt wants the second for RSA's sake.
              'keyUsage=critical,digitalSignature,keyEncipherment',
              'extendedKeyUsage=serverAuth,clientAuth')


def packages(cfg):
    """Return the Debian packages that this needs."""
    return () if cfg.computes == 1 else ('openssh-server', 'openssl')


def prepare(cfg, record):
    """Make keys and certificates, and let nova log in."""
    if cfg.computes == 1:
        return
    _ssh_keys(cfg)
    for node in nodes.every(cfg):
        _certificates(node)
        path = node.etc / 'sshd' / 'sshd_config'
        host.make_dir(path.parent)
        host.write(path, sshd_conf(node), 0o600)
    # sshd wants this directory; the second host has its own.
    host.make_dir(pathlib.Path('/run/sshd'))
    host.open_account(settings_mod.NOVA_USER, record)
    record.write_file(SSH_CONFIG, ssh_conf(cfg), 0o644)


def _ssh(cfg):
    return cfg.state / 'ssh'


def _ssh_keys(cfg):
    directory = _ssh(cfg)
    host.make_dir(directory)
    nova = host.ids(settings_mod.NOVA_USER)
    names = ['nova', *(f'host-{n.number}' for n in nodes.every(cfg))]
    for name in names:
        if not (directory / name).exists():
            ui.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', name,
                    '-f', directory / name])
    os.chown(directory / 'nova', *nova)
    public = {name: ' '.join((directory / f'{name}.pub').read_text()
                             .split()[:2]) for name in names}
    host.write(directory / 'authorized_keys', public['nova'] + '\n')
    host.write(directory / 'known_hosts', ''.join(
        f'[{n.address}]:{SSH_PORT} {public[f"host-{n.number}"]}\n'
        for n in nodes.every(cfg)))


def sshd_conf(node):
    directory = _ssh(node.cfg)
    return '\n'.join((
        '# Written by tools/aio.',
        f'ListenAddress {node.address}:{SSH_PORT}',
        f'HostKey {directory}/host-{node.number}',
        f'AuthorizedKeysFile {directory}/authorized_keys',
        f'AllowUsers {settings_mod.NOVA_USER}',
        'AuthenticationMethods publickey',
        'UsePAM no',
        'DisableForwarding yes',
        'PermitTTY no',
        'PidFile none',
        'Subsystem sftp internal-sftp')) + '\n'


def ssh_conf(cfg):
    """How user nova gets to the other host: a file below /etc/ssh."""
    directory = _ssh(cfg)
    addresses = ','.join(n.address for n in nodes.every(cfg))
    return '\n'.join((
        '# Written by tools/aio; removed by tools/aio down --wipe.',
        f'Match localuser {settings_mod.NOVA_USER} host {addresses}',
        f'    Port {SSH_PORT}',
        f'    IdentityFile {directory}/nova',
        '    IdentitiesOnly yes',
        f'    UserKnownHostsFile {directory}/known_hosts',
        '    StrictHostKeyChecking yes')) + '\n'


def _pki(node):
    """Directory of a host's certificates, with the names that libvirt wants.

    They are those of clients; it serves with the same ones.
    """
    return node.cfg.state / 'pki' / node.name


def _certificates(node):
    directory = _pki(node)
    authority = directory.parent / 'authority'
    for path in (directory.parent, authority, directory):
        host.make_dir(path, 0o700)
    if not (authority / 'cert.pem').exists():
        ui.run([*_NEW_KEY, '-keyout', authority / 'key.pem',
                '-out', authority / 'cert.pem', '-subj', '/CN=tools-aio',
                '-addext', 'keyUsage=critical,keyCertSign'])
    # The address may be another than the last time.
    stamp = directory / 'made'
    key = json.dumps([node.name, node.address, *_HOST_USES])
    if stamp.exists() and stamp.read_text() == key:
        return
    more = (f'subjectAltName=IP:{node.address}', *_HOST_USES)
    ui.run([*_NEW_KEY, '-CA', authority / 'cert.pem',
            '-CAkey', authority / 'key.pem',
            '-keyout', directory / 'clientkey.pem',
            '-out', directory / 'clientcert.pem', '-subj', f'/CN={node.name}',
            *(word for text in more for word in ('-addext', text))])
    host.write(directory / 'cacert.pem', (authority / 'cert.pem').read_text())
    host.write(stamp, key)


def libvirtd_conf(node):
    """What libvirtd.conf has more; '' for a single host."""
    if node.cfg.computes == 1:
        return ''
    directory = _pki(node)
    lines = [f'listen_addr = "{node.address}"',
             'listen_tls = 1',
             'listen_tcp = 0',
             f'ca_file = "{directory}/cacert.pem"',
             f'cert_file = "{directory}/clientcert.pem"',
             f'key_file = "{directory}/clientkey.pem"',
             # Both are on one machine, whose firmware's UUID it would be.
             f'host_uuid = "{host_uuid(node)}"']
    return '\n'.join(lines) + '\n'


def host_uuid(node):
    """Return a UUID that this host keeps."""
    path = _pki(node).parent / f'{node.name}.uuid'
    if not path.exists():
        path.write_text(
            pathlib.Path('/proc/sys/kernel/random/uuid').read_text())
    return path.read_text().strip()


def nova_options(node):
    """What nova-compute.conf has more, by group; {} for a single host."""
    if node.cfg.computes == 1:
        return {}
    groups = {
        'DEFAULT': {'my_ip': node.address},
        'libvirt': {
            'live_migration_inbound_addr': node.address,
            # Only here one can name the directory of the certificates.
            'live_migration_uri':
                f'qemu+tls://%s/system?pkipath={_pki(node)}'},
        # With the userspace datapath nobody makes the port's device before
        # libvirt does, so Neutron cannot report it before the migration.
        'compute': {'live_migration_wait_for_vif_plug': False},
    }
    if not node.first:
        groups['serial_console'] = {'proxyclient_address': node.address}
    return groups
