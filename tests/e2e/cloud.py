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


"""The cloud as a user sees it, with waits that say what they waited for."""

import contextlib
import http.client
import time

import openstack

STATES = ('ACTIVE', 'SHUTOFF', 'ERROR', 'DELETED')


class Cloud:
    """An openstacksdk connection, and what the tests need of it.

    :param connection: an openstack.connection.Connection
    """

    def __init__(self, connection):
        self.sdk = connection
        self.compute = connection.compute
        self.volumes = connection.block_storage

    def upload(self, name, path, container_format='docker',
               disk_format='raw', **properties):
        """Upload a file as an image and return the image."""
        image = self.sdk.image.create_image(
            name=name, container_format=container_format,
            disk_format=disk_format, filename=str(path), wait=True,
            allow_duplicates=True, validate_checksum=False, **properties)
        return self.sdk.image.get_image(image.id)

    def create(self, name, image, flavor='c1.small', network='public',
               wait='ACTIVE', timeout=180, **kwargs):
        """Create a server and wait for its state.

        :param image: None if it boots a volume
        """
        kwargs.setdefault('networks', [
            {'uuid': self.sdk.network.find_network(network).id}])
        server = self.compute.create_server(
            name=name, **({'image_id': image.id} if image else {}),
            flavor_id=self.compute.find_flavor(flavor).id, **kwargs)
        if wait:
            server = self.wait(server, wait, timeout)
        return server

    def wait(self, server, status, timeout=120):
        """Wait for a status; fail at once when the server goes to ERROR."""
        deadline = time.monotonic() + timeout
        while True:
            server = self.compute.get_server(server.id)
            if server.status == status and not server.task_state:
                return server
            if server.status == 'ERROR' and status != 'ERROR':
                raise AssertionError('%s: %s' % (server.name, server.fault))
            if time.monotonic() > deadline:
                ports = [(p.status, p.binding_vif_type) for p in
                         self.sdk.network.ports(device_id=server.id)]
                raise AssertionError(
                    '%s is %s/%s, not %s; ports: %s; its console:\n%s' % (
                        server.name, server.status, server.task_state,
                        status, ports, self.console(server)[-3000:]))
            time.sleep(0.5)

    def console(self, server):
        """The console log, as the API gives it."""
        try:
            return self.compute.get_server_console_output(
                server.id)['output']
        except openstack.exceptions.SDKException as e:
            return '(no console log: %s)' % e

    def wait_console(self, server, text, timeout=90):
        """Wait until the console log has ``text`` in it; return the log."""
        return self.until(lambda: self.console(server),
                          lambda log: text in log, timeout,
                          '%r on the console' % text)

    def wait_metadata(self, server, key, value, timeout=60):
        """Wait until the server's metadata has this value."""
        return self.until(
            lambda: self.compute.get_server(server.id).metadata,
            lambda metadata: metadata.get(key) == value, timeout,
            'metadata %s=%s' % (key, value))

    @staticmethod
    def until(get, good, timeout, what):
        """Poll until ``good(get())``; return the value."""
        deadline = time.monotonic() + timeout
        while True:
            value = get()
            if good(value):
                return value
            if time.monotonic() > deadline:
                raise AssertionError('no %s in %d s; last: %s' % (
                    what, timeout, str(value)[-3000:]))
            time.sleep(0.5)

    def address(self, server, version=4):
        """The server's fixed address."""
        for addresses in self.compute.get_server(
                server.id).addresses.values():
            for entry in addresses:
                if entry['version'] == version:
                    return entry['addr']
        raise AssertionError('%s has no IPv%d address' % (server.name,
                                                          version))

    def delete(self, server, timeout=120):
        """Delete a server and wait until it is gone."""
        self.compute.delete_server(server.id, ignore_missing=True)
        self.compute.wait_for_delete(server, interval=0.5, wait=timeout)

    def wait_volume(self, volume, status, timeout=120):
        """Wait for a volume's status; return the volume."""
        return self.until(lambda: self.volumes.get_volume(volume.id),
                          lambda now: now.status == status, timeout,
                          'volume that is ' + status)

    def delete_volume(self, volume, timeout=120):
        """Delete a volume, once it is detached, and wait until it is gone."""
        self.until(lambda: self.volumes.find_volume(volume.id),
                   lambda now: now is None or now.status in (
                       'available', 'error'), timeout, 'detached volume')
        self.volumes.delete_volume(volume.id)
        self.until(lambda: self.volumes.find_volume(volume.id),
                   lambda now: now is None, timeout, 'end of the volume')

    def ends_by_itself(self, server, timeout=180):
        """Wait for SHUTOFF; return the server."""
        return self.wait(server, 'SHUTOFF', timeout)

    def action(self, server, name, timeout=60):
        """Wait for the end of a server's latest action of a name.

        :returns: the action with its events, whose ``result`` is ``Success``
            or ``Error``
        """
        def get():
            for entry in self.compute.server_actions(server.id):
                if entry.action == name:
                    return self.compute.get_server_action(
                        entry.request_id, server.id)
            return None

        def finished(action):
            return action is not None and action.events and all(
                event['result'] for event in action.events)

        return self.until(get, finished, timeout, 'end of action ' + name)


class CommandFailed(AssertionError):
    """A command in a container had an exit status that is not 0."""


def shell(address, script, timeout=90):
    """Run a script in a container of the probe image; return its output.

    :param timeout: seconds that the probe may need until it answers
    """
    text = request(address, 'POST', '/cgi-bin/sh', script, timeout)[1]
    output, _, status = text.rpartition('exit ')
    if status.strip() != '0':
        raise CommandFailed('%r: %s' % (script, text))
    return output


def interfaces(address):
    """Interfaces inside, by MAC: (mtu, addresses without link-local)."""
    found = {}
    # One may go away while this runs.
    output = shell(address, '''
        for dev in /sys/class/net/*; do
            mac=$(cat $dev/address) && mtu=$(cat $dev/mtu) &&
            ips=$(ip -o address show dev ${dev##*/} scope global) || continue
            echo "dev $mac $mtu"
            [ -z "$ips" ] || echo "$ips"
        done''')
    for line in output.splitlines():
        words = line.split()
        if words[0] == 'dev':
            mac = words[1]
            found[mac] = (int(words[2]), set())
        else:
            found[mac][1].add(words[3])
    return found


def answers(address):
    """Whether the probe answers right now."""
    try:
        return shell(address, 'echo here', timeout=0) == 'here\n'
    except AssertionError:
        return False


def http_get(address, port=80, path='/', timeout=90):
    """GET from a server that may still be starting: status and body."""
    return request(address, 'GET', path, None, timeout, port)


def request(address, method, path, body, timeout, port=80):
    """One HTTP request, repeated until the server is there."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection = http.client.HTTPConnection(address, port, timeout=5)
            connection.connect()
        except OSError as e:
            if time.monotonic() >= deadline:
                raise AssertionError('http://%s:%d%s: %s' % (
                    address, port, path, e))
            time.sleep(0.3)
            continue
        with contextlib.closing(connection):
            # A request is not repeated: it may have changed something.
            connection.sock.settimeout(60)
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read().decode()
