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

"""The manifest beside a base VM image: what the driver checks and uses."""

import json
import pathlib

from nova_containervm.baseimage import errors
from nova_containervm.baseimage import tools

FILE_NAME = 'manifest.json'
SCHEMA = 1
_PARTS = ('disk', 'kernel', 'initrd')


def describe_file(path, **extra):
    """Entry for one file: name, size, digest and *extra*."""
    path = pathlib.Path(path)
    return {'file': path.name, 'size': path.stat().st_size,
            'sha256': tools.sha256(path), **extra}


def write(directory, content):
    """Write *content* (a dict without "schema") as the manifest."""
    path = pathlib.Path(directory) / FILE_NAME
    text = json.dumps({'schema': SCHEMA, **content}, indent=2, sort_keys=True)
    path.write_text(text + '\n')


def read(directory):
    """Return the manifest of *directory* as a dict.

    :raises BuildError: missing, not JSON, or of another schema.
    """
    path = pathlib.Path(directory) / FILE_NAME
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise errors.BuildError(f'{path}: no such file') from None
    except ValueError as exc:
        raise errors.BuildError(f'{path}: {exc}') from None
    if not isinstance(content, dict) or content.get('schema') != SCHEMA:
        raise errors.BuildError(f'{path}: not a manifest of schema {SCHEMA}')
    return content


def verify(directory):
    """Check every file of *directory* against its manifest.

    :returns: the manifest.
    :raises BuildError: all differences found, one a line.
    """
    content = read(directory)
    wrong = []
    for part in _PARTS:
        if part not in content:
            continue
        name = content[part]['file']
        path = pathlib.Path(directory) / name
        if path.name != name:
            wrong.append(f'{part}: {name!r} is not a file name')
        elif not path.exists():
            wrong.append(f'{path}: missing')
        elif tools.sha256(path) != content[part]['sha256']:
            wrong.append(f'{path}: differs from the manifest')
    if 'disk' not in content:
        wrong.append('the manifest names no disk')
    if wrong:
        raise errors.BuildError('\n'.join(wrong))
    return content
