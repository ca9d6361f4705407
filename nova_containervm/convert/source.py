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

"""Reads an image into memory and one file of contents, without privilege."""

import base64
import dataclasses
import io
import os
from typing import Any

from nova_containervm.images import archive
from nova_containervm.images import build
from nova_containervm.images import diskserver
from nova_containervm.images import errors
from nova_containervm.images import layout
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import merge
from nova_containervm.images import nodes
from nova_containervm.images import spool
from nova_containervm.images import stream
from nova_containervm.images import unpack


@dataclasses.dataclass(frozen=True)
class Source:
    """An image, its layers put on top of each other.

    :param root: nodes.Node of the root directory
    :param spools: open files with the contents, by the nodes' ``spool``
    :param size: bytes of all contents; ``entries``: number of files
    :param config: the image's, whole
    :param passwd, group: contents of these files in /etc
    """

    root: nodes.Node
    spools: list[int]
    size: int
    entries: int
    architecture: str
    config: dict[str, Any]
    passwd: bytes
    group: bytes

    def close(self):
        """Give the contents up."""
        for fd in self.spools:
            os.close(fd)


class _Layer(build.Staged):

    def __init__(self, label, facts, tree, found, error=None):
        super().__init__(label, None, None)
        self.facts = facts
        self._tree = tree
        self._found = found
        self._error = error

    def tree(self, number):
        """A copy of its tree, as merge.layers() wants it."""
        text = io.BytesIO()
        nodes.dump(self._tree.root, text)
        text.seek(0)
        return nodes.load(text, number), type(self._found).from_dict(
            self._found.to_dict())


class _Sink:
    """Stands in for build.Sink."""

    def __init__(self, work, limits):
        self._work = work
        self._limits = limits
        self._ledger = limits_mod.Ledger()
        self._count = 0
        self.spools: dict[int, int] = {}

    def unpack(self, label, chunks):
        """Read one layer; errors are kept for when it is wanted."""
        account = self._ledger.account(self._count, self._limits)
        self._count += 1
        fd = os.open(self._work, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC,
                     0o600)
        tree = spool.SpoolTree(fd, self._limits)
        try:
            source = unpack.Source(chunks)
            facts, found = unpack.read(source, source.output(), tree,
                                       self._limits, account)
            layer = _Layer(label, facts, tree, found)
        except errors.LimitExceeded:
            os.close(fd)
            raise
        except errors.ImageError as exc:
            layer = _Layer(label, None, tree, None, exc)
        self.spools[id(layer)] = fd
        return layer

    def decompress(self, kind, chunks):
        """Yield what a whole archive that is compressed unpacks to."""
        return stream.decompress(kind, chunks)


def read(chunks, work, ref=None, architecture=None, limits=None):
    """Read an archive to its end.

    :param chunks: iterable of bytes
    :param work: directory for temporary files
    :param ref: which image, if there are several
    :param architecture: as in image configs; None for this host's
    :returns: Source
    :raises ImageError: no server can be made of it
    """
    limits = limits or limits_mod.Limits()
    sink = _Sink(work, limits)
    wanted: list[int] = []
    try:
        found = archive.Scanner(sink, limits).scan(chunks)
        plan = build.plan(found, ref,
                          architecture or layout.host_architecture(), limits)
        if not plan.layers:
            raise errors.NotAnImage('the image has no layers: there is '
                                    'nothing in it that could be run')
        root = merge.layers([layer.tree(number) for number, layer
                             in enumerate(plan.layers)])
        wanted = [os.dup(sink.spools[id(layer)]) for layer in plan.layers]
    finally:
        for fd in sink.spools.values():
            os.close(fd)
    about = diskserver.describe(root, wanted, build.WANTED)
    files = {path: base64.b64decode(text)
             for path, text in about['files'].items()}
    return Source(root, wanted, about['size'], about['entries'],
                  plan.architecture, plan.config,
                  files.get('etc/passwd', b''), files.get('etc/group', b''))
