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

"""The image store's other form: one disk image for each docker image.

It lies in a directory of layers/ that has the name of the image's uppermost
layer, whose chain id says everything of what is in it::

    layers/<chain id, 16 hex>/  disk.erofs layer.json

An image may also be uploaded as a disk (diskfile.py). It is kept as it is, in
raw form, under the digest of its bytes; what is on it may then be ext4 or
squashfs as well.

The rest is as in store.py: records, sessions, locks, and what upkeep.py does.
"""

import base64
import os
import time
import uuid

from nova_containervm.images import build
from nova_containervm.images import diskfile
from nova_containervm.images import diskfill
from nova_containervm.images import diskserver
from nova_containervm.images import durable
from nova_containervm.images import errors
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import mkerofs
from nova_containervm.images import store

short = store.short

#: In the record of an image that was uploaded as a disk.
FORMAT = 'disk'

#: Of the ids of file systems, which are made of the digest of their contents.
_NAMESPACE = uuid.UUID('6c7ff6a1-0d4e-4d43-9d0b-3f1d2c7b7a52')


class DiskStore(store.ImageStore):
    """All docker images of a host, each as a disk.

    :param compression: of mkerofs.COMPRESSIONS, for images made from now on
    :param mkfs: name or path of mkfs.erofs; with a ``launch`` it counts what
        that one has been told
    :param to_raw: function(path of a qcow2 that a stranger has made, path of
        the raw disk to make, most bytes that it may have), which raises
        ImageError; None: qcow2 is not taken
    """

    _CONTENT = diskserver.DISK

    def __init__(self, root, *, compression='none', mkfs=mkerofs.COMMAND,
                 to_raw=None, **kwargs):
        super().__init__(root, access_mode='block', **kwargs)
        self._compression = compression
        self._to_raw = to_raw
        self._options = ('--mkfs', mkfs)

    def _contents(self, record):
        (layer,) = record['layers']
        kind, value = self._checksum(self.layer_info(layer['dir']))
        return {'layer_dirs': (), 'chain_ids': tuple(record['chain_ids']),
                'disk': self.path('layers', layer['dir'], diskserver.DISK),
                'disk_sum': '%s:%s' % (kind, value)}

    @staticmethod
    def _checksum(info):
        """(kind, value) of the checksum in a layer.json."""
        kind = (diskfill.SHA256 if diskfill.SHA256 in info
                else diskfill.CRC)
        return kind, info.get(kind)

    def _trees(self, record):
        return None

    @staticmethod
    def _identity(st):
        """What of a disk would show that it is another or was written to.

        Not its owner: libvirt gives it to QEMU, whoever that is today.
        """
        return [st.st_ino, st.st_mtime_ns, st.st_size]

    def _layer_problems(self, helper, name):
        info = self.layer_info(name)
        if info is None:
            return ['layer.json is missing or unreadable']
        if not self._layer_ok(name, info.get('chain_id')):
            return ['the disk is not as it was stored']
        kind, value = self._checksum(info)
        try:
            answer = helper.request('check', dir='layers/' + name,
                                    kind=kind).result()
        except errors.StoreError as exc:
            return [str(exc).splitlines()[-1]]
        if answer['found'] != value:
            return ['the disk has other contents']
        return []

    def is_disk(self, image_id, ref=None):
        """Whether an image that is here was uploaded as a disk."""
        record = durable.read_json(self._record_path(image_id, ref))
        return record is not None and record.get('format') == FORMAT

    def _fill(self, image_id, record, fetch, ref):
        kind, chunks = diskfile.peek(fetch())
        if kind is not None:
            self._take(image_id, record, kind, chunks, ref)
            return
        with self.session() as (helper, path):
            sink = build.Sink(helper, path, self._limits, 'spool')
            plan = self._scan(sink, chunks, ref)
            if not plan.layers:
                raise errors.NotAnImage('the image has no layers: there is '
                                        'nothing in it that could be run')
            name = short(plan.chain_ids[-1])
            with self._lock('store'):
                if self._layer_ok(name, plan.chain_ids[-1]):
                    self._publish_record(image_id, record, ref, plan)
                    return
            directory = self._make(plan, sink, helper)
            with self._lock('store'):
                if not self._layer_ok(name, plan.chain_ids[-1]):
                    self._reveal(directory, plan.chain_ids[-1])
                    durable.sync_dir(self.path('layers'))
                self._publish_record(image_id, record, ref, plan)

    def _take(self, image_id, record, kind, chunks, ref):
        """Store a disk as it comes."""
        with self.session() as (helper, path):
            upload = os.path.join(path, 'upload')
            self._receive(chunks, upload)
            raw = upload
            if kind == diskfile.QCOW2:
                raw = os.path.join(path, 'raw')
                self._convert(upload, raw)
                os.unlink(upload)
            with open(raw, 'rb') as disk:
                said = diskfile.read(disk.fileno())
            config = self._accepted(said)
            place = 'tmp/%s/b0' % os.path.basename(path)
            os.mkdir(self.path(place), 0o755)
            disk = self.path(place, diskserver.DISK)
            os.rename(raw, disk)
            taken = helper.request('take', dir=place,
                                   size=said.size or 0).result()
            if said.sha256 not in (None, taken['filesystem']):
                raise errors.DigestMismatch(
                    'the filesystem on the disk is not the one that its '
                    'description is of: it was damaged or written to; '
                    'convert and upload the image again')
            st = os.stat(disk, follow_symlinks=False)
            chain = 'sha256:' + taken['sha256']
            # There are no layers to be had any more, whatever it says.
            config['rootfs'] = {'type': 'layers', 'diff_ids': [chain]}
            # Not of the files on it, which nobody has looked at
            about = {'entries': 0, 'file_caps': [],
                     'passwd': base64.b64encode(said.passwd).decode(),
                     'group': base64.b64encode(said.group).decode()}
            durable.write_json(self.path(place, 'layer.json'), {
                'schema': store.SCHEMA, 'chain_id': chain,
                'access_mode': self._mode, 'owner': list(self._owner),
                'size': st.st_size, 'root': self._identity(st),
                'sha256': taken['sha256'], 'compression': None,
                'mkfs': None, 'unpacked': st.st_size, **about})
            with self._lock('store'):
                if not self._layer_ok(short(chain), chain):
                    self._reveal(place, chain)
                    durable.sync_dir(self.path('layers'))
                durable.write_json(record, {
                    'schema': store.SCHEMA, 'image_id': image_id,
                    'ref': ref, 'access_mode': self._mode,
                    'owner': list(self._owner), 'format': FORMAT,
                    'architecture': self._architecture,
                    'created_at': time.time(), 'chain_ids': [chain],
                    'layers': [{'dir': short(chain), 'chain_id': chain}],
                    'compression': None, 'blobs': None, 'config': config,
                    'size': st.st_size, **about})

    def _receive(self, chunks, path):
        most = self._limits.max_image_mb * limits_mod.MIB
        size = 0
        with open(path, 'xb') as out:
            for chunk in chunks:
                size += len(chunk)
                if size > most:
                    raise self._limits.exceeded(
                        'max_image_mb', 'the image is larger than allowed')
                out.write(chunk)

    def _convert(self, source, target):
        if self._to_raw is None:
            raise errors.Unsupported('the image is a qcow2, which cannot be '
                                     'read here')
        self._to_raw(source, target,
                     self._limits.max_unpacked_mb * limits_mod.MIB)

    def _accepted(self, said):
        """The config of a disk, if this host can run it."""
        if said.architecture not in (None, self._architecture):
            raise errors.WrongArchitecture(
                'the image is for %s, this compute host is %s' % (
                    errors.quote(said.architecture), self._architecture))
        return said.config

    def _make(self, plan, sink, helper):
        """Make the disk, in the session's directory.

        :returns: the directory that it is in
        """
        directory = sink.new_directory()
        chain = plan.chain_ids[-1]
        made = helper.request(
            'disk', dir=directory, limits=self._limits.to_dict(),
            layers=[staged.directory for staged in plan.layers],
            compression=self._compression, read=build.WANTED,
            uuid=str(uuid.uuid5(_NAMESPACE, chain))).result()
        helper.request('empty', dir=directory, name='work').result()
        os.rmdir(self.path(directory, 'work'))
        st = os.stat(self.path(directory, diskserver.DISK),
                     follow_symlinks=False)
        files = made['files']
        durable.write_json(self.path(directory, 'layer.json'), {
            'schema': store.SCHEMA, 'chain_id': chain,
            'access_mode': self._mode, 'owner': list(self._owner),
            'size': made['bytes'], 'root': self._identity(st),
            diskfill.CRC: made[diskfill.CRC],
            'compression': self._compression,
            'mkfs': made['version'], 'entries': made['entries'],
            'unpacked': made['size'], 'file_caps': made['caps'],
            'passwd': files.get('etc/passwd', ''),
            'group': files.get('etc/group', '')})
        return directory

    def _publish_record(self, image_id, record, ref, plan):
        chain = plan.chain_ids[-1]
        info = self.layer_info(short(chain))
        durable.write_json(record, {
            'schema': store.SCHEMA, 'image_id': image_id, 'ref': ref,
            'access_mode': self._mode, 'owner': list(self._owner),
            'architecture': plan.architecture, 'format': plan.format,
            'created_at': time.time(), 'chain_ids': plan.chain_ids,
            'layers': [{'dir': short(chain), 'chain_id': chain}],
            'compression': plan.compression, 'blobs': plan.blobs,
            'config': plan.config, 'size': info['unpacked'],
            **{key: info[key] for key in ('entries', 'file_caps', 'passwd',
                                          'group')}})
