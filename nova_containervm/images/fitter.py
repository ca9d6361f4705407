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

"""What a layer needs in order to fit on the layers below it.

Each layer was unpacked alone (extract.py). Fitter decides what to change in
it, so that an overlayfs of all layers shows what unpacking one after the
other into one directory would have given:

* directories without a member of their own look like the lower ones;
* directories that are a symbolic link below go where the link leads;
* hard links to files of lower layers become such links, across the layers'
  directories;
* whiteouts of nothing go away: overlayfs would show them in listings.

The changes themselves are up to two objects, on disk (overlay.py, view.py) or
in memory (memtree.py).
"""

from nova_containervm.images import errors
from nova_containervm.images import limits
from nova_containervm.images import names


class Fitter:
    """Makes one new layer fit on those below.

    :param facts: facts.Facts of the layer; afterwards those of the result
    :param own: the layer's tree, an overlay.OwnTree or alike
    :param lower: the layers below, a view.View or alike; may be empty
    """

    def __init__(self, facts, own, lower):
        self._facts = facts
        self._own = own
        self._lower = lower
        self._renamed = 0

    def run(self):
        """Do everything.

        :raises BadMember: what the layer has does not fit
        """
        facts = self._facts
        for path in sorted(facts.implied, key=_depth):
            if path in facts.implied:
                self._follow(path)
        for path in sorted(facts.implied, key=_depth):
            self._imitate(path)
        for path in sorted(facts.whiteouts):
            self._whiteout(path)
        if facts.whiteouts or facts.opaque:
            for path in sorted(facts.implied, key=_depth, reverse=True):
                self._drop(path)
        for path, (target, number) in facts.links.items():
            self._link(path, target, number)

    def _hidden(self, path, itself):
        """Whether this layer hides what is at *path* below."""
        facts = self._facts
        if itself and path in facts.whiteouts:
            return True
        while path:
            path = names.split(path)[0]
            if path in facts.opaque or path in facts.whiteouts:
                return True
        return False

    def _imitate(self, path):
        """Let a directory look like the one below."""
        if self._own.is_dir(path) and not self._hidden(path, itself=True) \
                and self._lower.is_dir(path):
            self._own.imitate(path)

    def _follow(self, path):
        """If the directory is a link below, go where it leads."""
        if not self._own.is_dir(path) or self._hidden(path, itself=True) \
                or not self._lower.is_link(path):
            return
        real = self._lower.resolve(path, missing=True)
        # If there is a file below, the directory takes the link's place.
        if real is not None and (self._lower.is_dir(real) is not False
                                 or self._hidden(real, itself=True)):
            self._move(path, real)

    def _move(self, path, real):
        """Put the directory's contents where they belong."""
        mtime = self._facts.implied[path]
        target = b''
        for part in real.split(b'/') if real else []:
            target = names.join(target, part)
            there = self._own.is_dir(target)
            if self._own.is_whiteout(target):
                # What the link leads to is removed, then made again.
                self._own.make_opaque(target, mtime)
                self._facts.implied[target] = mtime
                self._facts.opaque.add(target)
            elif there is None:
                self._own.make_dir(target, mtime)
                self._facts.implied[target] = mtime
            elif not there:
                raise errors.BadMember(
                    '%s is a symbolic link to %s in a lower layer, and a '
                    'file in this one' % (errors.quote(path),
                                          errors.quote(real)))
        explicit, hiding = self._own.move(path, real, self._facts.implied)
        self._facts.opaque.update(hiding)
        self._rename(path, real)
        for target in explicit:
            self._facts.implied.pop(target, None)

    def _rename(self, old, new):
        """Facts below *old* are now below *new*."""
        def moved(p):
            if p == old:
                return new
            if p.startswith(old + b'/'):
                return names.join(new, p[len(old) + 1:])
            return p
        facts = self._facts
        self._renamed += sum(map(len, (facts.implied, facts.whiteouts,
                                       facts.opaque, facts.links)))
        if self._renamed > limits.RENAMES:
            raise errors.BadMember('too many of its directories are symbolic '
                                   'links in lower layers')
        facts.implied.pop(old, None)
        renamed = {moved(p): t for p, t in facts.implied.items()}
        again = [p for p in renamed if p not in facts.implied]
        facts.implied = renamed
        facts.whiteouts = set(map(moved, facts.whiteouts))
        facts.opaque = set(map(moved, facts.opaque))
        facts.links = {moved(p): v for p, v in facts.links.items()}
        facts.caps = {moved(p): v for p, v in facts.caps.items()}
        for path in sorted(again, key=_depth):
            self._follow(path)

    def _whiteout(self, path):
        if self._own.is_whiteout(path) and (
                self._hidden(path, itself=False)
                or self._lower.is_dir(path) is None):
            self._own.remove_whiteout(path)

    def _drop(self, path):
        """Remove a directory that was made for whiteouts of nothing.

        What holds a file of the layer is not empty; what is a directory
        below stays, with the whiteouts or the mark that it is opaque.
        """
        below = None
        if path and not self._hidden(path, itself=False):
            below = self._lower.is_dir(path)
        white = path in self._facts.whiteouts
        if not path or below and not white:
            return
        if self._own.remove_empty(path, below is not None and white):
            del self._facts.implied[path]
            self._facts.opaque.discard(path)

    def _link(self, path, target, number):
        if self._own.placeholder(path) != number:
            return  # replaced by a later member
        tparent, tbase = names.split(target)
        tparent = self._lower.resolve(tparent)
        below = None
        if tparent is not None:
            target = names.join(tparent, tbase)
            below = self._lower.is_dir(target)
        if below is not False:
            raise errors.BadMember(
                '%s is a hard link to %s, which %s' % (
                    errors.quote(path), errors.quote(target),
                    'is a directory' if below
                    else 'neither this layer nor a lower one has'))
        cap = self._own.link(path, target)
        if cap is not None:
            self._facts.caps[path] = cap


def _depth(path):
    return path.count(b'/'), path
