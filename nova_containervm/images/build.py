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

"""From a stream to finished layers in a session's directory."""

import collections
import contextlib
import logging
import os
import shutil

from nova_containervm.images import errors
from nova_containervm.images import layout
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import session

LOG = logging.getLogger(__name__)

#: What is read from the merged view for the caller.
WANTED = ('etc/passwd', 'etc/group')
#: What the root directory of any container has two of at least.
_ROOT_NAMES = frozenset(('.dockerenv', 'bin', 'dev', 'etc', 'lib', 'proc',
                         'run', 'sbin', 'sys', 'tmp', 'usr', 'var'))


class Staged:
    """A blob that may be a layer, being unpacked or done with."""

    def __init__(self, label, directory, task):
        self.label = label
        self.directory = directory
        self._task = task
        self._error = None
        self.facts = None

    def wait(self):
        """Let the unpacking end, well or not."""
        if self._task is not None:
            task, self._task = self._task, None
            try:
                self.facts = task.result()
            except errors.ImageError as exc:
                self._error = exc
            # A StoreError is the host's: no use in going on.
        return self

    def check(self, what):
        """Raise what went wrong, if the image needs this layer."""
        self.wait()
        if self._error is not None:
            raise self._error.at(what)
        if self.facts.get('kind') != 'layer':
            raise errors.Damaged('%s is no tar archive' % what)
        return self.facts


class Sink:
    """Unpacks what may be layers, several at a time, through a session.

    :param helper: session.Session
    :param path: the session's directory, absolute
    :param limits: limits.Limits for the whole image
    :param request: the operation of server.Server that takes a layer
    """

    def __init__(self, helper, path, limits, request='extract'):
        self._session = helper
        self._request = request
        self._path = path
        self._name = 'tmp/' + os.path.basename(path)
        self._limits = limits
        self._running = collections.deque()
        self._most = max(2, min(os.cpu_count() or 2, 8))
        self._size = self._entries = 0  # of layers that are done
        self._layers = self._made = 0

    def new_directory(self):
        """Make the next b<n>; its path below the store's root."""
        name = 'b%d' % self._made
        self._made += 1
        os.mkdir(os.path.join(self._path, name), 0o755)
        os.chmod(os.path.join(self._path, name), 0o755)
        return '%s/%s' % (self._name, name)

    def unpack(self, label, chunks):
        """Start unpacking a blob and feed it; see archive.Scanner."""
        while len(self._running) >= self._most:
            self._reap()
        directory = self.new_directory()
        task = self._session.request(
            self._request, dir=directory, limits=self._limits.to_dict(),
            number=self._layers)
        self._layers += 1
        staged = Staged(label, directory, task)
        self._running.append(staged)
        for chunk in chunks:
            if not task.feed(chunk):
                break
        task.finish()
        return staged

    def decompress(self, kind, chunks):
        """Yield what a whole archive that is compressed unpacks to."""
        return session.Decompressor(self._session, self.new_directory(),
                                    kind, chunks).output()

    def _reap(self):
        staged = self._running.popleft().wait()
        if staged._error is not None and isinstance(
                staged._error, errors.LimitExceeded):
            raise staged._error  # a bomb: no need to see the rest
        if staged.facts is not None:
            self._size += staged.facts['size']
            self._entries += staged.facts['entries']

    def settle(self):
        """Wait for all of them, and count the whole."""
        while self._running:
            self._reap()
        limits_mod.check_total(self._limits, self._size, self._entries)

    def abandon(self):
        """Let everything under way fail: what is there is rubbish."""
        for staged in self._running:
            with contextlib.suppress(errors.StoreError):
                staged.wait()


class Plan:
    """The chosen image: config, and a Staged for every layer.

    ``diff_ids`` and ``chain_ids`` are lowest first; ``layers`` has the
    Staged of each, the same one twice when the image has it twice, and
    ``blobs`` the members of the archive that they were. ``compression`` is
    that of the whole file, or None.
    """

    def __init__(self, config, architecture, layers, diff_ids, image_format,
                 compression):
        self.config = config
        self.architecture = architecture
        self.layers = layers
        self.diff_ids = diff_ids
        self.chain_ids = layout.chain_ids(diff_ids)
        self.format = image_format
        self.blobs = [staged.label for staged in layers]
        self.compression = compression


def plan(archive, ref, architecture, limits):
    """Choose the image and check all its digests.

    :param archive: archive.Archive, all of whose layers have settled
    :raises ImageError: the many ways in which it can be wrong
    """
    if archive.rootfs is not None:
        return _plan_rootfs(archive, architecture)
    found = layout.Layout(archive)
    image = found.choose(ref, architecture)
    rootfs = image.config.get('rootfs')
    diff_ids = rootfs.get('diff_ids') if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list):
        diff_ids = []
    if len(image.layers) > limits.max_layers:
        raise limits.exceeded('max_layers',
                              'the image has %d layers' % len(image.layers))
    if len(diff_ids) != len(image.layers):
        raise errors.Damaged(
            'the image has %d layers, but its config lists %d'
            % (len(image.layers), len(diff_ids)))
    layers = []
    for number, (name, digest, diff_id) in enumerate(
            zip(image.layers, image.digests, diff_ids, strict=True), 1):
        what = 'layer %d of %d (%s)' % (
            number, len(diff_ids),
            errors.short(digest) if digest else errors.quote(name, 24))
        layers.append(_layer(archive, what, name, digest, str(diff_id)))
    return Plan(image.config, image.architecture or architecture, layers,
                [str(d) for d in diff_ids],
                'oci' if archive.get('index.json') else 'docker',
                archive.compression)


def _layer(archive, what, name, digest, diff_id):
    """The Staged of one layer, its digests checked."""
    blob = archive.get(name)
    if blob is None and digest:
        blob = archive.by_digest.get(digest)
    if blob is None:
        raise errors.Damaged('%s is not in the archive; was the file repacked '
                             'or cut off?' % what)
    if digest and blob.digest != digest:
        raise errors.DigestMismatch(
            '%s is damaged: its digest is %s; upload the image again'
            % (what, errors.short(blob.digest)))
    if blob.kind != 'layer':
        raise errors.Damaged('%s is no tar archive' % what)
    # Before what is wrong in it: a layer that was damaged on its way is bad
    # in a way that nobody can mend.
    if not blob.compressed:
        _same(what, blob.digest, diff_id)
    facts = blob.layer.check(what)
    if blob.compressed:
        _same(what, facts['diff_id'], diff_id)
    return blob.layer


def _same(what, actual, wanted):
    if actual != wanted:
        raise errors.DigestMismatch(
            # Short: Nova cuts what it keeps of a fault.
            '%s is damaged: digest %s, config says %s; upload it again'
            % (what, _digits(actual), _digits(wanted)))


def _digits(digest):
    return errors.short(digest).rpartition(':')[2]


def _plan_rootfs(archive, architecture):
    facts = archive.rootfs.check('the root filesystem')
    known = _ROOT_NAMES.intersection(facts['top'])
    if len(known) < 2:
        raise errors.NotAnImage(
            'the file is a tar archive, but neither a docker image (it has '
            'no manifest.json and no index.json) nor a root filesystem (it '
            'has no usual directories)')
    if not facts['ended']:
        raise errors.Truncated('the root filesystem has no end mark: the '
                               'upload was cut off')
    diff_id = facts['diff_id'] or 'sha256:' + archive.rootfs_digest
    config = {'architecture': architecture, 'os': 'linux', 'config': {},
              'rootfs': {'type': 'layers', 'diff_ids': [diff_id]}}
    return Plan(config, architecture, [archive.rootfs], [diff_id], 'rootfs',
                archive.compression)


def arrange(the_plan, sink, root, existing):
    """Directories of all layers, lowest first, for the helper's finish.

    A layer that occurs twice needs a second directory.

    :param existing: chain id -> directory of a layer that is in the store
    :returns: list of dicts: dir, new, copy_of
    """
    items = []
    used = set()
    for staged, chain in zip(the_plan.layers, the_plan.chain_ids,
                             strict=True):
        if chain in existing:
            items.append({'dir': existing[chain], 'new': False})
            continue
        item = {'dir': staged.directory, 'new': True}
        if staged.directory in used:
            item = {'dir': sink.new_directory(), 'new': True,
                    'copy_of': staged.directory}
            for name in ('facts.json', 'manifest'):
                shutil.copyfile(os.path.join(root, staged.directory, name),
                                os.path.join(root, item['dir'], name))
        used.add(staged.directory)
        items.append(item)
    return items
