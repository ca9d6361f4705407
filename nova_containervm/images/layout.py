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

"""Which blobs of an archive make up the wanted image.

Knows docker's manifest.json (docker save, podman save, skopeo) and the OCI
image layout (index.json; docker 25 and later write both).
"""

import dataclasses
import hashlib
import platform
import re

from nova_containervm.images import archive as archive_mod
from nova_containervm.images import errors
from nova_containervm.images import limits as limits_mod

#: Machine names of the kernel -> architectures of image configs.
_MACHINES = {
    'x86_64': 'amd64', 'amd64': 'amd64', 'aarch64': 'arm64',
    'arm64': 'arm64', 'i686': '386', 'i386': '386', 'armv7l': 'arm',
    'armv6l': 'arm', 'ppc64le': 'ppc64le', 's390x': 's390x',
    'riscv64': 'riscv64', 'loongarch64': 'loong64',
}
_INDEXES = ('application/vnd.oci.image.index.v1+json',
            'application/vnd.docker.distribution.manifest.list.v2+json')
_DIGEST = re.compile(r'sha256:[0-9a-f]{64}')
_HEX = re.compile(r'(?:.*/)?(?:sha256:)?([0-9a-f]{64})(?:\.json)?')
_REF_NAMES = ('io.containerd.image.name', 'org.opencontainers.image.ref.name',
              'containerd.io/distribution.source.ref')


def host_architecture(machine=None):
    """The name that image configs have for this host's processor."""
    machine = machine or platform.machine()
    return _MACHINES.get(machine, machine)


@dataclasses.dataclass
class Image:
    """One image of an archive, not yet checked.

    ``layers`` are names of blobs, lowest first; ``digests`` what they must
    have, or None where the format does not say.
    """

    refs: list
    config_name: str
    config_digest: str
    layers: list
    digests: list
    platform: dict
    config: dict

    @property
    def architecture(self):
        """The config's word, or the index'; '' when neither says."""
        return str(self.config.get('architecture')
                   or self.platform.get('architecture') or '')

    @property
    def system(self):
        return str(self.config.get('os') or self.platform.get('os')
                   or 'linux')

    @property
    def target(self):
        """System and architecture, for messages."""
        return '/'.join(errors.quote(x or 'unknown', 12)[1:-1] for x in (
            self.system, self.architecture))

    def __str__(self):
        names = ', '.join(self.refs[:3]) or self.config_digest[:19]
        return '%s (%s)' % (errors.quote(names, 64)[1:-1], self.target)


def chain_ids(diff_ids):
    """The OCI chain id of every layer: of it and all below it."""
    chain = []
    for diff_id in diff_ids:
        if chain:
            text = '%s %s' % (chain[-1], diff_id)
            diff_id = 'sha256:' + hashlib.sha256(text.encode()).hexdigest()
        chain.append(diff_id)
    return chain


class Layout:
    """The images of an archive.

    :param archive: archive.Archive
    """

    def __init__(self, archive):
        self._archive = archive
        self._missing = []
        self.images = []
        if isinstance(archive.json('index.json'), dict):
            self._index(archive.json('index.json'), [], {}, 0)
        docker = archive.json('manifest.json')
        if isinstance(docker, list):
            if not self.images:
                self._docker(docker)
            else:
                self._tags(docker)
        if not self.images:
            self._nothing(docker)

    def _nothing(self, docker):
        if self._missing:
            raise errors.Damaged(
                'the archive lacks %s, which its index names; was it '
                'repacked or cut off?' % ', '.join(map(
                    errors.short, self._missing[:3])))
        if docker is not None or self._archive.json('index.json'):
            raise errors.NotAnImage('the archive names no container image')
        if self._archive.get('repositories') is not None:
            raise errors.Unsupported(
                'the archive has no manifest.json: docker before 1.10 wrote '
                'it; load and save it with a newer one')
        raise errors.NotAnImage(
            'the archive has neither manifest.json nor index.json, so it is '
            'no docker image; upload what "docker save", "podman save" or '
            '"skopeo copy ... oci-archive:" writes')

    # -- docker -----------------------------------------------------------

    def _docker(self, entries):
        for entry in entries:
            try:
                config_name = str(entry['Config'])
                layers = [_relative(x) for x in entry['Layers'] or []]
                refs = [str(t) for t in entry.get('RepoTags') or []]
            except (TypeError, KeyError, AttributeError):
                raise errors.NotAnImage('manifest.json of the archive is not '
                                        'as docker writes it')
            blob = self._archive.get(_relative(config_name))
            if blob is None or blob.kind != 'json':
                raise errors.Damaged(
                    'manifest.json names the config %s, which the archive '
                    'does not have' % errors.quote(config_name))
            match = _HEX.fullmatch(config_name)
            if match and blob.digest != 'sha256:' + match.group(1):
                raise errors.DigestMismatch(
                    'the image config %s has the digest %s: the archive was '
                    'damaged or altered; save and upload the image again'
                    % (errors.quote(config_name),
                       errors.short(blob.digest)))
            digests = [_name_digest(name) for name in layers]
            self._add(refs, blob, layers, digests, {})

    def _tags(self, entries):
        """Docker 25 writes both files; manifest.json has the tags."""
        for entry in entries:
            if not isinstance(entry, dict):
                continue
            blob = self._archive.get(_relative(str(entry.get('Config'))))
            for image in self.images:
                if blob is not None and image.config_digest == blob.digest:
                    tags = entry.get('RepoTags')
                    for tag in tags if isinstance(tags, list) else ():
                        if str(tag) not in image.refs:
                            image.refs.append(str(tag))

    # -- OCI --------------------------------------------------------------

    def _index(self, index, refs, outer, depth):
        if depth > limits_mod.INDEX_DEPTH:
            raise errors.NotAnImage('indexes are nested over %d deep'
                                    % limits_mod.INDEX_DEPTH)
        entries = index.get('manifests')
        if not isinstance(entries, list):
            return
        if len(entries) > 1000:
            raise errors.NotAnImage('an index has %d entries' % len(entries))
        for entry in entries:
            if isinstance(entry, dict):
                self._descriptor(entry, refs, outer, depth)

    def _descriptor(self, entry, refs, outer, depth):
        notes = entry.get('annotations')
        notes = notes if isinstance(notes, dict) else {}
        if notes.get('vnd.docker.reference.type'):
            return  # an attestation, no image
        names = [str(notes[k]) for k in _REF_NAMES if notes.get(k)] or refs
        target = entry.get('platform')
        target = target if isinstance(target, dict) else outer
        blob = self._blob(entry)
        if blob is None:
            # Archives may leave out the platforms that nobody asked for.
            self._missing.append(str(entry.get('digest')))
            return
        document = archive_mod.parse(blob) if blob.kind == 'json' else None
        if not isinstance(document, dict):
            return
        if entry.get('mediaType') in _INDEXES or 'manifests' in document:
            self._index(document, names, target, depth + 1)
            return
        self._manifest(document, names, target)

    def _blob(self, entry):
        """The blob of a descriptor, None when the archive lacks it.

        :raises DigestMismatch: the content is another than it says
        """
        digest = str(entry.get('digest'))
        if not _DIGEST.fullmatch(digest):
            raise errors.NotAnImage('unknown digest %s'
                                    % errors.quote(digest))
        return check_blob(self._archive, digest, 'blob')

    def _manifest(self, document, refs, target):
        config = document.get('config')
        layers = document.get('layers')
        if not isinstance(config, dict) or not isinstance(layers, list):
            if document.get('schemaVersion') == 1:
                raise errors.Unsupported('the image is in docker schema 1, '
                                         'which is no longer in use')
            return
        kind = str(config.get('mediaType'))
        if kind not in ('application/vnd.oci.image.config.v1+json',
                        'application/vnd.docker.container.image.v1+json'):
            return  # a helm chart, a signature, ...
        blob = self._blob(config)
        if blob is None or blob.kind != 'json':
            self._missing.append(str(config.get('digest')))
            return
        digests = []
        for layer in layers:
            digest = str(layer.get('digest')) if isinstance(layer, dict) \
                else ''
            if not _DIGEST.fullmatch(digest):
                raise errors.NotAnImage('unknown digest %s'
                                        % errors.quote(digest))
            if 'encrypted' in str(layer.get('mediaType')):
                raise errors.Unsupported('layer %s is encrypted' % digest)
            digests.append(digest)
        self._add(refs, blob, [blob_name(d) for d in digests], digests,
                  target)

    def _add(self, refs, blob, layers, digests, target):
        config = archive_mod.parse(blob)
        if not isinstance(config, dict):
            raise errors.NotAnImage('the image config %s is no JSON object'
                                    % errors.quote(blob.name))
        for image in self.images:
            if image.config_digest == blob.digest and image.layers == layers:
                image.refs += [r for r in refs if r not in image.refs]
                return
        self.images.append(Image(list(refs), blob.name, blob.digest, layers,
                                 digests, target, config))

    # -- choice -----------------------------------------------------------

    def choose(self, ref, architecture):
        """The one image that is meant.

        :param ref: a name, tag or id that the user gave, or None
        :param architecture: as in image configs
        :raises RefNotFound, WrongArchitecture, Ambiguous:
        """
        images = self.images
        if ref:
            images = [i for i in images if _matches(i, ref)]
            if not images:
                raise errors.RefNotFound(
                    'the archive has no image %s (containervm_ref); it has: '
                    '%s' % (errors.quote(ref), _some(self.images)))
        fitting = [i for i in images if i.system == 'linux'
                   and i.architecture in ('', architecture)]
        if not fitting:
            raise errors.WrongArchitecture(
                'the image is for %s, but this host runs linux/%s; upload '
                'one for that, or use a host of the other kind' % (
                    _some(sorted({i.target for i in images})),
                    architecture))
        if len(fitting) > 1:
            exact = [i for i in fitting if i.architecture == architecture]
            fitting = _plainest(exact or fitting)
        if len(fitting) > 1:
            raise errors.Ambiguous(
                'the archive has %d images; choose one with the image '
                'property containervm_ref: %s' % (len(fitting),
                                                  _some(fitting)))
        return fitting[0]


def _plainest(images):
    """Of variants of one image (amd64, amd64/v3) the one for everybody."""
    variants = [i for i in images
                if str(i.config.get('variant') or i.platform.get('variant')
                       or 'v1') in ('v1', 'v8', 'v7')]
    same = len({tuple(i.refs) for i in images}) == 1
    return variants if same and len(variants) == 1 else images


def _some(texts):
    """As many of the texts as a message has room for."""
    texts = list(map(str, texts))
    shown = texts[:1]
    while len(shown) < len(texts) and len(', '.join(
            texts[:len(shown) + 1])) < 80:
        shown = texts[:len(shown) + 1]
    more = len(texts) - len(shown)
    return ', '.join(shown) + (' and %d more' % more if more else '')


def _matches(image, ref):
    """Whether a user's word for an image means this one."""
    if image.config_digest == ref or (
            len(ref) >= 12 and image.config_digest[7:].startswith(
                ref.removeprefix('sha256:'))):
        return True
    wanted = _familiar(ref)
    for name in image.refs:
        short = _familiar(name)
        if wanted == short or wanted + ':latest' == short \
                or short.endswith('/' + wanted) \
                or short.rpartition(':')[2] == wanted:
            return True
    return False


def _familiar(name):
    """A reference without what docker leaves out."""
    for prefix in ('docker.io/library/', 'docker.io/', 'localhost/'):
        name = name.removeprefix(prefix)
    return name


def _relative(name):
    """A name from manifest.json as the archive has it."""
    name = str(name)
    while name.startswith(('./', '/')):
        name = name[2:] if name.startswith('./') else name[1:]
    return name


def _name_digest(name):
    """The digest that a blob's own name promises, or None."""
    if name.startswith('blobs/sha256/'):
        return 'sha256:' + name[13:]
    return None


def blob_name(digest):
    """Where an OCI layout keeps a blob."""
    return 'blobs/' + digest.replace(':', '/', 1)


def check_blob(archive, digest, what):
    """The blob of a digest, with its content checked.

    :returns: archive.Blob, or None when the archive lacks it
    :raises DigestMismatch: it is there, and is something else
    """
    blob = archive.get(blob_name(digest))
    if blob is None:
        return archive.by_digest.get(digest)
    if digest.startswith('sha256:') and blob.digest != digest:
        raise errors.DigestMismatch(
            '%s %s has the digest %s: the archive was damaged or altered; '
            'save and upload the image again'
            % (what, errors.short(digest), errors.short(blob.digest)))
    return blob
