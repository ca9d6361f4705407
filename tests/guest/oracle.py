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

"""A container made without our code, to compare with: docker's own settings.

It runs in a VM with the same kernel and the same crun, but with a few lines
of shell as PID 1 that do what any Linux system has done when docker starts.
"""

import json
import pathlib

from nova_containervm.baseimage import cpio
from tests.guest import vm as vm_lib

DOCKER = pathlib.Path(__file__).with_name('probe') / 'docker'

# The initramfs is bound to itself: no runtime can pivot_root() out of it.
_INIT = """\
#!/bin/busybox sh
b=/bin/busybox
$b mount -o bind / /tmp
cd /tmp
$b mount -o move . /
exec $b chroot . $b sh /oracle/run
"""

_RUN = """\
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
$b mount -t tmpfs tmpfs /run
$b mount -t cgroup2 cgroup2 /sys/fs/cgroup
for wanted in early disk 9p; do
    while read -r group file; do
        [ "$group" != "$wanted" ] || $b insmod "/lib/modules/$file" 2>/dev/null
    done </etc/containervm/modules
done
$b mkdir -p /run/lower /run/top /run/bundle/rootfs
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose \
    containervm-rootfs /run/lower
$b mount -t ext4 /dev/vda2 /run/top
$b mkdir /run/top/upper /run/top/work
$b mount -t overlay -o \
    lowerdir=/run/lower,upperdir=/run/top/upper,workdir=/run/top/work \
    overlay /run/bundle/rootfs
# What docker makes in every container's own layer
cd /run/bundle/rootfs
$b mkdir -p dev/pts dev/shm proc sys etc
for file in etc/hosts etc/hostname etc/resolv.conf .dockerenv dev/console; do
    [ -e $file ] || : >$file
    $b chmod 755 $file
done
$b ln -s /proc/mounts etc/mtab
$b cp -r /oracle/etc /oracle/config.json /run/bundle
cd /run/bundle
if [ -e /oracle/tty ]; then
    /bin/crun --root /run/oci run container
else
    /bin/crun --root /run/oci run container </dev/null 2>&1 | $b cat
fi
$b poweroff -f
"""

_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
172.17.0.2\tweb1
"""


def config(variant, args):
    """The config.json that docker makes for a variant of `docker run`."""
    made = json.loads((DOCKER / f'{variant}.json').read_text())
    made['process']['args'] = list(args)
    # crun of Debian 12 knows neither of these.
    made['ociVersion'] = '1.0.2'
    for mount in made['mounts']:
        mount['options'] = ['ro' if option == 'rro' else option
                            for option in mount['options']]
    return made


def machine(image, work, variant, args, **options):
    """A VM that runs *args* as docker would; its console is the output."""
    archive = cpio.Archive(0)
    made = config(variant, args)
    archive.file('oracle/init', _INIT.encode(), 0o755)
    archive.file('oracle/run', _RUN.encode())
    archive.file('oracle/config.json', json.dumps(made).encode())
    archive.file('oracle/etc/hosts', _HOSTS.encode())
    archive.file('oracle/etc/hostname', b'web1\n')
    archive.file('oracle/etc/resolv.conf', b'nameserver 10.0.2.3\n')
    if made['process'].get('terminal'):
        archive.file('oracle/tty', b'')
    return vm_lib.VM(image, work, cmdline='rdinit=/oracle/init',
                     initrd=archive.build(), **options)
