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

"""The servers that bench/transports compares.

Three kinds are containers of one docker image, which differ in their
transport; the fourth, ``vm``, is an ordinary server of the same Nova: Debian
with systemd and its own kernel, the same software, the same 20,000 files, on
an ext4 with a journal in a qcow2. tools/images has both images.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time
import uuid

from bench import aio
from bench import qemu

TRANSPORTS = ('9p', 'virtiofs', 'block')
VM = 'vm'
KINDS = (*TRANSPORTS, VM)

FIRST_LINE = b'bench first line'

# Of what the VM's disk has, the root filesystem of a small flavor
VM_SIZE = '3G'
# no_timer_check: or the kernel panics on a busy host without KVM
VM_CMDLINE = 'root=/dev/vda ro console=ttyS0 quiet no_timer_check bench=%s'
_POLL = 0.05


def _run(*command, **kwargs):
    subprocess.run([str(word) for word in command], check=True,
                   stdin=subprocess.DEVNULL, stdout=sys.stderr, **kwargs)


def archive(name):
    """Path of an image of tools/images, built if need be."""
    done = subprocess.run([aio.COMMAND, 'image', name], check=True, text=True,
                          stdout=subprocess.PIPE)
    return pathlib.Path(done.stdout.strip().splitlines()[-1])


def vm_files(source, directory):
    """Make the VM's disk, kernel and ramdisk of its image; return their paths.

    :param source: archive of the image ``bench-vm``
    :param directory: for the files; what is there of this archive is kept
    """
    directory = pathlib.Path(directory) / source.stem
    disk, kernel, initrd = (directory / name for name in (
        'disk.qcow2', 'vmlinuz', 'initrd.img'))
    if not initrd.exists():
        for old in directory.parent.glob('bench-vm-*'):
            if old.is_dir():
                shutil.rmtree(old)
        directory.mkdir(parents=True)
        raw = directory / 'disk.raw'
        _run(sys.executable, '-m', 'nova_containervm.cli.image', 'convert',
             '--format', 'ext4', source, raw, cwd=aio.CHECKOUT)
        os.truncate(raw, 3 << 30)
        # convert makes it for being read only: without a journal, and full
        _run('resize2fs', raw, VM_SIZE)
        _run('tune2fs', '-O', 'has_journal', raw)
        listed = subprocess.run(['debugfs', '-R', 'ls -p /boot', str(raw)],
                                check=True, text=True, capture_output=True)
        names = [line.split('/')[5] for line in listed.stdout.splitlines()
                 if line.count('/') >= 6]
        _run('qemu-img', 'convert', '-O', 'qcow2', raw, disk)
        for path in (kernel, initrd):
            name, = (n for n in names if n.startswith(path.name + '-'))
            _run('debugfs', '-R', f'dump /boot/{name} {path}.new', raw)
            os.rename(f'{path}.new', path)
        raw.unlink()
    return disk, kernel, initrd


@contextlib.contextmanager
def all_transports():
    """Images may choose their transport; afterwards as before."""
    try:
        _run(aio.COMMAND, 'reconfigure', '--reset', '--set',
             'containervm.allowed_transports=' + ','.join(TRANSPORTS))
        yield
    finally:
        _run(aio.COMMAND, 'reconfigure', '--reset')


class Machine:
    """One server, and what it takes of its host.

    :param begun: when its creation was asked for (time.monotonic())
    """

    def __init__(self, cloud, kind, server, begun):
        self.cloud = cloud
        self.kind = kind
        self.server = server
        self._begun = begun
        self.directory = cloud.instances / server.id
        self._console = self.directory / 'console.log'
        self._lines = 0

    def processes(self):
        """Its QEMU, and daemons that serve nothing else."""
        found = []
        word = self.server.id.encode()
        for path in pathlib.Path('/proc').glob('[0-9]*'):
            try:
                line = (path / 'cmdline').read_bytes()
            except OSError:
                continue
            program = os.path.basename(line.split(b'\0')[0])
            if word in line and program.startswith((b'qemu-system',
                                                    b'virtiofsd')):
                found.append(int(path.name))
        return found

    def cpu(self, pids=None):
        """Seconds of CPU time that they have taken."""
        total = 0
        for pid in pids or self.processes():
            with contextlib.suppress(OSError):
                total += time.clock_gettime(qemu.cpu_clock(pid))
        return total

    def lines(self, timeout=600):
        """The guest's lines for us, as they come: (Sample, words)."""
        pids = ()
        deadline = time.monotonic() + timeout
        while True:
            text = b''
            with contextlib.suppress(FileNotFoundError):
                text = self._console.read_bytes()
            whole = [line for line in text.split(b'\n')[:-1]
                     if line.startswith(b'bench ')]
            if len(whole) > self._lines:
                pids = pids or self.processes()
                now = qemu.Sample(time.monotonic() - self._begun,
                                  self.cpu(pids))
                deadline = time.monotonic() + timeout
                for line in whole[self._lines:]:
                    self._lines += 1
                    yield now, line.decode(errors='replace').split()[1:]
                continue
            if time.monotonic() > deadline:
                raise aio.Failed('server %s (%s) prints no more; its console:'
                                 '\n%s' % (self.server.id, self.kind,
                                           text.decode(errors='replace')
                                           [-2000:]))
            time.sleep(_POLL)

    def first_line(self):
        """Wait for the first line; the time from create to it."""
        for sample, words in self.lines():
            if words[0] == 'first':
                return sample

    def address(self):
        """Its IPv4 address, in the network that the host is in."""
        server = self.cloud.sdk.compute.get_server(self.server.id)
        return next(entry['addr'] for entries in server.addresses.values()
                    for entry in entries if entry['version'] == 4)

    def delete(self):
        """Delete it."""
        self.cloud.delete(self.server)


class Guests:
    """Makes servers of every kind.

    :param cloud: aio.Cloud
    :param docker: path of the docker image
    :param vm: paths of the VM's files, see vm_files
    """

    def __init__(self, cloud, docker, vm):
        self.cloud = cloud
        disk, kernel, initrd = vm
        self._docker = cloud.upload(
            docker, 'docker', 'raw', **self._properties('block', ('idle',)))
        self._vm = cloud.upload(
            disk, 'bare', 'qcow2',
            kernel_id=cloud.upload(kernel, 'aki', 'aki').id,
            ramdisk_id=cloud.upload(initrd, 'ari', 'ari').id,
            **self._properties(VM, ('idle',)))

    @staticmethod
    def _properties(kind, words):
        """Of an image whose next server is to do something."""
        if kind == VM:
            return {'os_command_line': VM_CMDLINE % ','.join(words)}
        return {'containervm_rootfs_transport': kind,
                'containervm_command': ' '.join(('bench-jobs', *words))}

    def _image(self, kind, words):
        """The image, told what its next server is to do."""
        image = self._vm if kind == VM else self._docker
        self.cloud.set_properties(image, self._properties(kind, words))
        return image

    @contextlib.contextmanager
    def machine(self, kind, *words):
        """A server that has just been asked for; deleted at the end.

        :param words: arguments of bench-jobs
        """
        image = self._image(kind, words)
        begun = time.monotonic()
        server = self.cloud.ask(image, f'bench-{kind}-{uuid.uuid4().hex[:6]}')
        machine = Machine(self.cloud, kind, server, begun)
        try:
            yield machine
        finally:
            machine.delete()
