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

"""A server's QEMU as libvirt starts it, made startable again and again.

What is measured is what users get: the command line comes from the domain
that Nova has defined. Changed is only what needs the host around it: the tap
device, the monitor, where the console and the status channel go. The disk is
a fresh one each time, as at a server's first boot.
"""

import json
import os
import pathlib
import shlex
import subprocess

from bench import qemu

URI = 'qemu:///system'


def _virsh(*arguments, text=None):
    return subprocess.run(['virsh', '-c', URI, *arguments], check=True,
                          input=text, capture_output=True, text=True).stdout


def _drop(argv, option, matches=lambda value: True):
    """Drop all occurrences of an option that has a value."""
    result, i = [], 0
    while i < len(argv):
        if argv[i] == option and matches(argv[i + 1]):
            i += 2
            continue
        result.append(argv[i])
        i += 1
    return result


class Domain:
    """The QEMU of a server that is paused.

    :param name: the domain's name
    :param work: directory for its disk and what it writes
    """

    def __init__(self, name, work):
        self.work = pathlib.Path(work)
        self.work.mkdir(parents=True, exist_ok=True)
        xml = self.work / 'domain.xml'
        xml.write_text(_virsh('dumpxml', '--inactive', name))
        words = shlex.split(_virsh('domxml-to-native', 'qemu-argv',
                                   str(xml)))
        first = next(i for i, w in enumerate(words) if w.startswith('/'))
        self._disk = None
        self.command = self._adapt(words[first:])

    def option(self, name):
        """The value of an option, None if there is none."""
        if name not in self.command:
            return None
        return self.command[self.command.index(name) + 1]

    def _adapt(self, argv):
        argv = [a for a in argv if a not in ('-S', '-no-shutdown')]
        argv = _drop(argv, '-mon')
        argv = _drop(argv, '-object', lambda v: 'masterKey' in v)
        argv = _drop(argv, '-chardev', lambda v: 'id=charmonitor' in v)
        argv = _drop(argv, '-sandbox')
        return [self._value(argv[i - 1] if i else '', word)
                for i, word in enumerate(argv)]

    def _value(self, option, word):
        if option == '-netdev':
            name = json.loads(word)['id'] if word.startswith('{') else (
                dict(p.split('=', 1) for p in word.split(',')[1:])['id'])
            return f'user,id={name},restrict=on'
        if option == '-chardev' and 'id=charserial0' in word:
            return 'stdio,id=charserial0,signal=off'
        if option == '-chardev' and word.startswith('file,'):
            name = next(p for p in word.split(',') if p.startswith('id='))
            return f'file,{name},path={self.work}/channel'
        if option == '-blockdev' and word.startswith('{'):
            return self._blockdev(json.loads(word), word)
        return word

    def _blockdev(self, value, word):
        path = value.get('filename')
        if path and os.path.basename(path) == 'disk':
            self._disk = pathlib.Path(path)
            value['filename'] = str(self.work / 'disk')
            return json.dumps(value)
        return word

    def fresh(self):
        """Make the disk anew: the same backing file, the same size."""
        info = json.loads(subprocess.run(
            ['qemu-img', 'info', '-U', '--output=json', str(self._disk)],
            check=True, capture_output=True, text=True).stdout)
        qemu.make_overlay(self.work / 'disk', info['full-backing-filename'],
                          info['backing-filename-format'],
                          info['virtual-size'])

    def argv(self):
        """The command line; its console is standard output."""
        return self.command
