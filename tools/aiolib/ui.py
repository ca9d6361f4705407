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
"""Progress lines, errors with a remedy, and running programs."""

import contextlib
import os
import subprocess
import sys
import time

from aiolib import logs

# Where progress goes; a command whose output is data sends it to stderr.
PROGRESS = {'file': sys.stdout}


class Failure(Exception):
    """Something that the user must know of, with what to do about it.

    :param what: one line: what failed
    :param remedy: what to do
    :param detail: more, for instance the end of a log
    """

    def __init__(self, what, remedy='', detail=''):
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.detail = detail

    def show(self, out=None):
        out = out or sys.stderr
        print(f'\nFAILED: {self.what}', file=out)
        if self.detail:
            for line in self.detail.rstrip().splitlines():
                print(f'    | {line}', file=out)
        if self.remedy:
            print(f'What to do: {self.remedy}', file=out)
        out.flush()


@contextlib.contextmanager
def step(title):
    """Print one line for a step, and its time when it has ended.

    Gives a function that adds a remark to the line.
    """
    remarks = []
    start = time.monotonic()
    out = PROGRESS['file']
    tty = out.isatty()
    if tty:
        print(f'  ...   {title}', end='', flush=True, file=out)
    try:
        yield remarks.append
    except BaseException:
        if tty:
            print('\r', end='', file=out)
        print(f'{time.monotonic() - start:6.1f}s  {title}: FAILED',
              flush=True, file=out)
        raise
    remark = f' ({", ".join(remarks)})' if remarks else ''
    if tty:
        print('\r\x1b[K', end='', file=out)
    print(f'{time.monotonic() - start:6.1f}s  {title}{remark}', flush=True,
          file=out)


def note(text):
    print(text, flush=True, file=PROGRESS['file'])


def tail(path, lines=15, start=None):
    """Return the end of a log ('' if there is none).

    :param start: begin of the part that counts, a logs.Mark; None: all
    """
    text = logs.since(path, start, 64 * 1024)
    return '\n'.join(text.splitlines()[-lines:])


def run(args, *, log=None, remedy='', env=None, user=None, cwd='/',
        input=None, check=True, what=None):
    """Run a program and return its output (stdout).

    :param args: argument list
    :param log: file that gets stdout and stderr instead (appended)
    :param remedy: for the error message
    :param env: the whole environment, default clean_env()
    :param user: run as this user and its groups
    :param what: name of the action for the error message
    :raises Failure: if it cannot be started or, with `check`, fails
    """
    args = [str(a) for a in args]
    what = what or ' '.join(args)
    options = {}
    if user:
        options = {'user': user, 'group': user, 'extra_groups': ()}
    kwargs = dict(env=env or clean_env(), cwd=cwd, check=False, **options)
    try:
        if log:
            start = logs.mark(log)
            with open(log, 'ab') as f:
                done = subprocess.run(
                    args, stdin=subprocess.DEVNULL, stdout=f,
                    stderr=subprocess.STDOUT, **kwargs)
        else:
            done = subprocess.run(
                args, input=input, stdin=None if input is not None
                else subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, **kwargs)
    except OSError as e:
        raise Failure(f'{what}: {e}', remedy) from e
    if check and done.returncode:
        detail = tail(log, start=start) if log else done.stderr + done.stdout
        raise Failure(f'{what} ended with status {done.returncode}',
                      remedy or (f'The whole log: {log}' if log else ''),
                      '\n'.join(detail.splitlines()[-15:]))
    return '' if log else done.stdout


def clean_env(**more):
    """Return an environment for what we start.

    It does not depend on the caller's, but for what a site needs to reach
    its network.
    """
    keep = ('http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY',
            'HTTPS_PROXY', 'NO_PROXY', 'TERM')
    env = {k: os.environ[k] for k in keep if k in os.environ}
    env.update(PATH='/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:'
                    '/sbin:/bin', LANG='C.UTF-8', LC_ALL='C.UTF-8',
               HOME='/root')
    env.update({k: str(v) for k, v in more.items()})
    return env


def wait_until(check, seconds, interval=0.2):
    """Poll `check` until it returns something true; return that, or None."""
    end = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() >= end:
            return None
        time.sleep(interval)
