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
import queue
import threading

from nova_containervm.images import disktree
from nova_containervm.images import errors
from nova_containervm.images import extract
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import manifest
from nova_containervm.images import names
from nova_containervm.images import stream
from nova_containervm.images import tarread
from nova_containervm.images import writeback

#: Bytes that are read ahead: so much of the next layer can already pass
#: while this one is being written.
READ_AHEAD = 64 * 1024 * 1024
_RECV = 512 * 1024


class Source:
    """A layer's bytes, decompressed and hashed on the way.

    :param chunks: iterable of bytes
    :raises Unsupported: compressed in a way that we do not read
    """

    def __init__(self, chunks):
        self._reader = stream.Reader(chunks)
        kind = stream.compression(self._reader.peek(tarread.BLOCK))
        self._compression = kind
        #: sha256 after decompression, None when there is none.
        self.hash = hashlib.sha256() if kind else None

    def taken(self):
        """Bytes read so far, before decompression."""
        return self._reader.offset

    def output(self):
        """Yield the bytes after decompression, once."""
        chunks = self._reader.rest()
        if not self._compression:
            yield from chunks
            return
        for chunk in stream.decompress(self._compression, chunks):
            self.hash.update(chunk)
            yield chunk


class Pump(threading.Thread):
    """Lets a Source work ahead of the process that unpacks."""

    def __init__(self, source):
        super().__init__(daemon=True)
        self._source = source
        self._space = threading.Semaphore(READ_AHEAD // _RECV)
        self._queue = queue.SimpleQueue()

    def run(self):
        """In the thread."""
        try:
            for chunk in self._source.output():
                self._space.acquire()
                self._queue.put(chunk)
            self._queue.put(None)
        except BaseException as exc:
            self._queue.put(exc)

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


def layer(sock, tree_fd, form, limits, account, record_fd, facts_fd):
    """Unpack the layer that arrives on *sock*.

    :param account: limits.Account of the layer
    :param record_fd: for the manifest
    :param facts_fd: for what depends on lower layers, as JSON
    :returns: see read()
    """
    source = Source(received(sock))
    pump = Pump(source)
    pump.start()
    record = manifest.Writer(record_fd)
    later = writeback.Writeback()
    later.start()
    tree = disktree.DiskTree(tree_fd, form, limits, later)
    result, facts = read(source, pump.output(), tree, limits, account, record)
    later.finish()
    if facts is not None:
        record.close()
        facts.save(facts_fd)
    return result


def read(source, chunks, tree, limits, account, record=None):
    """Unpack a layer into a tree.

    :param source: the Source
    :param chunks: its output
    :param tree: see extract.Extractor
    :returns: (dict, facts.Facts or None); 'kind' in the dict is 'other' for
        what is no tar archive
    """
    reader = stream.Reader(bounded(chunks, limits))
    head = reader.peek(tarread.BLOCK)
    if head and not tarread.looks_like_tar(head):
        for _chunk in reader.rest():
            pass
        return {'kind': 'other', 'size': 0, 'entries': 0}, None
    members = tarread.TarReader(reader, 'the layer')
    facts = extract.Extractor(tree, limits, record, account,
                              source.taken).run(members)
    for _chunk in reader.rest():
        pass  # padding: part of the digest
    digest = source.hash and 'sha256:' + source.hash.hexdigest()
    return {
        'kind': 'layer',
        'ended': members.ended,
        'diff_id': digest,
        'entries': facts.entries,
        'size': facts.size,
        'root_opaque': b'' in facts.opaque,
        'top': sorted(map(names.text, facts.top)),
        'ignored': sorted(errors.quote(n) for n in facts.ignored)[:20],
    }, facts
