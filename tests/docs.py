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

"""The documentation as tests read it: its blocks, and commands in them."""

import dataclasses
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).resolve().parents[1]
SOURCE = ROOT / 'doc' / 'source'

PROPERTIES = SOURCE / 'user' / 'properties.rst'
QUICKSTART = SOURCE / 'user' / 'quickstart.rst'
TROUBLESHOOTING = SOURCE / 'admin' / 'troubleshooting.rst'

_DIRECTIVE = re.compile(r'\.\. code-block:: *(\w+)$')


@dataclasses.dataclass(frozen=True)
class Block:
    """A literal block.

    :param kind: the language, '' for a plain one
    :param section: title of the section that it is in
    """

    path: pathlib.Path
    line: int
    kind: str
    section: str
    text: str

    def __str__(self):
        return '%s:%d' % (self.path.relative_to(ROOT), self.line)


@dataclasses.dataclass
class Command:
    """A command in a block, and what it is shown to print."""

    block: Block
    words: list
    output: str = ''

    def __str__(self):
        return '%s: %s' % (self.block, shlex.join(self.words))


def files():
    """Every document."""
    return [*sorted(SOURCE.rglob('*.rst')), ROOT / 'README.rst',
            ROOT / 'CONTRIBUTING.rst']


def blocks(path):
    """The literal blocks of a document, in order."""
    lines = path.read_text().splitlines()
    section = ''
    at = 0
    while at < len(lines):
        line = lines[at]
        if at and line and set(line) <= set('=-') and (
                len(line) >= len(lines[at - 1]) > 0):
            section = lines[at - 1]
        at += 1
        directive = _DIRECTIVE.match(line.strip())
        if not directive and not line.rstrip().endswith('::'):
            continue
        if not directive and line.strip().startswith('.. '):
            continue
        indent = len(line) - len(line.lstrip())
        begin = at
        while at < len(lines) and (
                not lines[at].strip() or
                len(lines[at]) - len(lines[at].lstrip()) > indent):
            at += 1
        inside = lines[begin:at]
        filled = [text for text in inside if text.strip()]
        if not filled:
            continue
        margin = min(len(text) - len(text.lstrip()) for text in filled)
        yield Block(path, begin + 1, directive[1] if directive else '',
                    section,
                    '\n'.join(text[margin:] for text in inside).strip('\n'))


def commands(block, names=('openstack', 'nova-containervm-')):
    """The commands of a block: behind "$ ", or by their names."""
    found = []
    pending = None
    for line in block.text.splitlines():
        begins = line.startswith('$ ') or (
            block.kind == '' and line.startswith(names))
        if pending is not None:
            pending += ' ' + line.strip()
        elif begins:
            pending = line.removeprefix('$ ')
        elif found and block.kind == 'console':
            found[-1].output += line + '\n'
            continue
        else:
            continue
        if pending.endswith('\\'):
            pending = pending[:-1].rstrip()
            continue
        if pending.startswith(names):
            found.append(Command(block, _words(pending)))
        pending = None
    return found


def _words(line):
    # A quoted | or > is an argument.
    words = shlex.split(line, comments=True)
    for at, word in enumerate(words):
        if word in ('|', '>', '&&', ';'):
            return words[:at]
    return words


def all_commands():
    """Every command of every document."""
    return [command for path in files() for block in blocks(path)
            for command in commands(block)]


def properties(block):
    """The properties of a text block: KEY=VALUE lines."""
    return dict(line.split('=', 1) for line in block.text.splitlines())
