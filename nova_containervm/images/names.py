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

"""Names in archives, as paths below a root that nothing gets out of.

A path is bytes without a leading slash, ``b''`` for the root.
"""

from nova_containervm.images import errors

WHITEOUT = b'.wh.'
OPAQUE = b'.wh..wh..opq'


def normalize(name, what, limits):
    """A member's name as a path.

    Absolute names count from the root, as in every container tool (some
    build tools write them); ``..`` is refused, as nothing honest has it.

    :param what: what the name is, for the message: 'member', 'link target'
    """
    if b'\0' in name:
        name = name.split(b'\0', 1)[0]
    path = name.strip(b'/')
    if (b'//' in path or b'/.' in path or path[:1] == b'.'):
        parts = [p for p in path.split(b'/') if p not in (b'', b'.')]
        if b'..' in parts:
            raise errors.BadMember('%s %s leads out of the image (..)'
                                   % (what, errors.quote(name)))
        path = b'/'.join(parts)
    else:
        parts = path.split(b'/')
    if len(path) > limits.max_path_length:
        raise limits.exceeded('max_path_length', '%s %s is %d bytes long' % (
            what, errors.quote(path, 60), len(path)))
    if len(parts) > limits.max_nesting:
        raise limits.exceeded('max_nesting', '%s %s is %d directories deep'
                              % (what, errors.quote(path, 60), len(parts)))
    if len(path) > 255 and max(map(len, parts)) > 255:
        raise errors.BadMember('%s %s has a component of over 255 bytes, '
                               'which Linux does not allow'
                               % (what, errors.quote(path, 60)))
    return path


def split(path):
    """(parent, last component) of a path."""
    parent, _slash, base = path.rpartition(b'/')
    return parent, base


def join(parent, base):
    """The path of *base* in the directory *parent*."""
    return parent + b'/' + base if parent else base


def follow(parent, target):
    """The path that a symbolic link in *parent* leads to.

    Like a chroot: absolute targets start at the root, and ``..`` of the
    root is the root.
    """
    parts = [] if target.startswith(b'/') else parent.split(b'/')
    for part in target.split(b'/'):
        if part == b'..':
            if parts:
                parts.pop()
        elif part not in (b'', b'.'):
            parts.append(part)
    return b'/'.join(p for p in parts if p)


def text(path):
    """A path as str, for JSON; see raw()."""
    return path.decode('utf-8', 'surrogateescape')


def raw(string):
    """A path from JSON as bytes."""
    return string.encode('utf-8', 'surrogateescape')
