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

"""The image store of one compute host.

::

    images/<image id>.json      one unpacked image
    layers/<chain id, 16 hex>/  tree/ layer.json manifest facts.json
    tmp/<session>/              work under way; locks/

Layers are published one by one, by rename, lowest first, and the image last:
what can be seen is complete. Who relies on a layer of the store until its own
image is published holds the store's lock, and so does who removes one.
"""

import base64
import contextlib
import dataclasses
import errno
import hashlib
import logging
import os
import re
import secrets
import time
from typing import Any

from nova_containervm.images import archive
from nova_containervm.images import build
from nova_containervm.images import diskfile
from nova_containervm.images import durable
from nova_containervm.images import errors
from nova_containervm.images import layout
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import session
from nova_containervm.images import upkeep

LOG = logging.getLogger(__name__)

SCHEMA = 1
_IMAGE_ID = re.compile(r'[0-9A-Za-z][0-9A-Za-z._-]{0,127}')
_LAYER = re.compile(r'[0-9a-f]{16}')


@dataclasses.dataclass(frozen=True)
class StoredImage:
    """An image that is ready to be mounted.

    ``layer_dirs`` are absolute paths of the layers' trees, bottom first,
    without those that hold nothing; ``disk`` that of the one disk which has
    them all, in a store of disks, and ``disk_sum`` what is equal for disks
    that have the same at the same place; ``config`` is the whole image config;
    ``passwd`` and ``group`` are the files of the merged view, or b'';
    ``file_caps`` a list of (path, security.capability in hex); ``size`` and
    ``entries`` what the layers unpack to.
    """

    image_id: str
    architecture: str
    layer_dirs: tuple
    chain_ids: tuple
    config: dict[str, Any]
    passwd: bytes
    group: bytes
    file_caps: tuple
    size: int
    entries: int
    format: str = 'docker'
    disk: str | None = None
    disk_sum: str | None = None


class ImageStore(upkeep.Upkeep):
    """All docker images of a host, unpacked; see diskstore.py for disks.

    :param root: absolute path; made if its parent exists
    :param access_mode: 'mapped' or 'passthrough'
    :param owner: (uid, gid) of files under 'mapped': QEMU's user
    :param limits: limits.Limits
    :param launch: starts the helper with privilege, as
        nova_containervm.privsep.unpack.launch does; None: without
    :param architecture: of this host, as image configs call it
    """

    #: More arguments of a helper that runs without privilege.
    _options: tuple[str, ...] = ()
    #: What a layer's directory holds.
    _CONTENT = 'tree'

    def __init__(self, root, *, access_mode='mapped', owner=None,
                 limits=None, launch=None, architecture=None):
        self.root = os.path.abspath(root)
        self._mode = access_mode
        self._owner = owner or (os.getuid(), os.getgid())
        self._limits = limits or limits_mod.Limits()
        self._launch = launch
        self._architecture = architecture or layout.host_architecture()

    # -- places -----------------------------------------------------------

    @property
    def _inner_mode(self):
        """Mode of directories that lead to what QEMU reads.

        QEMU's user passes through; only its own files open to it. Under
        passthrough there are real setuid files: nobody passes.
        """
        return 0o700 if self._mode == 'passthrough' else 0o711

    def path(self, *parts):
        """Absolute path of something in the store."""
        return os.path.join(self.root, *parts)

    def prepare(self):
        """Make the store's directories; harmless when they exist."""
        os.makedirs(self.root, 0o755, exist_ok=True)
        for name, mode in (('images', 0o700), ('layers', self._inner_mode),
                           ('tmp', self._inner_mode), ('locks', 0o700)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.path(name), 0o700)
                os.chmod(self.path(name), mode)

    def _record_path(self, image_id, ref):
        if not _IMAGE_ID.fullmatch(image_id):
            raise errors.StoreError('impossible image id %s'
                                    % errors.quote(image_id))
        name = image_id
        if ref:
            name += '@' + hashlib.sha256(ref.encode()).hexdigest()[:12]
        return self.path('images', name + '.json')

    def _lock(self, name, shared=False):
        return durable.locked(self.path('locks', name), shared)

    # -- reading ----------------------------------------------------------

    def lookup(self, image_id, ref=None):
        """An image that is in the store and looks whole; else None.

        Cheap enough for every create; verify() looks at every byte.
        """
        record = durable.read_json(self._record_path(image_id, ref))
        if record is None or record.get('schema') != SCHEMA \
                or record.get('access_mode') != self._mode \
                or record.get('owner') != list(self._owner):
            return None
        try:
            for layer in record['layers']:
                if not self._layer_ok(layer['dir'], layer['chain_id']):
                    LOG.warning('Layer %s of docker image %s is damaged or '
                                'missing; the image will be fetched again',
                                layer['dir'], image_id)
                    return None
            return StoredImage(
                image_id=image_id, architecture=record['architecture'],
                config=record['config'],
                passwd=base64.b64decode(record['passwd']),
                group=base64.b64decode(record['group']),
                file_caps=tuple((p, c) for p, c in record['file_caps']),
                size=record['size'], entries=record['entries'],
                format=record['format'], **self._contents(record))
        except (KeyError, TypeError, ValueError):
            LOG.warning('The record of docker image %s is damaged', image_id)
            return None

    def _contents(self, record):
        """What a record's layers are for StoredImage, as a dictionary."""
        dirs = []
        for layer in record['layers']:
            if layer['root_opaque']:
                dirs.clear()
            if layer['entries'] or layer['root_opaque'] or not dirs:
                dirs.append(self.path('layers', layer['dir'], 'tree'))
        return {'layer_dirs': tuple(dirs), 'chain_ids': tuple(
            layer['chain_id'] for layer in record['layers'])}

    def origins(self, image_id, ref=None):
        """Where the layers of an image that lookup() finds come from.

        :returns: dict: ``format`` and ``compression`` of the image's file;
            ``diff_ids``, lowest first; ``blobs``: the members of the file
            that they were, or None if that is not known; ``trees``: absolute
            paths of their directories and the capabilities of files there
            (as StoredImage.file_caps), None if they are not kept apart
        """
        record = durable.read_json(self._record_path(image_id, ref))
        return {'format': record['format'],
                'compression': record.get('compression'),
                'diff_ids': record['config']['rootfs']['diff_ids'],
                'blobs': record.get('blobs'), 'trees': self._trees(record)}

    def _trees(self, record):
        trees = []
        for layer in record['layers']:
            place = self.path('layers', layer['dir'])
            facts = durable.read_json(os.path.join(place, 'facts.json'))
            trees.append((os.path.join(place, 'tree'),
                          sorted(facts['caps'].items())))
        return trees

    def layer_info(self, name):
        """layer.json of a layer's directory, or None."""
        return durable.read_json(self.path('layers', name, 'layer.json'))

    @staticmethod
    def _identity(st):
        """What of a tree's root would show tampering with names in it."""
        return [st.st_ino, st.st_mtime_ns, st.st_uid, st.st_gid, st.st_mode]

    def _layer_ok(self, name, chain_id):
        """Whether a published layer is there and not visibly tampered."""
        info = self.layer_info(name)
        if info is None or info.get('chain_id') != chain_id \
                or info.get('owner') != list(self._owner) \
                or info.get('access_mode') != self._mode:
            return False
        try:
            st = os.stat(self.path('layers', name, self._CONTENT),
                         follow_symlinks=False)
        except OSError:
            return False
        return info.get('root') == self._identity(st)

    # -- filling ----------------------------------------------------------

    def ensure(self, image_id, fetch, *, ref=None, context_name=None):
        """The image, fetched and unpacked if the store does not have it.

        However many processes ask at the same time, one fetches.

        :param image_id: Glance's id
        :param fetch: function without arguments: an iterable of bytes
        :param ref: which image of several in one archive
        :param context_name: how to call the image in the log
        :raises ImageError: the image is at fault
        :raises StoreError: this host is
        """
        record = self._record_path(image_id, ref)
        found = self.lookup(image_id, ref)
        if found is not None:
            with contextlib.suppress(OSError):
                os.utime(record)  # prune() goes by it
            return found
        try:
            return self._fetch(image_id, record, fetch, ref,
                               context_name or image_id)
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise errors.NoSpace('no space left in the image store %s'
                                     % self.root)
            raise

    def _fetch(self, image_id, record, fetch, ref, label):
        self.prepare()
        with self._lock('image-' + os.path.basename(record)[:-5]):
            found = self.lookup(image_id, ref)
            if found is not None:
                return found
            self.sweep()
            start = time.monotonic()
            try:
                self._fill(image_id, record, fetch, ref)
            finally:
                self.sweep()
            found = self.lookup(image_id, ref)
            if found is None:
                raise errors.StoreError('docker image %s was damaged as soon '
                                        'as it was stored' % image_id)
            LOG.info('Unpacked docker image %(name)s: %(layers)d layers, '
                     '%(entries)d entries, %(size)d bytes in %(time).1f s',
                     {'name': label,
                      'layers': len(found.chain_ids),
                      'entries': found.entries, 'size': found.size,
                      'time': time.monotonic() - start})
            return found

    @contextlib.contextmanager
    def session(self):
        """A helper process and a directory of its own in tmp/.

        Yields (session.Session, path of the directory).
        """
        name = '%x-%s' % (int(time.time()), secrets.token_hex(6))
        path = self.path('tmp', name)
        with self._lock('sessions'):
            os.mkdir(path, 0o700)
            lock = os.open(os.path.join(path, 'lock'),
                           os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            durable.try_lock(lock)
        helper = None
        try:
            os.chmod(path, self._inner_mode)
            helper = session.Session(self.root, self._mode, self._owner,
                                     self._launch, name, self._options)
            helper.hold(lock)
            yield helper, path
        finally:
            try:
                self._remove_session(helper, name)
            except (errors.StoreError, OSError) as exc:
                # The next one sweeps it up; this must not hide what failed.
                LOG.warning('Cannot remove %(path)s yet: %(error)s',
                            {'path': path, 'error': exc})
            finally:
                os.close(lock)
                if helper is not None:
                    helper.close()

    def _fill(self, image_id, record, fetch, ref):
        chunks = diskfile.no_disk(fetch())
        with self.session() as (helper, path):
            sink = build.Sink(helper, path, self._limits)
            plan = self._scan(sink, chunks, ref)
            with self._lock('store'):
                self._publish(image_id, record, ref, plan, sink, helper,
                              path)

    def _scan(self, sink, chunks, ref):
        """Read an archive into a sink; return the plan for its image."""
        try:
            found = archive.Scanner(sink, self._limits).scan(chunks)
            sink.settle()
        except BaseException:
            sink.abandon()
            raise
        return build.plan(found, ref, self._architecture, self._limits)

    def _publish(self, image_id, record, ref, plan, sink, helper, place):
        existing = {c: 'layers/' + short(c) for c in plan.chain_ids
                    if self._layer_ok(short(c), c)}
        items = build.arrange(plan, sink, self.root, existing)
        result = helper.request('finish', layers=items, read=build.WANTED,
                                sync=False).result()
        layers, new = [], []
        for item, staged, chain, diff_id in zip(
                items, plan.layers, plan.chain_ids, plan.diff_ids,
                strict=True):
            facts = staged.facts
            if item['new']:
                self._describe_layer(item['dir'], chain, diff_id, facts)
                new.append((item['dir'], chain))
            layers.append({'dir': short(chain), 'chain_id': chain,
                           'entries': facts['entries'],
                           'root_opaque': facts['root_opaque']})
        files = result['files']
        staged_record = os.path.join(place, 'record')
        durable.put_json(staged_record, {
            'schema': SCHEMA, 'image_id': image_id, 'ref': ref,
            'access_mode': self._mode, 'owner': list(self._owner),
            'architecture': plan.architecture, 'format': plan.format,
            'compression': plan.compression, 'blobs': plan.blobs,
            'created_at': time.time(), 'layers': layers,
            'config': plan.config, 'file_caps': result['caps'],
            'passwd': files.get('etc/passwd', ''),
            'group': files.get('etc/group', ''),
            'size': sum(s.facts['size'] for s in plan.layers),
            'entries': sum(s.facts['entries'] for s in plan.layers),
        }, sync=not new)
        if new:
            # All at once: each wait for the disk empties its cache.
            helper.request('sync').result()
            for directory, chain in new:
                self._reveal(directory, chain)
            durable.sync_dir(self.path('layers'))
        durable.publish(staged_record, record)

    def _describe_layer(self, directory, chain, diff_id, facts):
        """Write what lookup() wants to know of a finished layer."""
        place = self.path(directory)
        st = os.stat(os.path.join(place, 'tree'), follow_symlinks=False)
        durable.put_json(os.path.join(place, 'layer.json'), {
            'schema': SCHEMA, 'chain_id': chain, 'diff_id': diff_id,
            'access_mode': self._mode, 'owner': list(self._owner),
            'size': facts['size'], 'entries': facts['entries'],
            'ignored_xattrs': facts['ignored'], 'root': self._identity(st)})

    def _reveal(self, directory, chain):
        """Rename a finished directory of a session into layers/."""
        place = self.path(directory)
        os.chmod(place, self._inner_mode)
        goal = self.path('layers', short(chain))
        if os.path.lexists(goal):
            # Damaged, or another chain of the same short name. Servers that
            # have it mounted keep what they have.
            LOG.warning('Replacing the damaged layer %s', goal)
            os.rename(goal, self.path(
                os.path.dirname(directory), 'x%d' % secrets.randbelow(10**6)))
        os.rename(place, goal)


def short(chain_id):
    """Directory name of a layer."""
    return chain_id.partition(':')[2][:16]


