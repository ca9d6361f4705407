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

"""What the image store does beside storing: removing, checking, listing."""

import contextlib
import logging
import os
import re
import secrets
import time

from nova_containervm.images import durable
from nova_containervm.images import errors
from nova_containervm.images import session

LOG = logging.getLogger(__name__)

_LAYER = re.compile(r'[0-9a-f]{16}')


class Upkeep:
    """The part of store.ImageStore that looks after what is stored."""

    # -- removing ---------------------------------------------------------

    def _remove_dir(self, helper, directory):
        """Remove tmp/<session>/<one> or layers/<one>."""
        place = self.path(directory)
        for name in os.listdir(place):
            path = os.path.join(place, name)
            if os.path.isdir(path) and not os.path.islink(path):
                helper.request('empty', dir=directory, name=name).result()
                os.rmdir(path)
            else:
                os.unlink(path)
        os.rmdir(place)

    def _remove_session(self, helper, name):
        path = self.path('tmp', name)
        for entry in os.listdir(path):
            full = os.path.join(path, entry)
            if os.path.isdir(full) and not os.path.islink(full):
                self._remove_dir(helper, 'tmp/%s/%s' % (name, entry))
            elif entry != 'lock':
                os.unlink(full)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(path, 'lock'))
        os.rmdir(path)

    def _try_remove_session(self, helper, name):
        try:
            self._remove_session(helper, name)
        except FileNotFoundError:
            pass
        except (errors.StoreError, OSError) as exc:
            LOG.warning('Cannot remove %(path)s: %(error)s',
                        {'path': self.path('tmp', name), 'error': exc})

    def sweep(self):
        """Remove what crashed processes left in tmp/ and locks/."""
        dead = []
        durable.remove_stale(self.path('locks'))
        with self._lock('sessions'):
            for name in os.listdir(self.path('tmp')):
                with contextlib.suppress(FileNotFoundError,
                                         NotADirectoryError):
                    fd = os.open(self.path('tmp', name, 'lock'),
                                 os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                                 | os.O_NOFOLLOW, 0o600)
                    if durable.try_lock(fd):
                        dead.append((name, fd))
                    else:
                        os.close(fd)
        if not dead:
            return
        try:
            LOG.info('Removing what is left of %d interrupted downloads',
                     len(dead))
            with self._broom(dead) as helper:
                for name, _fd in dead:
                    self._try_remove_session(helper, name)
        except (errors.StoreError, OSError) as exc:
            # Nothing that should keep nova-compute from starting.
            LOG.warning('Cannot remove what is left of interrupted downloads '
                        'in %(path)s: %(error)s',
                        {'path': self.path('tmp'), 'error': exc})
        finally:
            for _name, fd in dead:
                os.close(fd)

    @contextlib.contextmanager
    def _broom(self, dead):
        """A helper process to remove dead sessions with.

        It works in the directory of one of them: there may be no room left
        for another. That one becomes the last.
        """
        for item in dead:
            name, lock = item
            if session.NAME.fullmatch(name):
                dead.remove(item)
                dead.append(item)
                helper = session.Session(self.root, self._mode, self._owner,
                                         self._launch, name)
                try:
                    helper.hold(lock)
                    yield helper
                finally:
                    helper.close()
                return
        with self.session() as (helper, _path):
            yield helper

    # -- listing ----------------------------------------------------------

    def records(self):
        """Yield (path, record) of every image; record None if unreadable."""
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.path('images'))):
                if name.endswith('.json'):
                    path = self.path('images', name)
                    yield path, durable.read_json(path)

    def has(self, image_id):
        """Whether there is a record of an image, whole or not. Reads none."""
        try:
            names = os.listdir(self.path('images'))
        except FileNotFoundError:
            return False
        return any(name.partition('@')[0].removesuffix('.json') == image_id
                   for name in names)

    def layers(self):
        """Names of all published layers."""
        try:
            return sorted(n for n in os.listdir(self.path('layers'))
                          if _LAYER.fullmatch(n))
        except FileNotFoundError:
            return []

    # -- aging ------------------------------------------------------------

    def prune(self, in_use, min_age):
        """Remove images that no server has used for a while.

        :param in_use: Glance ids of the images of this host's servers
        :param min_age: seconds since an image was last used
        :returns: list of the image ids that were removed
        """
        self.prepare()
        now = time.time()
        removed = []
        self.sweep()
        with self._lock('store'):
            needed = set()
            for path, record in self.records():
                image_id = (record or {}).get('image_id')
                try:
                    if image_id in in_use:
                        os.utime(path)
                    elif now - os.stat(path).st_mtime >= min_age \
                            or record is None:
                        os.unlink(path)
                        removed.append(image_id or os.path.basename(path))
                        continue
                except FileNotFoundError:
                    continue
                needed.update(layer.get('dir') for layer
                              in record.get('layers', ()))
            durable.sync_dir(self.path('images'))
            unused = [n for n in self.layers() if n not in needed]
            if unused:
                self._discard(unused)
        return removed

    def _discard(self, layers):
        """Remove layers; the caller holds the store's lock."""
        with self.session() as (_helper, path):
            for name in layers:
                LOG.info('Removing the unused layer %s', name)
                os.rename(self.path('layers', name),
                          os.path.join(path, 'x%d' % secrets.randbelow(
                              10 ** 6)))
            durable.sync_dir(self.path('layers'))
            # Leaving the session removes what is in its directory.

    # -- checking ---------------------------------------------------------

    def verify(self, repair=False):
        """Compare every layer and record with what was stored.

        :param repair: take damaged layers, and the images that have them,
            out of the store: the next use fetches them again
        :returns: dict: name -> list of problems, for what is damaged
        """
        self.prepare()
        found = {}
        with self._lock('store'):
            names = self.layers()
            if names:
                with self.session() as (helper, _path):
                    for name in names:
                        problems = self._layer_problems(helper, name)
                        if problems:
                            found['layer ' + name] = problems
            for path, record in self.records():
                problems = self._record_problems(record, found)
                if problems:
                    found['image ' + os.path.basename(path)[:-5]] = problems
            if repair and found:
                self._repair(found)
        return found

    def _layer_problems(self, helper, name):
        info = self.layer_info(name)
        if info is None:
            return ['layer.json is missing or unreadable']
        if not self._layer_ok(name, info.get('chain_id')):
            return ['the root of its tree is not as it was stored']
        if info.get('chain_id', '')[7:23] != name:
            return ['it belongs to the chain %s' % info.get('chain_id')]
        try:
            return helper.request(
                'verify', dir='layers/' + name).result()['problems']
        except errors.StoreError as exc:
            return [str(exc).splitlines()[-1]]

    def _record_problems(self, record, found):
        if record is None:
            return ['unreadable']
        problems = []
        for layer in record.get('layers', ()):
            name = layer.get('dir')
            if 'layer ' + str(name) in found:
                problems.append('its layer %s is damaged' % name)
            elif not self._layer_ok(name, layer.get('chain_id')):
                problems.append('its layer %s is missing' % name)
        return problems

    def _repair(self, found):
        for what in found:
            kind, _space, name = what.partition(' ')
            if kind == 'image':
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path('images', name + '.json'))
        durable.sync_dir(self.path('images'))
        broken = [what.partition(' ')[2] for what in found
                  if what.startswith('layer ')]
        if broken:
            self._discard(broken)
