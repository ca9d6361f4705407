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

"""Figure: what a second server of the same image costs on the host's disk."""

import os
import pathlib
import subprocess
import json

from bench import qemu
from bench import report

LIMIT_MB = 1.0
MB = 1 << 20


def allocated(directory):
    """Bytes allocated below a directory, mounts in it left out."""
    total = 0
    device = os.stat(directory).st_dev
    seen = set()
    for parent, directories, files in os.walk(directory):
        directories[:] = [d for d in directories if os.lstat(
            os.path.join(parent, d)).st_dev == device]
        for name in files + directories:
            try:
                info = os.lstat(os.path.join(parent, name))
            except FileNotFoundError:
                continue
            if (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_blocks * 512
    return total


def guest_writes(disk, work):
    """Bytes that a disk has more than when it was new."""
    info = json.loads(subprocess.run(
        ['qemu-img', 'info', '-U', '--output=json', str(disk)], check=True,
        capture_output=True, text=True).stdout)
    new = qemu.make_overlay(pathlib.Path(work) / 'new.qcow2',
                            info['full-backing-filename'],
                            info['backing-filename-format'],
                            info['virtual-size'])
    return (os.stat(disk).st_blocks - os.stat(new).st_blocks) * 512


def _cost(cloud, image, work):
    """Bytes that one more server takes, and those that its guest wrote."""
    store = cloud.instances / '_base'
    before = allocated(store)
    server = cloud.create(image)
    cloud.wait_line(server)
    cloud.stop(server)
    own = cloud.instances / server.id
    cost = allocated(own) + allocated(store) - before
    return cost, guest_writes(own / 'disk', work)


def disk(context):
    """``disk``: in MB; the first server brings the image into the store."""
    image = context.docker_image()
    _cost(context.cloud, image, context.work)
    costs = [_cost(context.cloud, image, context.work) for _ in range(2)]
    ours = [(cost - written) / MB for cost, written in costs]
    return report.Result(
        'disk', 'host disk of a second server, without guest writes', ours,
        None, LIMIT_MB, unit='MB',
        note='allocated blocks of the instance directory and the growth of '
        'the image store; the guest wrote %.2f MB (file system growth)' %
        (costs[-1][1] / MB))
