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


"""The all-in-one under test, driven by its command."""

import contextlib
import functools
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / 'tools'))

# isort: split
from aiolib import logs  # noqa: E402

COMMAND = str(CHECKOUT / 'tools' / 'aio')


def run(*arguments, check=True):
    """Run ``tools/aio`` and return the finished process."""
    result = subprocess.run([COMMAND, *arguments], text=True,
                            capture_output=True)
    if check and result.returncode != 0:
        raise AssertionError('tools/aio %s failed:\n%s%s' % (
            ' '.join(arguments), result.stdout, result.stderr))
    return result


def environment():
    """The variables that ``tools/aio env`` exports."""
    return dict(re.findall(r'^export (\w+)=(\S+)$', run('env').stdout,
                           re.MULTILINE))


@functools.cache
def directory():
    """$AIO_DIR: the configuration's grandparent."""
    config = environment()['OS_CLIENT_CONFIG_FILE']
    return pathlib.Path(config).parent.parent


def reconfigure(settings, qemu_user='libvirt-qemu', check=True,
                restart=False):
    """Run nova-compute with exactly these settings beside its usual ones.

    :param settings: 'group.option' to value; None takes an option away that
        the all-in-one sets itself
    :param restart: restart it even if nothing changes
    """
    arguments = ['reconfigure', '--reset', '--qemu-user', qemu_user]
    if restart:
        arguments.append('--restart')
    for name, value in sorted(settings.items()):
        arguments += (['--unset', name] if value is None else
                      ['--set', '%s=%s' % (name, value)])
    return run(*arguments, check=check)


def openstack(*arguments, check=True):
    """Run the ``openstack`` client as a user would; return its output."""
    result = subprocess.run([str(directory() / 'bin' / 'openstack'),
                             *arguments], text=True, capture_output=True)
    if check and result.returncode != 0:
        raise AssertionError('openstack %s failed:\n%s' % (
            ' '.join(arguments), result.stderr))
    return result.stdout


def nova_manage(*arguments, statuses=(0,)):
    """Run ``nova-manage`` as an operator would.

    :param statuses: exit statuses that are none of a failure
    """
    result = subprocess.run(
        [str(directory() / 'bin' / 'nova-manage'), '--config-file',
         str(directory() / 'etc' / 'nova' / 'nova.conf'), *arguments],
        text=True, capture_output=True, env={'PATH': os.environ['PATH']})
    if result.returncode not in statuses:
        raise AssertionError('nova-manage %s failed:\n%s' % (
            ' '.join(arguments), result.stderr))


def _log(name):
    return directory() / 'log' / ('%s.log' % name)


def log(name, since):
    """What a service has logged since an end of its log."""
    return logs.since(_log(name), since)


def log_end(name):
    """The end of a service's log, for :func:`log`."""
    return logs.mark(_log(name))


def image(name):
    """Build an image of tools/images, if need be; return its path."""
    return pathlib.Path(run('image', name).stdout.strip().splitlines()[-1])


def base_image(kind):
    """Build a base VM image, if need be; return the path of its disk."""
    return run('base-image', kind).stdout.strip().splitlines()[-1]


def _supervisor(*arguments):
    """Ask the supervisor of the services; return its answer."""
    # It has its own idea of exit statuses.
    return subprocess.run(
        [str(directory() / 'venv' / 'bin' / 'supervisorctl'),
         '--configuration', str(directory() / 'etc' / 'supervisord.conf'),
         *arguments], capture_output=True, text=True).stdout


def pids():
    """Process ids of the services, by name."""
    lines = [line.split() for line in _supervisor('status').splitlines()]
    return {words[0]: words[3] for words in lines if words[1] == 'RUNNING'}


def pid(name):
    """Process id of a service, for :func:`kill`."""
    return int(_supervisor('pid', name))


def kill(name, process=None):
    """``kill -9`` of a service's main process; its helpers stay.

    :param process: its id, where every moment counts
    """
    os.kill(process or pid(name), signal.SIGKILL)
    deadline = time.monotonic() + 20
    while 'RUNNING' in _supervisor('status', name):
        assert time.monotonic() < deadline, '%s still runs' % name
        time.sleep(0.1)


def stop(name):
    """Stop a service as the supervisor does."""
    _supervisor('stop', name)


def start(name):
    """Start a service that does not run, and wait until it serves."""
    if name.startswith('nova-compute'):
        # With the settings that it had.
        run('reconfigure')
    else:
        run('restart', name)


@contextlib.contextmanager
def without(name, process=None):
    """A service is down. A nova-compute has died of ``kill -9``.

    :param process: as for :func:`kill`
    """
    try:
        if name.startswith('nova-compute'):
            kill(name, process)
        else:
            stop(name)
        yield
    finally:
        start(name)
