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

from nova_containervm.guest import container
from nova_containervm.guest import errors as guest_errors
from nova_containervm.guest import overrides
from nova_containervm.images import archive
from nova_containervm.images import build
from nova_containervm.images import disksurvey
from nova_containervm.images import errors
from nova_containervm.images import facts
from nova_containervm.images import layout
from nova_containervm.images import limits as limits_mod
from nova_containervm.images import memtree
from nova_containervm.images import stream
from nova_containervm.images import unpack


class Counted(build.Staged):
    """A layer that has been unpacked to memory, without contents."""

    def __init__(self, label, facts=None, tree=None, found=None, error=None):
        super().__init__(label, None, None)
        self.facts = facts
        self.tree = tree
        self.found = found
        self._error = error


class Sink:
    """Stands in for build.Sink: reads layers and keeps their names.

    :param limits: limits.Limits
    """

    def __init__(self, limits):
        self._limits = limits
        self._ledger = limits_mod.Ledger()
        self._layers = 0

    def unpack(self, label, chunks):
        """Read one layer; errors are kept for when it is wanted."""
        account = self._ledger.account(self._layers, self._limits)
        self._layers += 1
        tree = memtree.MemoryTree(self._limits)
        try:
            source = unpack.Source(chunks)
            result, found = unpack.read(source, source.output(), tree,
                                        self._limits, account)
            return Counted(label, result, tree, found)
        except errors.LimitExceeded:
            raise
        except errors.ImageError as exc:
            return Counted(label, error=exc)

    def decompress(self, kind, chunks):
        """Yield what a whole archive that is compressed unpacks to."""
        return stream.decompress(kind, chunks)


def _merge(layers):
    """Put the layers on top of each other, as a host would.

    :param layers: list of Counted, lowest first
    :raises ImageError: they do not fit
    """
    merged = memtree.Merged()
    for number, layer in enumerate(layers, 1):
        # One that occurs twice is needed unchanged.
        known = facts.Facts.from_dict(layer.found.to_dict())
        try:
            merged.add(layer.tree.copy(), known)
        except errors.ImageError as exc:
            raise exc.at('layer %d of %d' % (number, len(layers)))
    return merged


def _run(config, passwd, group, given):
    """What a server would run.

    :returns: (container.Container or None, problem or None)
    """
    try:
        return container.resolve(
            config, given or overrides.Overrides(), hostname='server',
            passwd=passwd, group=group), None
    except guest_errors.ContractError as exc:
        return None, str(exc)


def _texts(value):
    """Strings of a config, whatever its author made of them."""
    if isinstance(value, str):
        return [value]
    return [str(v) for v in value] if isinstance(value, dict | list) else []


def survey(chunks, ref=None, architecture=None, limits=None, given=None):
    """Read an archive, or a disk, to its end.

    :param chunks: iterable of bytes
    :param ref: which image, if there are several
    :param architecture: as in image configs; None for this host's
    :param given: overrides.Overrides of the image, or None
    :returns: dict of plain values: what --json prints. ``command`` is None
        if there is nothing to run; why is the first of the ``problems``
    :raises ImageError: no server can be made of it
    """
    limits = limits or limits_mod.Limits()
    architecture = architecture or layout.host_architecture()
    kind, chunks = disksurvey.peek(chunks)
    if kind is not None:
        return _disk(kind, chunks, architecture, limits, given)
    found = archive.Scanner(Sink(limits), limits).scan(chunks)
    images = []
    if found.rootfs is None:
        images = [str(i) for i in layout.Layout(found).images]
    plan = build.plan(found, ref, architecture, limits)
    merged = _merge(plan.layers)
    run, problem = _run(plan.config, merged.read(b'etc/passwd'),
                        merged.read(b'etc/group'), given)
    problems = [problem] if problem else []
    ignored = sorted({n for s in plan.layers for n in s.facts['ignored']})
    if ignored:
        problems.append('extended attributes that are not kept: %s'
                        % ', '.join(ignored[:10]))
    problems += [d for s in plan.layers for d in s.tree.doubts]
    return {
        'format': plan.format, 'compression': found.compression,
        'images': images, 'architecture': plan.architecture,
        **_of_config(plan.config, run),
        'layers': [{'diff_id': diff_id, 'chain_id': chain,
                    'entries': staged.facts['entries'],
                    'size': staged.facts['size']}
                   for staged, diff_id, chain in zip(
                       plan.layers, plan.diff_ids, plan.chain_ids,
                       strict=True)],
        'entries': sum(s.facts['entries'] for s in plan.layers),
        'size': sum(s.facts['size'] for s in plan.layers),
        'file_capabilities': sum(len(s.found.caps) for s in plan.layers),
        'problems': problems, 'config': plan.config,
    }


def _disk(kind, chunks, architecture, limits, given):
    said, bootable, virtual = disksurvey.describe(kind, chunks, limits)
    if said.architecture not in (None, architecture):
        raise errors.WrongArchitecture(
            'the image is for %s, and the host is %s' % (
                errors.quote(said.architecture), architecture))
    if bootable:
        # It has what others have in Glance.
        try:
            given = overrides.parse(image=said.properties)
        except guest_errors.InvalidOverride as exc:
            raise errors.Damaged(str(exc))
    run, problem = _run(said.config, said.passwd, said.group, given)
    return {
        'format': 'bootable' if bootable else 'disk', 'compression': None,
        'images': [], 'architecture': said.architecture or architecture,
        **_of_config(said.config, run),
        'filesystem': said.filesystem, 'properties': said.properties,
        'disk_format': 'qcow2' if kind == 'qcow2' else 'raw',
        'virtual_size': virtual,
        'layers': [], 'entries': None, 'size': said.size,
        'file_capabilities': None,
        'problems': [problem] if problem else [], 'config': said.config,
    }


def _of_config(config, run):
    """What an image's config says.

    :param run: container.Container of it, or None
    """
    config = config.get('config')
    config = config if isinstance(config, dict) else {}
    return {
        'command': list(run.args) if run else None,
        'environment': _texts(config.get('Env')),
        'user': str(config.get('User') or 'root'),
        'working_directory': run.cwd if run else '/',
        'stop_signal': str(config.get('StopSignal') or 'SIGTERM'),
        'exposed_ports': sorted(_texts(config.get('ExposedPorts'))),
        'volumes': sorted(_texts(config.get('Volumes'))),
    }
