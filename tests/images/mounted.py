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

"""The kernel's overlayfs of the layers shows what we say it shows.

``python3 -m tests.images.mounted``, as root: every sample in both access
modes, mounted as for a server, against our own merged view.
"""

import os
import shutil
import subprocess
import sys
import tempfile

from nova_containervm.images import forms
from nova_containervm.images import store
from tests.images import samples
from tests.unit.images import builders
from tests.unit.images import trees


def mounted(image, place, mode):
    """Manifest of a read-only overlay of an image's layers."""
    layers = list(reversed(image.layer_dirs))
    if len(layers) == 1:
        return trees.native(layers[0], forms.FORMS[mode]())
    base = os.path.dirname(os.path.dirname(layers[0]))
    short = ':'.join(os.path.relpath(x, base) for x in layers)
    subprocess.run(['mount', '-t', 'overlay', 'overlay', '-o',
                    'ro,nodev,nosuid,userxattr,lowerdir=' + short, place],
                   cwd=base, check=True)
    try:
        return trees.native(place, forms.FORMS[mode]())
    finally:
        subprocess.run(['umount', place], check=True)


def main():
    work = tempfile.mkdtemp(prefix='mounted')
    place = os.path.join(work, 'mnt')
    os.mkdir(place)
    bad = 0
    for sample in samples.ALL:
        if sample is samples.sparse:
            continue
        data = builders.docker(sample())
        for mode in ('mapped', 'passthrough'):
            root = os.path.join(work, mode)
            where = store.ImageStore(root, access_mode=mode,
                                     owner=(64055, 64055))
            image = where.ensure(sample.__name__, builders.chunks(data))
            ours = trees.stored(image, mode)
            for entry in ours.values() if mode == 'mapped' else ():
                xattrs = entry.get('xattrs', {})
                if xattrs.pop('security.capability', None) and not xattrs:
                    del entry['xattrs']
            found = trees.difference(ours, mounted(image, place, mode))
            bad += len(found)
            print('%-15s %-11s %d differ' % (sample.__name__, mode,
                                             len(found)))
            print('\n'.join(found[:10]), end='\n' if found else '')
    shutil.rmtree(work)
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
