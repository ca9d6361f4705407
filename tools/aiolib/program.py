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
"""One program under the supervisor, and checks of its health."""

import dataclasses
import socket
import urllib.error
import urllib.request

from aiolib import ui


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


def nova_report(binary, host=None):
    """Make a check that a Nova service has reported since it started.

    It does so a few seconds after it has begun to listen for messages.

    :param host: its host; None where there is but one such service
    """
    def check(cfg, started):
        return query(cfg, 'select count(*) from nova_cell1.services where '
                     f"`binary`='{binary}' and deleted=0 and {_on(host)}"
                     f'last_seen_up >= from_unixtime({int(started)})') != '0'
    return check


def nova_seen(cfg, binary, host):
    """Say whether the scheduler still takes this service for alive.

    It does for 60 seconds after a report.
    """
    return query(cfg, 'select count(*) from nova_cell1.services where '
                 f"`binary`='{binary}' and deleted=0 and {_on(host)}"
                 'last_seen_up > now() - interval 40 second') != '0'


def cinder_report(binary):
    """Make a check that a Cinder service has reported since it started."""
    def check(cfg, started):
        return query(cfg, 'select count(*) from cinder.services where '
                     f"`binary`='{binary}' and deleted=0 and "
                     f'updated_at >= from_unixtime({int(started)})') != '0'
    return check


def agent_report(binary, host):
    """Make a check that a Neutron agent has reported since it started.

    The report takes the whole way: RabbitMQ, RPC server, database.
    """
    def check(cfg, started):
        return query(cfg, 'select count(*) from neutron.agents where '
                     f"`binary`='{binary}' and {_on(host)}"
                     f'started_at >= from_unixtime({int(started)})') != '0'
    return check


def _on(host):
    return f"host='{host}' and " if host else ''


def query(cfg, sql):
    """Return what the database prints; '0' when it cannot answer (yet)."""
    try:
        return ui.run(['mariadb', '--no-defaults', '--user=root', '--batch',
                       '--skip-column-names', '--socket',
                       f'{cfg.run}/mariadb/socket', '--execute',
                       f"set time_zone='+00:00'; {sql}"]).strip()
    except ui.Failure:
        return '0'
