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

"""PEP 517 and PEP 660 build backend: pbr's, plus one .pth file.

The wheels that pbr makes, regular and editable, have no place for a file
beside the packages. The .pth file that registers nova_containervm.loader must
be there in both, and be listed in RECORD so that ``pip uninstall`` removes it.
So it is added to the finished wheel.
"""

import base64
import hashlib
import os
import zipfile

from pbr import build as _pbr
from pbr.build import build_sdist  # noqa: F401
from pbr.build import get_requires_for_build_editable  # noqa: F401
from pbr.build import get_requires_for_build_sdist  # noqa: F401
from pbr.build import get_requires_for_build_wheel  # noqa: F401
from pbr.build import prepare_metadata_for_build_editable  # noqa: F401
from pbr.build import prepare_metadata_for_build_wheel  # noqa: F401

PTH_NAME = 'nova-containervm.pth'

# site.py executes a line that begins with "import". If the package is gone,
# say after an interrupted uninstall, the line must not disturb every Python
# process of the environment. Editable installs make the package importable
# through a .pth of theirs, __editable__.*, which sorts before this one.
PTH = (
    b'import sys; exec("try:\\n from nova_containervm import loader\\n'
    b'except ImportError:\\n pass\\nelse:\\n loader.install()")\n'
)


def build_wheel(
    wheel_directory, config_settings=None, metadata_directory=None
):
    """Build a wheel and return its file name (PEP 517)."""
    name = _pbr.build_wheel(
        wheel_directory, config_settings, metadata_directory
    )
    _add_pth(os.path.join(wheel_directory, name))
    return name


def build_editable(
    wheel_directory, config_settings=None, metadata_directory=None
):
    """Build an editable wheel and return its file name (PEP 660)."""
    name = _pbr.build_editable(
        wheel_directory, config_settings, metadata_directory
    )
    _add_pth(os.path.join(wheel_directory, name))
    return name


def _add_pth(wheel):
    """Rewrite a wheel with the .pth file in it and in its RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(PTH).digest())
    row = '%s,sha256=%s,%d\n' % (
        PTH_NAME,
        digest.rstrip(b'=').decode(),
        len(PTH),
    )
    changed = wheel + '.tmp'
    with (
        zipfile.ZipFile(wheel) as source,
        zipfile.ZipFile(changed, 'w', zipfile.ZIP_DEFLATED) as target,
    ):
        stamp = source.infolist()[0].date_time
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith('.dist-info/RECORD'):
                _write(target, PTH_NAME, PTH, stamp)
                data = row.encode() + data
            target.writestr(entry, data)
    os.replace(changed, wheel)


def _write(archive, name, data, stamp):
    """Write one file, rw-r--r--, with the wheel's own time stamp."""
    entry = zipfile.ZipInfo(name, stamp)
    entry.external_attr = 0o100644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)
