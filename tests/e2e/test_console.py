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



"""The console of a server: what the container writes, and a terminal."""

import json
import re
import time
import urllib.parse

import pytest
from websockify import websocket

from tests.e2e import aio
from tests.e2e import profiles

pytestmark = pytest.mark.slow


class Socket(websocket.WebSocket):
    """A connection to Nova's proxy, which wants its token."""

    def __init__(self, url):
        super().__init__()
        self._query = urllib.parse.urlsplit(url).query
        self.connect(url, protocols=['binary'])
        self.settimeout(60)

    def send_request(self, type, path):
        # websockify leaves the query out.
        super().send_request(type, '%s?%s' % (path, self._query))

    def receive(self):
        """Wait for bytes; None at the end."""
        while True:
            try:
                return self.recv()
            except websocket.WebSocketWantReadError:
                continue


class Terminal:
    """A terminal, by Nova's serial console.

    :param url: where the proxy is, with the token
    """

    def __init__(self, url):
        self._socket = Socket(url)
        self.seen = ''

    def type(self, text):
        """Send what a user types."""
        self._socket.send(text.encode())

    def wait_for(self, text, timeout=60):
        """Read until something comes; what is before it is forgotten."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            assert time.monotonic() < deadline, 'no %r in %r' % (text,
                                                                 self.seen)
            data = self._socket.receive()
            assert data is not None, 'closed after %r' % self.seen
            self.seen += data.decode()
        self.seen = self.seen.partition(text)[2]

    def close(self):
        """Hang up."""
        self._socket.close()


@pytest.fixture
def serial(configured, own_settings):
    """Nova's serial console."""
    aio.reconfigure({**configured.settings, 'serial_console.enabled': 'true'},
                    configured.qemu_user)
    aio.start('nova-serialproxy')
    yield
    aio.stop('nova-serialproxy')


def open_terminal(cloud, made):
    """A terminal of a server, as its user gets it."""
    answer = cloud.compute.post(
        '/servers/%s/remote-consoles' % made.id, microversion='2.8',
        json={'remote_console': {'protocol': 'serial', 'type': 'serial'}})
    return Terminal(answer.json()['remote_console']['url'])


@pytest.mark.operation('serial-console')
@profiles.everywhere()
def test_terminal(profile, serial, server, probe, cloud):
    """One types, the shell answers; also after somebody has hung up."""
    made = server(probe, flavor='c1.tiny', metadata={
        'containervm_command': 'sh', 'containervm_tty': 'true'})
    terminal = open_terminal(cloud, made)
    cloud.wait_metadata(made, 'containervm_state', 'running', 60)
    terminal.type('\r')
    terminal.wait_for('# ')
    terminal.type('echo "the answer is $((6 * 7))"; test -t 0 && stty size\r')
    terminal.wait_for('the answer is 42\r\n')
    terminal.wait_for('24 80\r\n')
    # Not before the shell has given the terminal back to what it runs.
    terminal.type('echo begun; sleep 1000; echo interrupted $?\r')
    terminal.wait_for('\nbegun\r\n')
    terminal.type('\x03')
    terminal.wait_for('^C')
    terminal.close()

    terminal = open_terminal(cloud, made)
    terminal.type('echo again $((1 + 1))\r')
    terminal.wait_for('again 2\r\n')
    terminal.type('exit 5\r')
    cloud.ends_by_itself(made)
    cloud.wait_metadata(made, 'containervm_exit_code', '5')
    terminal.close()
    # All of it is in the console log, too.
    log = cloud.console(made)
    assert 'the answer is 42' in log
    assert 'again 2' in log


def log_files(host, made):
    """The console log on the host, with what is rotated away."""
    return list((host.instances / made.id).glob('console.log*'))


def test_much_output(server, probe, cloud, host):
    """50 MB: the end of it is there, and the host keeps little."""
    made = server(probe, flavor='c1.tiny', wait=None, metadata={
        'containervm_command':
            'sh -c "yes 0123456789abcdefghijklmnopqrstuvwxyz | '
            'head -c 50000000; echo; echo the last line"'})
    cloud.ends_by_itself(made, 600)
    cloud.wait_metadata(made, 'containervm_exit_code', '0')
    size = sum(path.stat().st_size for path in log_files(host, made))
    print('%d bytes in %s' % (size, [
        p.name for p in log_files(host, made)]))
    # virtlogd: 2 MiB and three older ones
    assert size <= 4 * (2 << 20) + 65536, size
    log = cloud.console(made)
    assert log.endswith('\nthe last line\n'), log[-200:]
    # What the API gives of it is bounded, too.
    assert len(log) <= 102400 + 100
    assert set(log.splitlines()[1:-2]) == {
        '0123456789abcdefghijklmnopqrstuvwxyz'}


def test_every_byte(server, probe, cloud, host):
    """Whole on the host; and the API gives something that is JSON."""
    made = server(probe, flavor='c1.tiny', wait=None, metadata={
        'containervm_command': json.dumps([
            'sh', '-c', 'i=0; while [ $i -lt 256 ]; do '
            'printf "\\\\$(printf %03o $i)"; i=$((i + 1)); done; '
            'echo; echo the end'])})
    cloud.ends_by_itself(made)
    cloud.wait_metadata(made, 'containervm_exit_code', '0')
    file, = log_files(host, made)
    assert bytes(range(256)) + b'\nthe end\n' in file.read_bytes()
    log = cloud.console(made)
    assert re.search('0123456789:;<=>', log)
    assert log.endswith('\nthe end\n')
