# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""The compute hosts of the all-in-one.

The first is the machine itself. A second, `tools/aio up --computes 2`, lives
in namespaces (mount, network, UTS) on the same machine: see secondhost. What
differs between the two is here: names, addresses, where their files are, and
how a program gets there.
"""

import dataclasses
import ipaddress
import pathlib
import socket

from aiolib import settings as settings_mod
from aiolib import ui

MOST = 2


@dataclasses.dataclass(frozen=True)
class Node:
    """One compute host.

    :param cfg: settings
    :param number: 1 for the machine itself
    """

    cfg: settings_mod.Settings
    number: int = 1

    @property
    def first(self):
        return self.number == 1

    @property
    def name(self):
        """Its hostname: what Nova and Neutron call it."""
        return socket.gethostname() if self.first else f'aio{self.number}'

    @property
    def address(self):
        """Where the compute hosts reach each other."""
        if self.cfg.computes == 1:
            return '127.0.0.1'
        return str(ipaddress.ip_network(self.cfg.internal_cidr)[self.number])

    @property
    def etc(self):
        """Its configuration."""
        return self._below(self.cfg.etc)

    @property
    def state(self):
        """Its files, as the machine sees them.

        On the second host itself what it has of its own lies over the
        machine's, under the same paths: as on two hosts installed alike.
        """
        return self._below(self.cfg.state)

    @property
    def namespaces(self):
        """Directory with links to the namespaces (not for the first)."""
        return self._below(self.cfg.run)

    @property
    def netns(self):
        """Name of the network namespace."""
        return f'containervm-{self.name}'

    def _below(self, path):
        return path if self.first else path / 'hosts' / self.name

    @property
    def nova_conf(self):
        return self.etc / 'nova' / 'nova-compute.conf'

    @property
    def nova_override(self):
        """Directory with the settings that `reconfigure` writes."""
        return self.etc / 'nova' / 'nova-compute.d'

    @property
    def qemu_conf(self):
        """libvirt's qemu.conf, as the machine sees it."""
        return self.libvirt('etc') / 'qemu.conf'

    def libvirt(self, kind):
        """One of libvirt's directories: etc, lib, log or cache."""
        if self.first:
            return pathlib.Path({'etc': '/etc'}.get(kind, f'/var/{kind}'),
                                'libvirt')
        return self.state / 'libvirt' / kind

    @property
    def enter(self):
        """What to put before a command that is to run there."""
        if self.first:
            return ()
        return ('/usr/bin/nsenter', f'--mount={self.namespaces}/mnt',
                f'--uts={self.namespaces}/uts',
                f'--net={self.namespaces}/net', '--')

    def run(self, args, **kwargs):
        """Run a command there; see ui.run."""
        return ui.run([*self.enter, *args], **kwargs)

    def program(self, name):
        """The supervisor's name of its program `name`."""
        return name if self.first else f'{name}@{self.name}'


def first(cfg):
    return Node(cfg)


def second(cfg):
    return Node(cfg, 2)


def every(cfg):
    return tuple(Node(cfg, n + 1) for n in range(cfg.computes))


def by_name(cfg, name):
    """Return the host of this name.

    :raises ui.Failure: if there is none
    """
    for node in every(cfg):
        if node.name == name:
            return node
    names = ', '.join(node.name for node in every(cfg))
    raise ui.Failure(f'there is no compute host {name}', f'There is: {names}')
