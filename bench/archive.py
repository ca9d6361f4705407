#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""A docker image with one program in it, as ``docker save`` writes it."""

import hashlib
import io
import json
import tarfile


def _tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as tar:
        for name, content, mode in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = mode
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def docker_archive(path, command, program):
    """Write an image whose only file is ``program``, at ``command``.

    :param path: of the archive
    :param command: absolute path in the image
    :param program: the file's bytes
    """
    layer = _tar([(command.lstrip('/'), program, 0o755)])
    config = json.dumps({
        'architecture': 'amd64', 'os': 'linux',
        'config': {'Cmd': [command], 'WorkingDir': '/',
                   'Env': ['PATH=/usr/bin:/bin']},
        'rootfs': {'type': 'layers', 'diff_ids': [
            'sha256:' + hashlib.sha256(layer).hexdigest()]},
    }).encode()
    name = hashlib.sha256(config).hexdigest() + '.json'
    manifest = json.dumps([{'Config': name, 'RepoTags': ['bench:latest'],
                            'Layers': ['layer/layer.tar']}]).encode()
    with open(path, 'wb') as f:
        f.write(_tar([(name, config, 0o644),
                      ('layer/layer.tar', layer, 0o644),
                      ('manifest.json', manifest, 0o644)]))
    return path
