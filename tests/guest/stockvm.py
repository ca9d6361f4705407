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
"""A VM as a stock Nova makes it: it boots its disk, and that is all."""

import http.server
import json
import threading

from tests.guest import rootfs as rootfs_lib
from tests.guest import vm as vm_lib
from tests.unit.images import builders

DIRECTORY = 'openstack/latest'
MAC = 'fa:16:3e:12:34:56'
# QEMU forwards addresses of the guest's own network only.
_SERVICE = ('user,net=169.254.0.0/16,host=169.254.0.2,dns=169.254.0.3,'
            'dhcpstart=169.254.0.15,restrict=on,guestfwd='
            'tcp:169.254.169.254:80-cmd:busybox nc 127.0.0.1 %d')


def archive(script, **config):
    """An image as docker save writes it: busybox, and a script to run."""
    tar = builders.Tar().dir('bin').dir('etc').dir('tmp', mode=0o1777)
    with open(rootfs_lib.BUSYBOX, 'rb') as source:
        tar.file('bin/busybox', source.read(), mode=0o755)
    for applet in rootfs_lib.APPLETS:
        tar.symlink('bin/' + applet, 'busybox')
    tar.file('etc/passwd', b'root:x:0:0::/:/bin/sh\napp:x:7:8::/:/bin/sh\n')
    tar.file('run', b'#!/bin/sh\n' + script.encode(), mode=0o755)
    return builders.docker([tar.end()], config={
        'Cmd': ['/run'], 'Env': ['PATH=/bin', 'FROM=image'], **config})


def metadata(meta=None, network=None, user_data=None, **more):
    """``{name: bytes}`` of what Nova tells a guest."""
    files = {'meta_data.json': json.dumps({
        'uuid': '11111111-2222-3333-4444-555555555555',
        'hostname': 'web1.novalocal', 'meta': meta or {}, **more}).encode()}
    if network is not None:
        files['network_data.json'] = json.dumps(network).encode()
    if user_data is not None:
        files['user_data'] = user_data
    return {f'{DIRECTORY}/{name}': content
            for name, content in files.items()}


class Service:
    """The metadata service: answers with *files*, and counts."""

    def __init__(self, files):
        self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):

            def do_GET(handler):
                self.asked.append(handler.path)
                body = files.get(handler.path.lstrip('/'))
                handler.send_response(200 if body is not None else 404)
                handler.send_header('Content-Length', str(len(body or b'')))
                handler.end_headers()
                handler.wfile.write(body or b'')

            def log_message(handler, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0),
                                                       Handler)
        threading.Thread(target=self._server.serve_forever,
                         daemon=True).start()

    @property
    def backend(self):
        """Of a network card that reaches it."""
        return _SERVICE % self._server.server_port

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class StockVM(vm_lib.VM):
    """As libvirt makes one of Nova's XML, where that matters to a guest.

    :param machine: pc or q35
    :param bus: of the disk: virtio, scsi, or ide, which is SATA in a q35
    """

    def __init__(self, image, work, *, machine='pc', bus='virtio',
                 **options):
        super().__init__(image, work, **options)
        self.machine = machine
        self.bus = bus

    def _arguments(self):
        disk = {'virtio': ['-device', 'virtio-blk-pci,drive=disk'],
                'scsi': ['-device', 'virtio-scsi-pci',
                         '-device', 'scsi-hd,drive=disk'],
                'ide': ['-device', 'ide-hd,drive=disk']}[self.bus]
        args = [
            'qemu-system-x86_64', '-M', self.machine, '-accel', 'tcg', '-cpu',
            self.cpu, '-m', str(self.memory), '-smp', '1', '-nodefaults',
            '-display', 'none', '-no-user-config', '-no-reboot',
            '-qmp', f'unix:{self.work}/qmp,server=on,wait=off',
            '-serial', f'file:{self.work}/console.log',
            '-drive', 'id=disk,if=none,format=qcow2,cache=unsafe,'
                      f'file={self.disk}', *disk]
        drive = self.work / 'disk.config'
        if drive.exists():
            args += ['-drive', 'id=config,if=none,media=cdrom,format=raw,'
                               f'readonly=on,file={drive}',
                     # a SATA bus, like q35's, has one device
                     '-device', 'ide-cd,drive=config,bus=ide.1']
        for i, nic in enumerate(self.nics):
            args += ['-netdev', f'{nic["backend"]},id=net{i}', '-device',
                     f'virtio-net-pci,netdev=net{i},mac={nic["mac"]}']
        return [str(a) for a in args + self.extra]
