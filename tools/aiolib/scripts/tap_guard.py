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
"""Keep the tap devices of servers up.

os-vif adds a server's port before libvirt makes its device. When that
appears, ovs-vswitchd reads its flags and writes them back with "promiscuous"
added. libvirt sets the device up at the same moment; when that falls between
the reading and the writing, the device stays down and the server answers
nobody. (Only the userspace datapath does that: the kernel's needs no flag.)
"""

import errno
import signal
import sys

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTMGRP_LINK
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP


def guard(netlink, message):
    """Set a device up that a message shows to be down."""
    if message['event'] != 'RTM_NEWLINK' or message['flags'] & IFF_UP:
        return
    name = message.get('ifname') or ''
    if not name.startswith('tap'):
        return
    try:
        netlink.link('set', index=message['index'], state='up')
    except NetlinkError as e:
        if e.code != errno.ENODEV:
            raise
        return
    print('set up', name, flush=True)


def main():
    # Two sockets: on one that waits for messages no request is made.
    with IPRoute() as events, IPRoute() as netlink:
        events.bind(RTMGRP_LINK)
        for message in netlink.get_links():
            guard(netlink, message)
        while True:
            for message in events.get():
                guard(netlink, message)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    main()
