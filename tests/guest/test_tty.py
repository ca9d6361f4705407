# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""A terminal for the container, at the serial console."""

import pytest

both_runtimes = pytest.mark.parametrize('runtime', [
    'crun', pytest.param('chroot', marks=pytest.mark.slow)])
all_runtimes = pytest.mark.parametrize('runtime', [
    'crun', pytest.param('runc', marks=pytest.mark.slow),
    pytest.param('chroot', marks=pytest.mark.slow)])

TTY = {'TTY': 1, 'ENV': ('TERM=xterm',)}


@all_runtimes
def test_interactive_shell(make_vm, runtime):
    vm = make_vm(('sh',), runtime=runtime, terminal=True,
                 contract=TTY).start()
    vm.wait_for('# ')
    vm.type('test -t 0 && test -t 1 && test -t 2 && echo is a tty\r')
    vm.wait_for('\r\nis a tty\r\n')
    vm.type('tty; stty size; test -c /dev/console && echo console\r')
    vm.wait_for('/dev/pts/0\r\n24 80\r\nconsole\r\n')
    # Interrupts what is in the foreground, and nothing else.
    vm.type('sh -c "echo began; exec sleep 1000"\r')
    vm.wait_for('\r\nbegan\r\n')
    vm.type('\x03')
    vm.wait_for('^C\r\n/ # ')
    vm.type('echo code $?\r')
    vm.wait_for('\r\ncode 130\r\n')
    vm.type('stty rows 50 cols 132; stty size; exit 5\r')
    vm.wait_for('\r\n50 132\r\n')
    vm.wait()
    assert vm.event('exited')['code'] == 5


@both_runtimes
def test_output_is_complete(make_vm, runtime):
    """The last line, too; the terminal makes CR LF of its ends."""
    vm = make_vm(('seq', '20000'), runtime=runtime, contract=TTY).run()
    assert vm.console() == ''.join(f'{i}\r\n' for i in range(1, 20001))


@both_runtimes
def test_terminal_of_a_user(make_vm, runtime):
    vm = make_vm(('sh', '-c', 'stat -c %u $(tty); echo x > /dev/tty; '
                              'echo y > /dev/stderr; '
                              'stat -c "%F" /dev/console'),
                 runtime=runtime,
                 contract={**TTY, 'UID': 1000, 'GID': 1000}).run()
    assert vm.console() == ('1000\r\nx\r\ny\r\n'
                            'character special file\r\n')


@both_runtimes
def test_terminal_after_a_restart(make_vm, runtime):
    vm = make_vm(('sh', '-c', 'read line; echo "<$line>"; exit 1'),
                 runtime=runtime, terminal=True,
                 contract={**TTY, 'RESTART': 'on-failure',
                           'RESTART_MAX': 1}).start()
    vm.wait_for_event('running', restarts=0)
    vm.type('one\r')
    vm.wait_for('<one>')
    vm.wait_for_event('running', restarts=1)
    vm.type('two\r')
    vm.wait()
    assert '<two>' in vm.console()


def test_stop_with_a_terminal(make_vm):
    vm = make_vm(('sh', '-c', 'trap "echo got TERM; exit 5" TERM; '
                              'echo ready; while :; do sleep 0.1; done'),
                 contract=TTY).start()
    vm.wait_for('ready')
    vm.power_button()
    vm.wait()
    assert vm.console() == 'ready\r\ngot TERM\r\n'


def test_command_that_is_not_there(make_vm):
    vm = make_vm(('/no/such/program',), contract=TTY).run()
    assert vm.event('exited')['code'] == 127
    assert vm.console().startswith('containervm: failed: run: ')


def test_typing_without_a_terminal(make_vm):
    """The container's standard input is empty, whatever is typed."""
    vm = make_vm(('sh', '-c', 'echo ready; sleep 3; cat; echo end'),
                 terminal=True).start()
    vm.wait_for('ready')
    vm.type('hello\r')
    vm.wait()
    assert vm.console() == 'ready\nend\n'
