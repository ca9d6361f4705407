#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


"""What servers leave on a host. After each test it must be as before."""

import os
import pathlib
import pwd
import re
import subprocess
import time
import typing
import xml.etree.ElementTree as etree

from tests.e2e import aio

LIBVIRT_URI = 'qemu:///system'

# Network namespaces and ports of networks that outlive a server: DHCP.
_NETWORK_OWNED = re.compile(r'^(qdhcp|qrouter|snat|fip|ovnmeta)-')


def _run(*command):
    return subprocess.run(command, check=True, capture_output=True,
                          text=True).stdout


class NovaCompute(typing.NamedTuple):
    """The running nova-compute.

    :param directory: that it is run from
    :param settings: the arguments that name its configuration
    """

    pid: int
    uid: int
    directory: str
    settings: list


def nova_compute(network=None):
    """Find it.

    :param network: the network namespace of its host, which no two hosts
        share; None: this machine's
    """
    network = network or os.readlink('/proc/self/ns/net')
    for entry in pathlib.Path('/proc').iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / 'cmdline').read_bytes().decode().split('\0')
            uid = entry.stat().st_uid
            there = os.readlink(entry / 'ns' / 'net') == network
        except OSError:
            continue
        names = [os.path.basename(word) for word in words[:2]]
        if there and 'nova-compute' in names:
            at = names.index('nova-compute')
            return NovaCompute(
                int(entry.name), uid, os.path.dirname(words[at]),
                [word for word in words[at + 1:] if word])
    raise AssertionError('nova-compute does not run')


class Host:
    """A compute host, seen by what servers add to it.

    :param instances: nova-compute's instances_path
    :param name: of a second compute host; None: this machine
    :param files: where the second host's instances are on this machine
    """

    def __init__(self, instances, name=None, files=None):
        self.name = name
        self.path = pathlib.Path(instances)
        self.instances = pathlib.Path(files or instances)
        self.store = self.instances / '_base' / 'containervm'

    def state(self):
        """Everything that a deleted server must not leave, by kind."""
        return {
            'domains': self.domains(),
            'mounts': self.mounts(),
            'directories': self.directories(),
            'processes': self.processes(),
            'taps': self.taps(),
            'ports': self.switch_ports(),
            'staging': self.staging(),
            'volumes': self.volumes(),
        }

    def run(self, *command):
        """Run a command there; return its output."""
        if self.name:
            command = (aio.COMMAND, 'on', self.name, *command)
        return _run(*command)

    def nova_compute(self):
        """The nova-compute that runs there."""
        return nova_compute(self._network())

    def _network(self):
        return self.run('readlink', '/proc/self/ns/net').strip()

    def domains(self):
        return set(self.run('virsh', '-c', LIBVIRT_URI, 'list', '--all',
                            '--name').split())

    @staticmethod
    def as_nova(name, *arguments):
        """Run a tool of ours as nova-compute's user, with its settings.

        :param name: a program beside nova-compute
        """
        _pid, uid, directory, settings = nova_compute()
        user = pwd.getpwuid(uid)
        return subprocess.run(
            [os.path.join(directory, name), *settings, *arguments],
            user=uid, group=user.pw_gid, extra_groups=os.getgrouplist(
                user.pw_name, user.pw_gid),
            capture_output=True, text=True, timeout=120, cwd='/')

    def mounts(self):
        points = [line.split(' ')[4] for line in
                  self.run('cat', '/proc/self/mountinfo').splitlines()]
        top = str(self.path.resolve())
        return {p for p in points if p.startswith(top + '/')}

    def directories(self):
        """Those of servers, and what snapshots work in."""
        found = {p.name for p in self.instances.iterdir()
                 if p.name not in ('_base', 'locks', 'compute_nodes',
                                   'snapshots')}
        # Nova keeps the directory itself.
        return found | {'snapshots/' + p.name for p in
                        (self.instances / 'snapshots').glob('*')}

    def processes(self):
        """QEMUs of our servers, and helpers."""
        found = set()
        top = os.fsencode(self.path.resolve())
        network = self._network()
        for entry in pathlib.Path('/proc').iterdir():
            if not entry.name.isdigit():
                continue
            try:
                line = (entry / 'cmdline').read_bytes()
                # Hosts have the same paths, but each its own network.
                if top not in line or \
                        os.readlink(entry / 'ns' / 'net') != network:
                    continue
            except OSError:
                continue
            name = os.path.basename(line.split(b'\0')[0]).decode()
            # A QEMU by its server, for that may start again
            server = re.search(rb'guest=([^,\0]+)', line)
            found.add('%s %s' % (name, server[1].decode() if server
                                 else entry.name))
        return found

    def taps(self):
        return {link for link in self.run('ls', '/sys/class/net').split()
                if link.startswith(('tap', 'qvo', 'qvb', 'vnet'))}

    def switch_ports(self):
        return {p for p in self.run('ovs-vsctl', 'list-ports',
                                    'br-int').split()
                if p.startswith(('tap', 'qvo', 'vhu'))}

    def staging(self):
        """Halves of images in the store."""
        found = set()
        if self.store.is_dir():
            for path in self.store.glob('*/tmp/*'):
                found.add(str(path.relative_to(self.store)))
            for path in self.store.rglob('*.part'):
                found.add(str(path.relative_to(self.store)))
        return found

    def volumes(self):
        """Files, links and loop devices of volumes."""
        directory = self.instances.parents[1] / 'cinder' / 'volumes'
        found = {p.name for p in directory.glob('*')}
        for path in pathlib.Path('/sys/block').glob('loop*/loop/backing_file'):
            try:
                backing = path.read_text().strip()
            except OSError:
                continue
            if backing.startswith('%s/' % directory.resolve()):
                found.add('%s of %s' % (path.parts[3], backing))
        return found

    def assert_as_before(self, before, timeout=60):
        """Wait until nothing is left, and fail with what is."""
        deadline = time.monotonic() + timeout
        while True:
            now = self.state()
            left = {kind: sorted(now[kind] - before[kind])
                    for kind in now if now[kind] - before[kind]}
            if not left:
                return
            if time.monotonic() > deadline:
                raise AssertionError('left on the host: %s' % left)
            time.sleep(0.5)

    def rootfs(self, uuid):
        """What a share of a server's root filesystem exports."""
        return self.instances / uuid / 'rootfs'

    @staticmethod
    def transport(uuid):
        """How a running server's root filesystem reaches it."""
        domain = etree.fromstring(_run('virsh', '-c', LIBVIRT_URI, 'dumpxml',
                                       uuid))
        share = domain.find('devices/filesystem')
        if share is not None:
            driver = share.find('driver')
            virtiofs = driver is not None and driver.get('type') == 'virtiofs'
            return 'virtiofs' if virtiofs else '9p'
        assert domain.find('devices/disk/shareable') is not None
        return 'block'

    def disk_use(self, path):
        """Bytes that files take below a path, without what is mounted."""
        # What has not been written to a disk has no blocks yet, and what a
        # server writes to its loop device may not even be in the file.
        os.sync()
        return 1024 * int(_run('du', '-skx', str(path)).split()[0])

    def disk_files(self, uuid):
        """The qcow2 disks of a server."""
        return [p for p in (self.instances / uuid).glob('disk*')
                if p.name in ('disk', 'disk.local', 'disk.swap')
                or p.name.startswith('disk.eph')]

    @staticmethod
    def check_disk(path):
        """``qemu-img check``: a disk without errors or leaks."""
        subprocess.run(['qemu-img', 'check', '-q', '-U', str(path)],
                       check=True)
