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

"""One layer from a socket into a tree: the confined side of it."""

import hashlib
import json
import queue
import threading

from nova_containervm.images import errors
from nova_containervm.images import extract
from nova_containervm.images import fsutil
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import manifest
from nova_containervm.images import names
from nova_containervm.images import stream
from nova_containervm.images import tarread

#: Bytes that are read ahead: so much of the next layer can already pass
#: while this one is being written.
READ_AHEAD = 24 * 1024 * 1024
_RECV = 512 * 1024


class Pump(threading.Thread):
    """Reads, decompresses and hashes ahead of the process that unpacks.

    :param chunks: iterable of bytes
    :param compression: None, 'gzip' or 'zstd'
    """

    def __init__(self, chunks, compression):
        super().__init__(daemon=True)
        self._chunks = chunks
        self._compression = compression
        self._space = threading.Semaphore(READ_AHEAD // _RECV)
        self._queue = queue.SimpleQueue()
        #: Bytes before decompression.
        self.taken = 0
        #: sha256 after decompression, when there is one.
        self.hash = hashlib.sha256() if compression else None

    def run(self):
        """In the thread."""
        try:
            chunks = self._count(self._chunks)
            if self._compression:
                chunks = stream.decompress(self._compression, chunks)
            for chunk in chunks:
                if self.hash is not None:
                    self.hash.update(chunk)
                self._space.acquire()
                self._queue.put(chunk)
            self._queue.put(None)
        except BaseException as exc:
            self._queue.put(exc)

    def _count(self, chunks):
        for chunk in chunks:
            self.taken += len(chunk)
            yield chunk

    def output(self):
        """Yield the chunks, in the other thread."""
        while True:
            chunk = self._queue.get()
            if chunk is None:
                return
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
            self._space.release()


def received(sock):
    """Chunks from a socket until the other end shuts it down."""
    while True:
        data = sock.recv(_RECV)
        if not data:
            return
        yield data


def bounded(chunks, limits):
    """Pass chunks on up to an absurd amount: zeros are not free either."""
    most = 16 * limits.max_unpacked_mb * limits_mod.MIB
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > most:
            raise limits.exceeded('max_unpacked_mb',
                                  'a layer unpacks to over 16 times what is '
                                  'allowed, even if mostly zeros')
        yield chunk


def layer(sock, tree_fd, form, limits, record_fd, facts_fd):
    """Unpack the layer that arrives on *sock*.

    :param record_fd: for the manifest
    :param facts_fd: for what depends on lower layers, as JSON
    :returns: dict; 'kind' is 'other' for what is no tar archive
    """
    source = stream.Reader(received(sock))
    head = source.peek(tarread.BLOCK)
    compression = stream.compression(head)
    pump = Pump(source.rest(), compression)
    pump.start()
    reader = stream.Reader(bounded(pump.output(), limits))
    head = reader.peek(tarread.BLOCK)
    if head and not tarread.looks_like_tar(head):
        for _chunk in reader.rest():
            pass
        return {'kind': 'other'}
    record = manifest.Writer(record_fd)
    members = tarread.TarReader(reader, 'the layer')
    job = extract.Extractor(tree_fd, form, limits, record,
                            lambda: pump.taken)
    facts = job.run(members)
    for _chunk in reader.rest():
        pass  # padding: part of the digest
    record.close()
    fsutil.write_all(facts_fd, json.dumps(facts.to_dict()).encode())
    return {
        'kind': 'layer',
        'ended': members.ended,
        'diff_id': 'sha256:' + pump.hash.hexdigest() if compression else None,
        'entries': facts.entries,
        'size': facts.size,
        'root_opaque': b'' in facts.opaque,
        'top': sorted(map(names.text, facts.top)),
        'ignored': sorted(errors.quote(n) for n in facts.ignored)[:20],
    }
