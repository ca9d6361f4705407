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
"""Keep the tap devices of servers up, and read from.

Both is of the userspace datapath only:

os-vif adds a server's port before libvirt makes its device. When that
appears, ovs-vswitchd reads its flags and writes them back with "promiscuous"
added. libvirt sets the device up at the same moment; when that falls between
the reading and the writing, the device stays down and the server answers
nobody.

A soft reboot keeps the port, and makes the device anew. If ovs-vswitchd does
not look in between, it goes on reading from the old one, for good. Another
number for the port makes it open the device again.
"""

import errno
import signal
import subprocess
import sys

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTMGRP_LINK
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP

# OpenFlow reserves those from 0xff00 on.
_MOST_PORTS = 0xff00


def vsctl(*arguments):
    """Ask or change Open vSwitch; return what it says, without words."""
    return subprocess.run(['ovs-vsctl', '--if-exists', *arguments],
                          stdout=subprocess.PIPE, check=False, text=True,
                          ).stdout.strip()


class Guard:
    """What is known of tap devices: index, and row of the port, by name."""

    def __init__(self, netlink):
        self._netlink = netlink
        self._known = {}

    def see(self, message):
        """Mend what a message of the kernel's shows to be wrong."""
        name = message.get('ifname') or ''
        if message['event'] != 'RTM_NEWLINK' or not name.startswith('tap'):
            return
        index = message['index']
        if self._known.get(name, (None,))[0] != index:
            self._reopen(name, index)
        if message['flags'] & IFF_UP:
            return
        try:
            self._netlink.link('set', index=index, state='up')
        except NetlinkError as e:
            if e.code != errno.ENODEV:
                raise
            return
        print('set up', name, flush=True)

    def _reopen(self, name, index):
        """A device is new; its port is perhaps not."""
        row = vsctl('get', 'Interface', name, '_uuid')
        _index, before = self._known.get(name, (None, ''))
        self._known[name] = index, row
        if not row or row != before:
            return
        port = vsctl('get', 'Interface', name, 'ofport')
        if port.isdigit():
            other = (int(port) + 1000) % _MOST_PORTS or 1
            vsctl('set', 'Interface', name, f'ofport_request={other}')
            print('reopened', name, flush=True)


def main():
    # Two sockets: on one that waits for messages no request is made.
    with IPRoute() as events, IPRoute() as netlink:
        events.bind(RTMGRP_LINK)
        guard = Guard(netlink)
        for message in netlink.get_links():
            guard.see(message)
        while True:
            for message in events.get():
                guard.see(message)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    main()
