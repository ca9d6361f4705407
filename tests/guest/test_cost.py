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

"""What the guest costs beside the container."""

import pathlib
import re

from nova_containervm.baseimage import cpio
from tests.guest import vm as vm_lib

BUSYBOX = pathlib.Path('/bin/busybox')
#: MiB that the guest's init, its agent and the runtime may take
MOST = 16


class Bare(vm_lib.VM):
    """The same machine and kernel, and no more than a shell."""

    script = '''\
#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox cat /proc/meminfo /proc/zoneinfo
/bin/busybox poweroff -f
'''

    def _initrd(self, _info):
        archive = cpio.Archive(0)
        archive.directory('proc')
        archive.directory('dev')
        archive.chardev('dev/console', 5, 1)
        archive.file('bin/busybox', BUSYBOX.read_bytes(), 0o755)
        archive.file('init', self.script.encode(), 0o755)
        path = self.work / 'bare.img'
        path.write_bytes(archive.build())
        return path


def available(console):
    """MiB of memory that programs could have, of /proc/meminfo and zoneinfo.

    Free pages that a processor keeps at hand are not in MemAvailable. Before
    Linux 6.7 they were few; since then, it keeps megabytes.
    """
    kept = sum(map(int, re.findall(r'^ +count: +(\d+)\r?$', console, re.M)))
    return (int(re.search(r'MemAvailable: +(\d+) kB', console)[1]) +
            4 * kept) / 1024


def test_memory(make_vm, image, rootfs, tmp_path):
    ours = make_vm(('cat', '/proc/meminfo', '/proc/zoneinfo')).run()
    bare = Bare(image, tmp_path / 'bare', rootfs=rootfs).run()
    # Its program is in memory that stays.
    free = available(bare.console()) + BUSYBOX.stat().st_size / 1048576
    assert free > 100
    assert available(ours.console()) > free - MOST
