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

"""The all-in-one OpenStack (tools/aio), as the figures use it."""

import configparser
import contextlib
import os
import pathlib
import re
import subprocess
import time
import uuid

import openstack
from openstack import exceptions

from bench import archive
from bench import container
from bench import program
from tests.e2e import host as host_lib

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
COMMAND = str(CHECKOUT / 'tools' / 'aio')


class Failed(Exception):
    """Something that a figure needs did not work."""


class Cloud:
    """The cloud, and its files on this host. Removes what it has made."""

    def __init__(self, flavor='c1.tiny', network='private'):
        text = subprocess.run([COMMAND, 'env'], check=True, text=True,
                              capture_output=True).stdout
        os.environ.update(re.findall(r'^export (\w+)=(\S+)$', text,
                                     re.MULTILINE))
        self.directory = pathlib.Path(
            os.environ['OS_CLIENT_CONFIG_FILE']).parent.parent
        self.sdk = openstack.connect()
        self.instances = self.directory / 'state' / 'nova' / 'instances'
        self.base = self.directory / 'base'
        self._flavor = self.sdk.compute.find_flavor(flavor).id
        self._network = self.sdk.network.find_network(network).id
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def hosts(self):
        """The compute hosts, the one on this machine first."""
        state = self.directory / 'state'
        others = int((state / 'computes').read_text()) - 1
        return [host_lib.Host(self.instances)] + [
            host_lib.Host(self.instances, path.name,
                          path / 'nova' / 'instances')
            for path in sorted((state / 'hosts').glob('*'))[:others]]

    def log_file(self, service):
        """Path of a service's log."""
        return self.directory / 'log' / f'{service}.log'

    def setting(self, group, name):
        """A setting of nova-compute, as text."""
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read(self.directory / 'etc' / 'nova' / 'nova-compute.conf')
        return parser.get(group, name)

    def docker_image(self, work):
        """Upload a docker image with nothing but the timed program."""
        path = archive.docker_archive(
            pathlib.Path(work) / 'image.tar', container.COMMAND,
            program.elf())
        return self.upload(path, 'docker', 'raw')

    def upload(self, path, container_format, disk_format, **properties):
        """Upload an image."""
        image = self.sdk.image.create_image(
            name='bench-' + uuid.uuid4().hex[:8], filename=str(path),
            container_format=container_format, disk_format=disk_format,
            wait=True, allow_duplicates=True, validate_checksum=False,
            **properties)
        self._stack.callback(self.sdk.image.delete_image, image.id)
        return image

    def flavor(self, ram=0):
        """Make a flavor like that of the servers.

        :param ram: what it has more of memory, in MiB
        """
        own = self.sdk.compute.get_flavor(self._flavor)
        if not ram:
            return own
        made = self.sdk.compute.create_flavor(
            name='bench-' + uuid.uuid4().hex[:8], vcpus=own.vcpus,
            ram=own.ram + ram, disk=own.disk)
        self._stack.callback(self.sdk.compute.delete_flavor, made.id)
        return made

    def set_properties(self, image, properties):
        """Give properties that an image has other values."""
        # The SDK's own way would add them once more.
        response = self.sdk.image.patch(
            f'/images/{image.id}', json=[
                {'op': 'replace', 'path': '/' + name, 'value': value}
                for name, value in properties.items()],
            headers={'Content-Type':
                     'application/openstack-images-v2.1-json-patch'})
        exceptions.raise_from_response(response)

    def create(self, image):
        """Create a server and wait until it is ACTIVE."""
        server = self.ask(image, 'bench-' + uuid.uuid4().hex[:8])
        self._stack.callback(self.delete, server)
        return self.wait(server, 'ACTIVE')

    def ask(self, image, name):
        """Ask for a server; the caller deletes it."""
        return self.sdk.compute.create_server(
            name=name, image_id=image.id, flavor_id=self._flavor,
            networks=[{'uuid': self._network}])

    def wait(self, server, status, timeout=300):
        """Wait for a status."""
        deadline = time.monotonic() + timeout
        while True:
            server = self.sdk.compute.get_server(server.id)
            if server.status == status:
                return server
            if server.status == 'ERROR' or time.monotonic() > deadline:
                raise Failed('server %s is %s, not %s: %s' % (
                    server.id, server.status, status, server.fault))
            time.sleep(0.2)

    def wait_line(self, server, line=program.MARKER, timeout=300):
        """Wait until the console has a line."""
        deadline = time.monotonic() + timeout
        # The server can be on any of the hosts, of which one has its files.
        paths = [host.instances / server.id / 'console.log'
                 for host in self.hosts()]
        while not any(line in path.read_bytes() for path in paths
                      if path.exists()):
            if time.monotonic() > deadline:
                raise Failed('server %s has not printed its line' % server.id)
            time.sleep(0.1)

    def stop(self, server):
        """Stop a server; its domain stays defined."""
        self.sdk.compute.stop_server(server)
        return self.wait(server, 'SHUTOFF')

    def pause(self, server):
        """Pause a server; what it shares with its host stays mounted."""
        self.sdk.compute.pause_server(server)
        return self.wait(server, 'PAUSED')

    def domain_name(self, server):
        """Name of the server's libvirt domain."""
        return self.sdk.compute.get_server(server.id).instance_name

    def delete(self, server):
        """Delete a server and wait until it is gone."""
        self.sdk.compute.delete_server(server.id, ignore_missing=True)
        self.sdk.compute.wait_for_delete(server, interval=0.3, wait=300)
