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
"""Tempest's virtual environment, and the directory that it runs in."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

from aiolib import pyenv
from aiolib import ui
from tempestlib import selection

PACKAGES = ('tempest==47.0.0',)
COLLECT = pathlib.Path(__file__).with_name('scripts') / 'collect.py'
_STESTR = """\
[DEFAULT]
test_path={top}/tempest/test_discover
top_dir={top}
group_regex=([^\\.]*\\.)*
"""


class Workspace:
    """What is kept between runs, below the all-in-one's caches.

    :param cfg: settings of the all-in-one
    """

    def __init__(self, cfg):
        self.cfg = cfg
        self.dir = cfg.cache / 'tempest'
        self.venv = self.dir / 'venv'
        self.work = self.dir / 'work'
        self.conf = self.work / 'tempest.conf'
        self.results = self.dir / 'results'

    def result(self, name):
        """Return the path of a run's results: of its name, or a file."""
        if '/' in name or name.endswith('.json'):
            return pathlib.Path(name)
        return self.results / f'{name}.json'

    def _venv_bin(self, name):
        return str(self.venv / 'bin' / name)

    def ensure(self):
        """Make the virtual environment and the directory.

        :returns: whether anything was installed
        """
        self.work.mkdir(parents=True, exist_ok=True)
        stamp = self.venv / '.stamp'
        key = repr(PACKAGES) + pyenv.CONSTRAINTS.read_text()
        if stamp.exists() and stamp.read_text() == key:
            return False
        log = self.cfg.log / 'pip.log'
        shutil.rmtree(self.venv, ignore_errors=True)
        shutil.rmtree(self.work)
        self.work.mkdir()
        ui.run(['/usr/bin/python3', '-m', 'venv', self.venv], log=log)
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(('PYTHON', 'VIRTUAL_ENV'))}
        env.update(PIP_CACHE_DIR=str(self.cfg.cache / 'pip'),
                   PIP_DISABLE_PIP_VERSION_CHECK='1')
        ui.run([self._venv_bin('pip'), '--quiet', 'install', '--constraint',
                pyenv.CONSTRAINTS, *PACKAGES], log=log, env=env,
               remedy='Check that pip reaches its index. '
                      f'The whole log: {log}')
        top, = self.venv.glob('lib/python3.*/site-packages')
        (self.work / '.stestr.conf').write_text(_STESTR.format(top=top))
        ui.run([self._venv_bin('stestr'), 'init'], cwd=self.work,
               env=self._env())
        stamp.write_text(key)
        return True

    def _env(self):
        # Otherwise tempest registers the directory in the user's home.
        return ui.clean_env(HOME=self.work, PYTHON=self._venv_bin('python'),
                            PYTHONWARNINGS='ignore')

    def tests(self, ssh=False):
        """Return the ids of all tests of tempest.

        :param ssh: whether they log in; some are called `slow` only then,
            which is a part of the id
        """
        path = self.work / f'tests-{"login" if ssh else "no-login"}.txt'
        if not path.exists():
            conf = path.with_suffix('.conf')
            conf.write_text(f'[validation]\nrun_validation = {ssh}\n')
            out = ui.run([self._venv_bin('stestr'), 'list'], cwd=self.work,
                         env={**self._env(), 'TEMPEST_CONFIG': conf.name,
                              'TEMPEST_CONFIG_DIR': str(conf.parent)})
            path.write_text(''.join(f'{line}\n' for line in out.splitlines()
                                    if line.startswith('tempest.')))
        return path.read_text().splitlines()

    def run(self, ids, concurrency, limit=None):
        """Run tests; their results are printed as they come.

        :param ids: of the tests
        :param concurrency: number of processes
        :param limit: seconds after which tempest is ended
        :returns: list of outcomes, see results.spread, and whether all tests
            were run
        """
        chosen = self.work / 'chosen.txt'
        chosen.write_text(''.join(f'{i}\n' for i in ids))
        outcomes = self.work / 'outcomes.json'
        outcomes.unlink(missing_ok=True)
        # A session of its own: its workers are ended with it.
        tempest = subprocess.Popen(
            [self._venv_bin('tempest'), 'run', '--config-file', self.conf,
             '--subunit', '--load-list', chosen, '--concurrency',
             str(concurrency)],
            cwd=self.work, env=self._env(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, start_new_session=True)
        collect = subprocess.Popen(
            [self._venv_bin('python'), '-B', COLLECT, outcomes],
            stdin=tempest.stdout, env=self._env())
        # Or `collect` would be the reader that never ends.
        tempest.stdout.close()
        complete = True
        try:
            tempest.wait(limit)
        except subprocess.TimeoutExpired:
            complete = False
        finally:
            if tempest.poll() is None:
                os.killpg(tempest.pid, signal.SIGKILL)
                tempest.wait()
        if collect.wait() or not outcomes.exists():
            raise ui.Failure('the results of tempest cannot be read',
                             'See what it printed.')
        return json.loads(outcomes.read_text()), complete


def read_names(path):
    """Read a file with a test a line; `#` begins a comment."""
    try:
        with open(path) as f:
            lines = [line.partition('#')[0].strip() for line in f]
    except OSError as e:
        raise ui.Failure(f'{path}: {e.strerror}') from e
    return [selection.name_of(line) for line in lines if line]
