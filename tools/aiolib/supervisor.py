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
"""supervisord (from PyPI): its configuration, and talking to it."""

import contextlib
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import xmlrpc.client

from aiolib import host
from aiolib import logs
from aiolib import services
from aiolib import ui


# A record of that level, not the word in the list of a service's options
_FATAL = re.compile(r'^\S+ \S+ \d+ CRITICAL .*$', re.MULTILINE)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__('localhost', timeout=120)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path):
        super().__init__()
        self._path = path

    def make_connection(self, host):
        return _Connection(self._path)


def render(cfg):
    """Return supervisord.conf."""
    lines = [
        '; Written by tools/aio.',
        '[supervisord]',
        f'logfile = {cfg.log}/supervisord.log',
        'logfile_maxbytes = 5MB',
        f'pidfile = {cfg.run}/supervisord.pid',
        f'childlogdir = {cfg.log}',
        'directory = /',
        'umask = 022',
        'minfds = 1024',
        'user = root',
        '[unix_http_server]',
        f'file = {cfg.run}/supervisor.sock',
        'chmod = 0700',
        '[rpcinterface:supervisor]',
        'supervisor.rpcinterface_factory = '
        'supervisor.rpcinterface:make_main_rpcinterface',
        '[supervisorctl]',
        f'serverurl = unix://{cfg.run}/supervisor.sock',
    ]
    for program in services.programs(cfg):
        env = {'PYTHONWARNINGS': 'ignore', **program.env}
        lines += [
            f'[program:{program.name}]',
            'command = ' + ' '.join(_word(a) for a in program.args),
            'environment = ' + ','.join(f'{k}="{_percent(v)}"'
                                        for k, v in env.items()),
            f'user = {program.user}',
            'autostart = false',
            f'autorestart = {"unexpected" if program.restart else "false"}',
            'startsecs = 2',
            'startretries = 2' if program.restart else 'startretries = 0',
            f'stopwaitsecs = {program.stop_seconds}',
            # Helpers such as the privsep daemons are in the group, too; QEMU
            # is not: libvirtd puts it into a session of its own. One that
            # finishes its work first needs its helpers for that.
            f'stopasgroup = {"false" if program.idle_mark else "true"}',
            'killasgroup = true',
            'redirect_stderr = true',
            f'stdout_logfile = {cfg.log}/{program.name}.log',
            'stdout_logfile_maxbytes = 20MB',
            'stdout_logfile_backups = 1',
        ]
    return '\n'.join(lines) + '\n'


def _percent(text):
    return text.replace('%', '%%')


def _word(text):
    if any(c in text for c in ' "\'\\'):
        return "'" + _percent(text) + "'"
    return _percent(text)


class Supervisor:
    """The running supervisord of one all-in-one."""

    def __init__(self, cfg):
        self.cfg = cfg
        self.conf = cfg.etc / 'supervisord.conf'
        self.socket = str(cfg.run / 'supervisor.sock')
        self.pidfile = cfg.run / 'supervisord.pid'

    @property
    def rpc(self):
        return xmlrpc.client.ServerProxy(
            'http://localhost', transport=_Transport(self.socket)).supervisor

    def running(self):
        try:
            return self.rpc.getState()['statename'] == 'RUNNING'
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def pid(self):
        return int(self.pidfile.read_text())

    def start(self):
        """Start supervisord, or let a running one read its configuration."""
        if self.running():
            added, changed, removed = self.rpc.reloadConfig()[0]
            for name in (*changed, *removed):
                self._quietly(self.rpc.stopProcess, name)
                self.rpc.removeProcessGroup(name)
            for name in (*changed, *added):
                self.rpc.addProcessGroup(name)
            return
        # No variable of the user's shell reaches the services.
        done = subprocess.run(
            [self.cfg.venv_bin('supervisord'), '--configuration', self.conf],
            env=ui.clean_env(), cwd='/', capture_output=True, text=True,
            check=False, start_new_session=True)
        if done.returncode or not ui.wait_until(self.running, 20):
            raise ui.Failure('supervisord does not start', '',
                             done.stdout + done.stderr +
                             ui.tail(self.cfg.log / 'supervisord.log'))
        host.announce(self.cfg, self.pid())

    def info(self):
        """Return {name: supervisor's process info}."""
        return {p['name']: p for p in self.rpc.getAllProcessInfo()}

    def start_program(self, name):
        """Start one program without waiting; nothing if it runs."""
        self._quietly(self.rpc.startProcess, name, False)

    def stop_program(self, name, wait=True):
        self._quietly(self.rpc.stopProcess, name, wait)

    def finish_program(self, program):
        """Stop a program as soon as it has finished its work.

        nova-compute goes on waiting for its timers for half a minute then.
        """
        if not program.idle_mark:
            self.stop_program(program.name)
            return
        pid = self.info()[program.name]['pid']
        if not pid:
            return
        start = self.log_end(program.name)
        path = self.cfg.log / f'{program.name}.log'
        self.stop_program(program.name, wait=False)

        def done():
            return (not self.info()[program.name]['pid'] or
                    program.idle_mark in ui.tail(path, 400, start))
        ui.wait_until(done, program.stop_seconds)
        if self.info()[program.name]['pid'] == pid:
            # The supervisor makes each program the leader of a group. It may
            # have ended by itself since it was asked for.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        ui.wait_until(lambda: not self.info()[program.name]['pid'], 20, 0.05)

    @staticmethod
    def _quietly(method, *args):
        try:
            return method(*args)
        except xmlrpc.client.Fault as e:
            # 60 ALREADY_STARTED, 70 NOT_RUNNING; of the rest, `wait_healthy`
            # tells with the log's end.
            if e.faultCode not in (40, 50, 60, 70):
                raise
            return None

    def log_end(self, name):
        """Return the logs.Mark of the end of a program's log."""
        return logs.mark(self.cfg.log / f'{name}.log')

    def wait_healthy(self, programs, starts=None):
        """Wait until all of these programs serve.

        :param starts: ends of the logs when they were started, so that an
            error message shows nothing older
        :raises ui.Failure: for the first that died or takes too long
        """
        starts = starts or {}
        revived = {}
        waiting = list(programs)
        begin = time.monotonic()
        while waiting:
            info = self.info()
            for program in list(waiting):
                state = info[program.name]
                if state['statename'] in ('EXITED', 'BACKOFF', 'FATAL',
                                          'STOPPED', 'UNKNOWN'):
                    self._fail(program, 'does not start: '
                               f'{state["description"] or state["spawnerr"]}',
                               starts)
                if program.healthy is None:
                    ok = state['statename'] == 'RUNNING'
                else:
                    ok = program.healthy(self.cfg, state['start'])
                if ok:
                    waiting.remove(program)
                elif program.hangs and revived.get(program.name, 0) < 3 \
                        and self._crashed(program, starts):
                    self._revive(program, revived, starts)
                elif not program.restart and self._crashed(program, starts):
                    # Nova may hang after a fatal error.
                    self._fail(program, 'ended with a fatal error', starts)
                elif time.monotonic() - begin > program.timeout and \
                        program.idle_mark and program.name not in revived:
                    # nova-compute, seen once: it ran and sent its reports,
                    # and none of them arrived in the database.
                    ui.note(f'{program.name} does not become ready in '
                            f'{program.timeout} s; restarting it once')
                    self._revive(program, revived, starts)
                    begin = time.monotonic()
                elif time.monotonic() - begin > program.timeout:
                    self._fail(program, 'runs, but does not become ready '
                               f'in {program.timeout} s', starts)
            if waiting:
                time.sleep(0.25)

    def _revive(self, program, revived, starts):
        revived[program.name] = revived.get(program.name, 0) + 1
        self.stop_program(program.name)
        starts[program.name] = self.log_end(program.name)
        self.start_program(program.name)

    def _crashed(self, program, starts):
        path = self.cfg.log / f'{program.name}.log'
        return _FATAL.search(ui.tail(path, 400, starts.get(program.name)))

    def _fail(self, program, how, starts):
        path = self.cfg.log / f'{program.name}.log'
        raise ui.Failure(
            f'service {program.name} {how}',
            f'Read the whole log: tools/aio logs {program.name} ({path}); '
            'when the cause is gone, run tools/aio up again.',
            last_error(path, starts.get(program.name)))

    def start_stage(self, stage):
        """Start a stage's programs and wait for those that the next needs."""
        programs = [p for p in services.programs(self.cfg)
                    if p.stage == stage]
        starts = {p.name: self.log_end(p.name) for p in programs}
        for program in programs:
            self.start_program(program.name)
        self.wait_healthy([p for p in programs if p.gate], starts)
        return [p for p in programs if not p.gate]

    def stop_all(self, note=lambda text: None):
        """Stop the stages in reverse order."""
        for stage in (services.OPTIONAL, *reversed(services.STAGES)):
            names = [p.name for p in services.programs(self.cfg)
                     if p.stage == stage]
            known = self.info()
            names = [n for n in names if n in known]
            for name in names:
                self.stop_program(name, wait=False)

            def stopped(names=names):
                info = self.info()
                return all(info[n]['pid'] == 0 for n in names)
            if not ui.wait_until(stopped, 60):
                info = self.info()
                raise ui.Failure('does not stop: ' + ', '.join(
                    n for n in names if info[n]['pid']))

    def shutdown(self):
        """End supervisord itself; its programs are stopped already."""
        pid = self.pid()
        os.kill(pid, signal.SIGTERM)
        if not ui.wait_until(
                lambda: not pathlib.Path(f'/proc/{pid}').exists(), 60):
            raise ui.Failure(f'supervisord (pid {pid}) does not end')
        host.RUNNING.unlink(missing_ok=True)


def last_error(path, start=None):
    """Return the telling part of a log: what was fatal, or the last ERROR.

    OpenStack repeats its log prefix on each line of a traceback.
    """
    text = ui.tail(path, 400, start)
    fatal = _FATAL.findall(text)
    if fatal:
        return fatal[-1]
    lines = text.splitlines()
    marks = [i for i, line in enumerate(lines)
             if ' ERROR ' in line or ' CRITICAL ' in line]
    if not marks:
        return '\n'.join(lines[-15:])
    # The traceback's last lines name the exception.
    end = marks[-1] + 1
    return '\n'.join(lines[max(0, end - 12):end + 3])
