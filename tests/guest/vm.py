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

"""Runs one VM with QEMU and watches it."""

import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

from nova_containervm.baseimage import manifest
from nova_containervm.baseimage import tools
from tests.guest import contract as contracts

CHANNEL = 'org.openstack.containervm.0'

# Multiplies all time limits, for a machine that others use, too.
PATIENCE = float(os.environ.get('CONTAINERVM_TEST_PATIENCE', '1'))

# Seconds, after which something hangs. A VM takes two to five on a machine of
# its own.
LIMIT = 180


def _discard(stream):
    while True:
        try:
            if not stream.recv(65536):
                return
        except OSError:
            return  # closed


class VM:
    """A VM on the base image in *image*, in the new directory *work*.

    It has what a container server's domain has: see `_arguments`.
    """

    def __init__(self, image, work, *, rootfs=None, disk_size='1G',
                 boot='kernel', memory=256, nics=(), mapped=True,
                 cmdline='', writable_share=False, extra=(), cpu='max',
                 terminal=False, initrd=b''):
        self.image = pathlib.Path(image)
        self.work = pathlib.Path(work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.rootfs = rootfs
        self.boot = boot
        self.memory = memory
        self.nics = nics
        self.mapped = mapped
        self.cmdline = cmdline
        self.writable_share = writable_share
        self.extra = list(extra)
        self.cpu = cpu
        # Put behind the image's initramfs
        self.initrd = initrd
        # Whether one can type at the console
        self.terminal = terminal
        self.disk = self.work / 'disk'
        self.cpu_seconds = None
        self._process = None
        self._keyboard = None
        if not self.disk.exists():
            tools.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F',
                       'qcow2', '-b', self.image / 'base.qcow2', self.disk,
                       disk_size])

    def contract(self, values, config=None, env_text=None):
        """Write the config drive for a contract."""
        self.drive(contracts.files(values, config=config, env_text=env_text))

    def drive(self, files):
        """Write the config drive: ``{path: bytes}``."""
        contracts.config_drive(self.work / 'disk.config', files, self.work)

    def _arguments(self):
        info = manifest.read(self.image)
        virtio = [
            ('virtio-blk-pci', 'drive=disk'),
            ('virtio-serial-pci', 'id=serial'),
            ('virtserialport', f'chardev=channel,name={CHANNEL}'),
            ('virtio-rng-pci', 'rng=rng'),
            ('virtio-balloon-pci', 'free-page-reporting=on'),
        ]
        args = [
            'qemu-system-x86_64', '-M', 'q35', '-accel', 'tcg', '-cpu',
            self.cpu, '-m', str(self.memory), '-smp', '1', '-nodefaults',
            '-display', 'none', '-no-user-config', '-no-reboot',
            '-qmp', f'unix:{self.work}/qmp,server=on,wait=off',
            '-chardev', f'file,id=channel,path={self.work}/channel',
            '-object', 'rng-random,id=rng,filename=/dev/urandom',
            # A flush of the guest's does not wait for this machine's disk:
            # that makes a minute of a second when others use it.
            '-drive', f'id=disk,if=none,format=qcow2,cache=unsafe,'
                      f'file={self.disk}',
        ]
        if self.terminal:
            args += ['-chardev', f'socket,id=console,path={self.work}/console,'
                                 'server=on,wait=off,logfile='
                                 f'{self.work}/console.log',
                     '-serial', 'chardev:console']
        else:
            args += ['-serial', f'file:{self.work}/console.log']
        drive = self.work / 'disk.config'
        if drive.exists():
            args += ['-drive', 'id=config,if=none,format=raw,readonly=on,'
                               f'file={drive}']
            virtio.append(('virtio-blk-pci', 'drive=config'))
        if self.rootfs:
            model = 'mapped-xattr' if self.mapped else 'passthrough'
            mode = 'off' if self.writable_share else 'on'
            args += ['-fsdev', f'local,id=root,path={self.rootfs},'
                               f'security_model={model},readonly={mode},'
                               'multidevs=remap']
            virtio.append(('virtio-9p-pci',
                           'fsdev=root,mount_tag=containervm-rootfs'))
        for i, nic in enumerate(self.nics):
            args += ['-netdev', f'{nic["backend"]},id=net{i}']
            virtio.append(('virtio-net-pci',
                           f'netdev=net{i},mac={nic["mac"]}'))
        for driver, options in virtio:
            args += ['-device', f'{driver},{options}']
        if self.boot == 'kernel':
            args += ['-kernel', self.image / info['kernel']['file'],
                     '-initrd', self._initrd(info),
                     '-append', f'{info["cmdline"]} {self.cmdline}'.strip()]
        return [str(a) for a in args + self.extra]

    def _initrd(self, info):
        path = self.image / info['initrd']['file']
        if not self.initrd:
            return path
        own = self.work / 'initrd.img'
        own.write_bytes(path.read_bytes() + self.initrd)
        return own

    def start(self):
        for name in ('console.log', 'channel', 'qmp'):
            (self.work / name).unlink(missing_ok=True)
        # pylint: disable=consider-using-with
        self._process = subprocess.Popen(
            self._arguments(), stdin=subprocess.DEVNULL,
            stderr=(self.work / 'qemu.log').open('wb'),
            stdout=subprocess.DEVNULL)
        return self

    def running(self):
        """Whether QEMU runs."""
        return self._process.poll() is None

    def wait(self, timeout=LIMIT):
        """Wait for QEMU's end; kill it and raise if it takes too long."""
        deadline = time.monotonic() + timeout * PATIENCE
        while self._process.poll() is None:
            self._measure()
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(
                    f'VM still runs after {timeout} s; console:\n'
                    + self.console()[-3000:])
            time.sleep(0.02)
        return self

    def processor_time(self):
        """Seconds of CPU that QEMU has used so far."""
        self._measure()
        return self.cpu_seconds

    def resident(self):
        """MiB of memory that the host has given QEMU."""
        status = pathlib.Path(
            f'/proc/{self._process.pid}/status').read_text()
        return int(re.search(r'^VmRSS:\s+(\d+) kB', status, re.M)[1]) / 1024

    def _measure(self):
        try:
            stat = pathlib.Path(
                f'/proc/{self._process.pid}/stat').read_text()
        except OSError:
            return
        fields = stat.rpartition(')')[2].split()
        self.cpu_seconds = (int(fields[11]) + int(fields[12])) / 100

    def run(self, timeout=LIMIT):
        """Start, and wait for the end."""
        return self.start().wait(timeout)

    def kill(self):
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._keyboard:
            self._keyboard.shutdown(socket.SHUT_RDWR)
            self._keyboard.close()
            self._keyboard = None

    def wait_for_event(self, name, timeout=LIMIT, **members):
        """Wait until there is an event with these members; return it."""
        wanted = {'event': name, **members}

        def find():
            for event in self.events():
                if wanted.items() <= event.items():
                    return event
            return None
        return self.wait_until(find, timeout)

    def wait_until(self, condition, timeout=LIMIT):
        """Wait until *condition* returns something true; return that."""
        deadline = time.monotonic() + timeout * PATIENCE
        while not (result := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(
                    f'waited {timeout} s; {self.events()}; console:\n'
                    + self.console()[-3000:])
            time.sleep(0.02)
        return result

    def wait_for(self, text, timeout=LIMIT):
        """Wait until the console shows *text*."""
        deadline = time.monotonic() + timeout * PATIENCE
        while text not in self.console():
            if self._process.poll() is not None or \
                    time.monotonic() > deadline:
                raise AssertionError(
                    f'{text!r} not on the console:\n'
                    + self.console()[-3000:])
            time.sleep(0.02)

    def console_bytes(self):
        path = self.work / 'console.log'
        return path.read_bytes() if path.exists() else b''

    def console(self):
        return self.console_bytes().decode(errors='replace')

    def events(self):
        """Events on the channel, as dicts."""
        path = self.work / 'channel'
        if not path.exists():
            return []
        # One that is just being written is no event yet.
        return [json.loads(line)
                for line in path.read_text().split('\n')[:-1]]

    def event(self, name):
        """The last event called *name*, or None."""
        found = [e for e in self.events() if e['event'] == name]
        return found[-1] if found else None

    def connect(self, path):
        """Connect to a socket that QEMU listens at.

        It may have none yet, or one that does not listen yet: between its
        ``bind`` and its ``listen`` the path is there and refuses.
        """
        sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                sock.connect(str(path))
                return sock
            except (FileNotFoundError, ConnectionRefusedError):
                if not self.running():
                    sock.close()
                    raise
            time.sleep(0.02)

    def type(self, text):
        """Type at the console."""
        if self._keyboard is None:
            self._keyboard = self.connect(self.work / 'console')
            # The machine waits for who does not read what it prints.
            threading.Thread(target=_discard, args=(self._keyboard,),
                             daemon=True).start()
        self._keyboard.sendall(text.encode())

    def qmp(self, command, **arguments):
        """Run one QMP command."""
        with self.connect(self.work / 'qmp') as sock:
            stream = sock.makefile('rw')
            stream.readline()
            result = None
            for request in ({'execute': 'qmp_capabilities'},
                            {'execute': command, 'arguments': arguments}):
                stream.write(json.dumps(request) + '\n')
                stream.flush()
                while 'event' in (result := json.loads(stream.readline())):
                    pass
            return result

    def power_button(self):
        """Press the ACPI power button."""
        return self.qmp('system_powerdown')
