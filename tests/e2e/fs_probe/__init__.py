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

"""52 checks of what programs do to a filesystem, and what is expected.

The program is fs_probe.c; doc/source/reference/filesystems.rst has the table
of what fails where, and the tests hold it to that.
"""

import pathlib
import re
import subprocess

SOURCE = pathlib.Path(__file__).with_name('fs_probe.c')
DOCUMENT = (pathlib.Path(__file__).resolve().parents[3] /
            'doc/source/reference/filesystems.rst')

NUMBER = 52
# Below the directory that the program takes as the image's
IMAGE_FILES = {'file': b'image\n', 'dir/inner': b'', 'large': b'x' * (1 << 20)}


def build(path):
    """Compile the program."""
    subprocess.run(['gcc', '-std=gnu11', '-D_GNU_SOURCE', '-O1', '-Wall',
                    '-Wextra', '-Werror', '-static', '-s', '-o', path,
                    SOURCE], check=True)


def failures(output):
    """What failed: ``{check: reason}``.

    :raises AssertionError: not all of the checks have run
    """
    results = dict(line.split('=', 1)
                   for line in output.replace('\r', '').splitlines()
                   if re.match(r'[a-z_]+=', line))
    assert results.pop('end', None) == 'ok', output[-500:]
    assert len(results) == NUMBER, sorted(results)
    return {name: reason for name, reason in results.items()
            if reason != 'ok'}


def expected(column, kernel):
    """Names of the checks that fail, by the document.

    :param column: of its table, as ``9p, disk``
    :param kernel: the guest's Linux, as (6, 1)
    """
    lines = DOCUMENT.read_text().split('\n')
    # Of the table; the title's have no spaces in them.
    rules = [i for i, line in enumerate(lines)
             if ' ' in line and not line.strip('= ')]
    edges = [(m.start(), m.end()) for m in re.finditer('=+', lines[rules[0]])]
    header = [lines[rules[0] + 1][start:end].strip() for start, end in edges]
    start, end = edges[header.index(column)]
    result = {line[slice(*edges[0])].strip('`* ')
              for line in lines[rules[1] + 1:rules[2]]
              if line[start:end].strip() == 'fails'}
    # overlayfs has O_TMPFILE; the table is of Linux 6.1.
    if column.endswith(', disk') and kernel >= (6, 12):
        result.remove('temporary')
    return result
