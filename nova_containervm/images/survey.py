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

"""Look an archive over without unpacking it: what would a server run?"""

import hashlib

from nova_containervm.images import archive
from nova_containervm.images import build
from nova_containervm.images import errors
from nova_containervm.images import forms
from nova_containervm.images import layout
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import names
from nova_containervm.images import stream
from nova_containervm.images import tarread


class Counted(build.Staged):
    """A layer that has only been read."""

    def __init__(self, label, facts, error):
        super().__init__(label, None, None)
        self.facts = facts
        self._error = error


class Sink:
    """Stands in for build.Sink: reads layers and keeps nothing.

    :param limits: limits.Limits
    """

    def __init__(self, limits):
        self._limits = limits

    def unpack(self, label, chunks):
        """Read one layer; errors are kept for when it is wanted."""
        try:
            return Counted(label, self._read(chunks), None)
        except errors.LimitExceeded:
            raise
        except errors.ImageError as exc:
            return Counted(label, None, exc)

    def _read(self, chunks):
        reader = stream.Reader(chunks)
        kind = stream.compression(reader.peek(tarread.BLOCK))
        digest = None
        if kind:
            digest = hashlib.sha256()
            reader = stream.Reader(_hashed(
                stream.decompress(kind, reader.rest()), digest))
        head = reader.peek(tarread.BLOCK)
        if head and not tarread.looks_like_tar(head):
            return {'kind': 'other', 'size': 0, 'entries': 0}
        members = tarread.TarReader(reader, 'the layer')
        facts = {'kind': 'layer', 'entries': 0, 'size': 0, 'caps': 0,
                 'top': set(), 'root_opaque': False, 'ignored': set()}
        for member in members:
            self._count(member, facts)
        for _chunk in reader.rest():
            pass
        facts.update(ended=members.ended, top=sorted(facts['top']),
                     diff_id=digest and 'sha256:' + digest.hexdigest())
        return facts

    def _count(self, member, facts):
        path = names.normalize(member.name, 'member', self._limits)
        if member.type == tarread.LINK:
            names.normalize(member.linkname, 'link target', self._limits)
        facts['entries'] += 1
        facts['size'] += member.stored
        if len(facts['top']) < 64:
            facts['top'].add(names.text(path.split(b'/', 1)[0]))
        if path == names.OPAQUE:
            facts['root_opaque'] = True
        if member.xattrs:
            kept, ignored = forms.wanted_xattrs(member)
            facts['caps'] += forms.CAPABILITY in kept
            facts['ignored'].update(ignored)
        if facts['entries'] > self._limits.max_entries:
            raise self._limits.exceeded('max_entries', 'more files and '
                                        'directories than allowed')
        if facts['size'] > self._limits.max_unpacked_mb * limits_mod.MIB:
            raise self._limits.exceeded('max_unpacked_mb', 'the image '
                                        'unpacks to more than allowed')


def _hashed(chunks, digest):
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _command(config):
    """What a server would run, or None."""
    entry = config.get('Entrypoint') or []
    cmd = config.get('Cmd') or []
    entry = [entry] if isinstance(entry, str) else list(entry)
    cmd = [cmd] if isinstance(cmd, str) else list(cmd)
    return entry + cmd or None


def survey(chunks, ref=None, architecture=None, limits=None):
    """Read an archive to its end.

    :param chunks: iterable of bytes
    :param ref: which image, if there are several
    :param architecture: as in image configs; None for this host's
    :returns: dict of plain values: what --json prints
    :raises ImageError: no server can be made of it
    """
    limits = limits or limits_mod.Limits()
    architecture = architecture or layout.host_architecture()
    found = archive.Scanner(Sink(limits), limits).scan(chunks)
    images = []
    if found.rootfs is None:
        images = [str(i) for i in layout.Layout(found).images]
    plan = build.plan(found, ref, architecture, limits)
    config = plan.config.get('config')
    config = config if isinstance(config, dict) else {}
    problems = []
    command = _command(config)
    if command is None:
        problems.append('no command: set the image property '
                        'containervm_command')
    ignored = sorted({errors.quote(n) for s in plan.layers
                      for n in s.facts['ignored']})
    if ignored:
        problems.append('extended attributes that are not kept: %s'
                        % ', '.join(ignored[:10]))
    return {
        'format': plan.format, 'compression': found.compression,
        'images': images, 'architecture': plan.architecture,
        'command': command, 'environment': config.get('Env') or [],
        'user': config.get('User') or 'root',
        'working_directory': config.get('WorkingDir') or '/',
        'stop_signal': config.get('StopSignal') or 'SIGTERM',
        'exposed_ports': sorted(config.get('ExposedPorts') or ()),
        'volumes': sorted(config.get('Volumes') or ()),
        'layers': [{'diff_id': diff_id, 'chain_id': chain,
                    'entries': staged.facts['entries'],
                    'size': staged.facts['size']}
                   for staged, diff_id, chain in zip(
                       plan.layers, plan.diff_ids, plan.chain_ids,
                       strict=True)],
        'entries': sum(s.facts['entries'] for s in plan.layers),
        'size': sum(s.facts['size'] for s in plan.layers),
        'file_capabilities': sum(s.facts['caps'] for s in plan.layers),
        'problems': problems, 'config': plan.config,
    }
