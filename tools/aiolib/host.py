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
"""What the all-in-one changes on the host outside its directory.

Every change is recorded in ``host.json`` before it is made, so that `restore`
can put the host back: files below /etc, system users, systemd units.
"""

import grp
import json
import os
import pathlib
import pwd
import shutil
import socket
import stat
import subprocess

from aiolib import settings as settings_mod
from aiolib import ui

SUDOERS = pathlib.Path('/etc/sudoers.d/containervm-aio')
# Where another checkout finds out that this one is running.
RUNNING = pathlib.Path('/run/containervm-aio.json')

# TCP ports on 127.0.0.1; neutron and nova default to these numbers.
PORTS = {
    4379: 'epmd', 5000: 'keystone', 5672: 'rabbitmq', 6640: 'ovsdb',
    8774: 'nova-api', 8775: 'nova-metadata', 8776: 'cinder',
    8778: 'placement', 9292: 'glance', 9696: 'neutron-api', 25672: 'rabbitmq',
}


class Record:
    """The list of changes to the host, in a file."""

    def __init__(self, cfg):
        self.path = cfg.dir / 'host.json'
        self.data = {'files': {}, 'users': [], 'packages': []}
        if self.path.exists():
            self.data.update(json.loads(self.path.read_text()))

    def save(self):
        new = self.path.with_suffix('.new')
        new.write_text(json.dumps(self.data, indent=1) + '\n')
        new.replace(self.path)

    def write_file(self, path, text, mode):
        """Write a file below /etc, keeping what was there for `restore`.

        :returns: whether the file changed
        """
        key = str(path)
        if key not in self.data['files']:
            before = path.read_text() if path.exists() else None
            old_mode = path.stat().st_mode & 0o7777 if path.exists() else None
            self.data['files'][key] = {'text': before, 'mode': old_mode}
            self.save()
        if path.exists() and path.read_text() == text:
            return False
        write(path, text, mode)
        return True

    def restore_files(self):
        for key, before in self.data['files'].items():
            path = pathlib.Path(key)
            if before['text'] is None:
                path.unlink(missing_ok=True)
            elif path.parent.is_dir():
                write(path, before['text'], before['mode'])
        self.data['files'] = {}
        self.save()


def write(path, text, mode=0o644, owner=None):
    """Write a file in one step (never half a sudoers file).

    :param owner: (uid, gid) or None for root
    """
    # A name with a dot: sudo and others ignore such files in .d directories.
    new = path.with_name(f'{path.name}.aio-new')
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, 'w') as f:
        f.write(text)
    os.chmod(new, mode)
    if owner:
        os.chown(new, *owner)
    new.replace(path)


def preflight(cfg, ours_running):
    """Refuse hosts where this cannot work.

    :param ours_running: whether our own services are running already
    """
    if os.geteuid() != 0:
        raise ui.Failure('the all-in-one needs root',
                         'Run it as root, for instance: sudo tools/aio up')
    if not shutil.which('apt-get'):
        raise ui.Failure('this is no Debian: there is no apt-get',
                         'Use Debian 12 or 13.')
    if ours_running:
        return
    other = running_elsewhere(cfg)
    if other:
        raise ui.Failure(
            f'another all-in-one is running, of {other["checkout"]}',
            f'Stop it first: {other["checkout"]}/tools/aio down')
    for name, pattern in (('libvirtd', 'libvirtd'),
                          ('virtqemud', 'virtqemud'),
                          ('Open vSwitch', 'ovs-vswitchd')):
        pids = pids_of(pattern)
        if pids:
            raise ui.Failure(
                f'this host runs its own {name} ({pattern}, pid {pids[0]})',
                'The all-in-one brings its own and cannot share the host '
                'with it. Use a host (or a virtual machine) of its own, or '
                'stop that one: systemctl stop libvirtd.service '
                'libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket '
                'openvswitch-switch.service')
    for port, name in PORTS.items():
        if port_open(port):
            raise ui.Failure(
                f'port 127.0.0.1:{port} of {name} is already in use',
                f'See which program it is with: ss -ltnp sport = :{port} ; '
                'stop it.')
    free = shutil.disk_usage(cfg.dir).free / 1e9
    # 1.5 GB of packages and venv, databases, base VM image; the rest is for
    # images and servers.
    if free < 6:
        raise ui.Failure(f'only {free:.1f} GB are free in {cfg.dir}',
                         'At least 6 GB are needed. Make room, or set AIO_DIR '
                         'to a directory on another disk.')
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9
    if memory < 6:
        ui.note(f'NOTE: this host has {memory:.1f} GB of memory; the services '
                'take 4 GB, and the servers come on top.')
    if not os.path.exists('/dev/net/tun'):
        raise ui.Failure('/dev/net/tun is missing',
                         'Open vSwitch needs it: modprobe tun')


def pids_of(comm):
    """Return the pids of this host's processes with this name.

    Those in a container of the host have a pid namespace of their own.
    """
    ours = os.readlink('/proc/self/ns/pid')
    found = []
    for entry in pathlib.Path('/proc').iterdir():
        if entry.name.isdigit():
            try:
                if ((entry / 'comm').read_text().strip() == comm[:15] and
                        os.readlink(entry / 'ns' / 'pid') == ours):
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


def port_open(port):
    with socket.socket() as s:
        s.settimeout(2)
        return s.connect_ex(('127.0.0.1', port)) == 0


def running_elsewhere(cfg):
    """Return the record of a running all-in-one that is not this one."""
    try:
        other = json.loads(RUNNING.read_text())
        os.kill(other['pid'], 0)
        with open(f'/proc/{other["pid"]}/cmdline') as f:
            if 'supervisord' not in f.read():
                return None
    except (OSError, ValueError, KeyError):
        return None
    return None if other['dir'] == str(cfg.dir) else other


def announce(cfg, pid):
    write(RUNNING, json.dumps({'dir': str(cfg.dir), 'pid': pid,
                               'checkout': str(cfg.checkout)}) + '\n')


def ensure_users(cfg, record):
    """Make the system users `nova` and the one of the control plane."""
    for name, home in ((settings_mod.NOVA_USER, '/var/lib/nova'),
                       (settings_mod.CONTROL_USER, '/nonexistent')):
        try:
            pwd.getpwnam(name)
        except KeyError:
            record.data['users'].append(name)
            record.save()
            ui.run(['useradd', '--system', '--user-group', '--no-create-home',
                    '--home-dir', home, '--shell', '/usr/sbin/nologin', name])
    for group in ('libvirt', 'kvm', settings_mod.CONTROL_USER):
        add_to_group(settings_mod.NOVA_USER, group, record)


def add_to_group(user, group, record):
    try:
        members = grp.getgrnam(group).gr_mem
    except KeyError:
        return
    if user not in members:
        if user not in record.data['users']:
            record.data.setdefault('memberships', []).append([user, group])
            record.save()
        ui.run(['usermod', '--append', '--groups', group, user])


def open_account(user, record):
    """Let sshd take a system user for one that can log in (by a key)."""
    shell = pwd.getpwnam(user).pw_shell
    password = ui.run(['getent', 'shadow', user]).split(':')[1]
    # sshd takes "!" for a locked account; "*" is no password either.
    wanted = ['/bin/sh', '*' if password.startswith('!') else password]
    if [shell, password] == wanted:
        return
    if user not in record.data['users']:
        record.data.setdefault('accounts', {}).setdefault(
            user, [shell, password])
        record.save()
    ui.run(['usermod', '--shell', wanted[0], '--password', wanted[1], user])


def open_kvm(record):
    """Give /dev/kvm the owner and mode that udev gives it.

    Without udev it may be root's alone. libvirtd then finds KVM as root and
    misses it as libvirt-qemu, and probes QEMU again for every domain.
    """
    path = pathlib.Path('/dev/kvm')
    # virt.hide_kvm() puts a file there.
    if not path.is_char_device():
        return
    state = path.stat()
    group = grp.getgrnam('kvm').gr_gid
    if state.st_gid != group or state.st_mode & 0o060 != 0o060:
        record.data.setdefault('devices', {})[str(path)] = [
            state.st_uid, state.st_gid, state.st_mode & 0o7777]
        record.save()
        os.chown(path, state.st_uid, group)
        path.chmod(0o660)


LOOP_CONTROL = pathlib.Path('/dev/loop-control')
LOOP_DEVICES = 64


def make_loop_devices(record):
    """Make the nodes of loop devices where nobody else does.

    A /dev that is no devtmpfs, as in a container, has none; volumes and the
    limits of writable shares need them.
    """
    number = pathlib.Path('/sys/class/misc/loop-control/dev')
    if LOOP_CONTROL.exists() or not number.exists():
        return
    major, minor = map(int, number.read_text().split(':'))
    nodes = {LOOP_CONTROL: (stat.S_IFCHR, major, minor)}
    for i in range(LOOP_DEVICES):
        # Its major number is the kernel's for good (devices.txt).
        nodes[pathlib.Path(f'/dev/loop{i}')] = (stat.S_IFBLK, 7, i)
    missing = {p: node for p, node in nodes.items() if not p.exists()}
    record.data.setdefault('nodes', []).extend(map(str, missing))
    record.save()
    for path, (kind, major, minor) in missing.items():
        os.mknod(path, kind | 0o600, os.makedev(major, minor))


def ids(user):
    """Return (uid, gid)."""
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def make_dir(path, mode=0o755, owner=(0, 0)):
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, *owner)
    path.chmod(mode)


def ensure_dirs(cfg):
    """Make the directories, each with the one owner that writes to it."""
    control = ids(settings_mod.CONTROL_USER)
    nova = ids(settings_mod.NOVA_USER)
    for path in (cfg.dir, cfg.etc, cfg.run, cfg.log, cfg.state, cfg.cache,
                 cfg.bin, cfg.base, cfg.images, cfg.state / 'ovs',
                 cfg.state / 'neutron'):
        make_dir(path)
    (cfg.dir / '.gitignore').write_text('*\n')
    for path in ('mariadb', 'rabbitmq', 'epmd', 'api'):
        make_dir(cfg.run / path, 0o750, control)
    for path in ('mariadb', 'rabbitmq', 'keystone', 'glance', 'placement',
                 'control'):
        make_dir(cfg.state / path, 0o750, control)
    make_dir(cfg.log / 'rabbitmq', 0o755, control)
    # QEMU finds the volumes there.
    make_dir(cfg.state / 'cinder', 0o755, control)
    make_dir(cfg.state / 'nova', 0o755, nova)
    make_dir(cfg.instances, 0o755, nova)


def systemd_running():
    return os.path.isdir('/run/systemd/system')


def packages_units(packages):
    """Return the systemd units that these packages brought."""
    units = []
    for package in packages:
        listing = subprocess.run(['dpkg-query', '--listfiles', package],
                                 capture_output=True, text=True, check=False)
        for line in listing.stdout.splitlines():
            if '/systemd/system/' in line and line.endswith(
                    ('.service', '.socket', '.timer')):
                name = line.rsplit('/', 1)[1]
                if '@' not in name:
                    units.append(name)
    return sorted(set(units))


def restore(cfg, record):
    """Undo everything that is on record. The services are stopped already."""
    # The drop-in goes first: it names a user that is about to go.
    record.restore_files()
    for path, (uid, gid, mode) in record.data.pop('devices', {}).items():
        if os.path.exists(path):
            os.chown(path, uid, gid)
            os.chmod(path, mode)
    for path in record.data.pop('nodes', []):
        pathlib.Path(path).unlink(missing_ok=True)
    for user, (shell, password) in record.data.pop('accounts', {}).items():
        ui.run(['usermod', '--shell', shell, '--password', password, user],
               check=False)
    for user, group in record.data.pop('memberships', []):
        ui.run(['gpasswd', '--delete', user, group], check=False)
    for user in list(record.data['users']):
        if user in (entry.pw_name for entry in pwd.getpwall()):
            ui.run(['userdel', user],
                   remedy='Stop its processes, then run this again.')
        record.data['users'].remove(user)
        record.save()
    record.save()
    RUNNING.unlink(missing_ok=True)
