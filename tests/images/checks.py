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

"""What must hold for any input, however hostile: checked for the fuzzers.

Nothing outside the trees changes (a canary is compared); no exception but
errors.ImageError, never a message without words or too long for Nova; no
input takes over 10 s of CPU; no descriptor leaks; what was accepted verifies;
and unpacking to memory, as ``nova-containervm-image inspect`` does, and
merging for an EROFS disk come to the same result as unpacking to directories.
"""

import os
import stat
import time

from nova_containervm.images import disktree
from nova_containervm.images import errors
from nova_containervm.images import extract
from nova_containervm.images import forms
from nova_containervm.images import fsutil
from nova_containervm.images import limits
from nova_containervm.images import manifest
from nova_containervm.images import memtree
from nova_containervm.images import overlay
from nova_containervm.images import stream
from nova_containervm.images import survey
from nova_containervm.images import tarread
from nova_containervm.images import tarwrite
from nova_containervm.images import verify
from nova_containervm.images import view
from tests.images import grammar
from tests.unit.images import builders
from tests.unit.images import merged
from tests.unit.images import trees

LIMITS = limits.Limits(max_unpacked_mb=4, max_entries=2000, max_image_mb=8)
#: Most CPU time for one input, in seconds.
SLOW = 10
_LIMIT = 'LimitExceeded'
_KINDS = (tarread.REG, tarread.DIR, tarread.SYMLINK, tarread.CHR,
          tarread.BLK, tarread.FIFO)


class Bench:
    """A directory with a canary beside the trees that are unpacked to.

    :param directory: its path; it does not exist yet
    """

    def __init__(self, directory):
        self.dir = directory
        self.canary = os.path.join(self.dir, 'canary')
        os.makedirs(self.canary + '/sub')
        for name in ('keep', 'sub/keep'):
            with open(os.path.join(self.canary, name), 'wb') as out:
                out.write(b'precious')
        self.wanted = trees.native(self.canary)
        self.count = self.accepted = 0

    def run(self, data):
        """Do with an input what its first byte says, and check."""
        start = time.process_time()
        before = len(os.listdir('/proc/self/fd'))
        rest = bytes(data[1:])
        kind = data[0] % 8 if data else 0
        if kind == 7:
            self.survey(grammar.mend(rest))
        elif kind == 6:
            self.image([grammar.mend(rest)])
        else:
            made = grammar.Grammar(grammar.Draw(rest), self.canary)
            layers = made.layers()
            self.image(layers)
            if kind == 5:
                self.survey(made.draw.one((
                    builders.docker, builders.oci, builders.docker_v1))(
                        layers))
        self.count += 1
        assert trees.native(self.canary) == self.wanted, 'canary touched'
        assert os.listdir(self.dir) == ['canary'], 'something left'
        assert len(os.listdir('/proc/self/fd')) == before, 'descriptors leak'
        assert time.process_time() - start < SLOW, 'slow'

    def raw(self, decisions):
        """Inputs that are archives themselves, made of decisions."""
        made = grammar.Grammar(grammar.Draw(decisions), self.canary)
        layers = made.layers()
        return [b'\6' + layers[0], *(b'\7' + make(layers) for make in (
            builders.docker, builders.oci, builders.docker_v1))]

    def survey(self, data):
        """Read a whole archive; nothing is unpacked."""
        try:
            survey.survey([data], architecture='amd64', limits=LIMITS)
        except errors.ImageError as exc:
            check_words(exc)

    def image(self, layers):
        """Unpack layers, to directories, to memory, and for a disk."""
        on_disk = self._disk(layers)
        if isinstance(on_disk, dict):
            self.accepted += 1
        for other in (self._memory(layers), self._merged(layers)):
            if _LIMIT in (on_disk, other):
                continue  # holes depend on where chunks begin
            if isinstance(on_disk, dict) and isinstance(other, dict):
                differ = set(on_disk.items()) ^ set(other.items())
                assert not differ, sorted(differ)
            else:
                assert on_disk == other, '%s and %s' % (on_disk, other)

    @staticmethod
    def _merged(layers):
        """Names and types, or the class of the error."""
        found = {}
        try:
            with merged.merged(layers, LIMITS, forms.Mapped()) as (
                    root, spools):
                for path, node, _link in tarwrite.walk(root):
                    assert node.kind in _KINDS, node.kind
                    found[b'/' + path] = node.target or node.is_dir
                with open(os.devnull, 'wb') as out:
                    tarwrite.write(root, spools, out.fileno())
        except errors.Unsupported as exc:
            # Holes count here.
            return _LIMIT if 'transport block' in str(exc) else check_words(
                exc)
        except errors.ImageError as exc:
            return check_words(exc)
        found.pop(b'/')
        return found

    def _memory(self, layers):
        """Names and types, or the class of the error."""
        merged = memtree.Merged()
        try:
            for layer in [self._in_memory(layer) for layer in layers]:
                merged.add(*layer)
        except errors.ImageError as exc:
            return check_words(exc)
        found, todo = {}, [(b'', merged.root)]
        while todo:
            path, directory = todo.pop()
            for name, node in directory.items():
                where = path + b'/' + name
                found[where] = (node if isinstance(node, bytes)
                                else isinstance(node, dict))
                if isinstance(node, dict):
                    todo.append((where, node))
        return found

    @staticmethod
    def _in_memory(layer):
        tree = memtree.MemoryTree(LIMITS)
        facts = extract.Extractor(tree, LIMITS).run(
            tarread.TarReader(stream.Reader([layer])))
        return tree, facts

    def _disk(self, layers):
        """Likewise."""
        form = forms.Mapped()
        made = []
        os.mkdir(self.dir + '/layers')
        root = fsutil.open_dir(self.dir + '/layers')
        try:
            for number, layer in enumerate(layers):
                made.append(self._on_disk(layer, '%d' % number, form))
            overlay.finish(root, made, form, ['etc/passwd'])
            for layer in made:
                os.lseek(layer.record, 0, os.SEEK_SET)
                problems = verify.compare(layer.record, layer.tree, form)
                assert not problems, problems
            return self._names(made, form)
        except errors.ImageError as exc:
            return check_words(exc)
        finally:
            for layer in made:
                for fd in (layer.record, layer.facts_fd or layer.facts,
                           layer.tree):
                    if fd is not None:
                        os.close(fd)
            fsutil.empty_dir(root)
            os.close(root)
            os.rmdir(self.dir + '/layers')

    def _on_disk(self, layer, name, form):
        """Unpack one layer; an overlay.Layer for overlay.finish()."""
        base = os.path.join(self.dir, 'layers', name)
        os.makedirs(base + '/tree', 0o700)
        made = overlay.Layer(name, new=True)
        flags = os.O_RDWR | os.O_CREAT
        made.record = os.open(base + '/manifest', flags | os.O_APPEND)
        made.facts = os.open(base + '/facts.json', flags)
        tree = fsutil.open_dir(base + '/tree')
        try:
            writer = manifest.Writer(made.record)
            facts = extract.Extractor(
                disktree.DiskTree(tree, form, LIMITS), LIMITS, writer).run(
                    tarread.TarReader(stream.Reader(
                        layer[i:i + 1000]
                        for i in range(0, len(layer), 1000))))
            writer.close()
            facts.save(made.facts)
        except BaseException:
            os.close(made.record)
            os.close(made.facts)
            raise
        finally:
            os.close(tree)
        return made

    @staticmethod
    def _names(layers, form):
        stack = []
        for number, layer in reversed(list(enumerate(layers))):
            stack.append((number, layer.tree))
            if b'' in layer.facts.opaque:
                break
        merged = view.View(stack, form)
        found, todo = {}, [b'']
        while todo:
            path = todo.pop()
            names = {os.fsencode(name) for _layer, fd
                     in merged.all_of(merged.find(path))
                     for name in os.listdir(fd)}
            for name in names:
                where = path + b'/' + name if path else name
                item = merged.find(where)
                if item is None:
                    continue
                if item.dirs is None:
                    assert stat.S_ISREG(item.st.st_mode), where
                    link = form.readlink(item.fd, item.base)
                    found[b'/' + where] = link or False
                else:
                    found[b'/' + where] = True
                    todo.append(where)
        merged.close()
        return found


def check_words(exc):
    """Look at what the user would read. Returns the error's class."""
    text = str(exc)
    assert 10 < len(text.encode()) <= errors.MESSAGE_BYTES, text
    return type(exc).__name__
