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

"""Interfaces that are attached to a server while it runs."""

import dataclasses
import importlib
import time

from lxml import etree
from nova.compute import power_state
from nova.virt.libvirt import host as libvirt_host
from oslo_log import log as logging
from oslo_serialization import jsonutils

from nova_containervm.guest import guestenv
from nova_containervm.guest import network
from nova_containervm import metadataroute
from nova_containervm import record

LOG = logging.getLogger(__name__)

COMMAND = '__org.openstack.containervm_interface-up'

# Seconds. The guest waits up to 15 for its kernel to find the device, which
# takes a PCI Express port 5.
_ANSWER = 20
# A server is ACTIVE before its guest listens. With the above, less than Nova's
# API waits for an answer ([DEFAULT] rpc_response_timeout, 60).
_BOOT = 25
_POLL = 0.5


class Interfaces:
    """Has guests configure interfaces that they did not start with.

    At its next start a server finds them in its contract.

    :param host: LibvirtDriver's Host
    """

    def __init__(self, host):
        self._host = host

    def attached(self, context, instance, vif):
        """Tell the guest of an interface that LibvirtDriver has attached.

        If that fails, only the log says so: the port is the server's all the
        same.

        :param vif: Nova's model of the interface
        """
        rec = record.of(instance)
        if rec.base_type != 'minimal':
            # What configures the network there is the distribution's.
            return
        guest = self._host.get_guest(instance)
        state = guest.get_power_state(self._host)
        if state == power_state.SHUTDOWN:
            return
        try:
            if state != power_state.RUNNING:
                raise _NotTold('the server is paused')
            self._tell(guest, _request(context, instance, vif, guest))
        except _NotTold as e:
            LOG.warning('Interface %(mac)s is attached, but the container '
                        'has not been given its addresses: %(reason)s. It '
                        'will have them after a reboot of the server',
                        {'mac': vif['address'], 'reason': e},
                        instance=instance)

    def _tell(self, guest, request):
        """:raises _NotTold: the guest cannot be reached, or refuses"""
        deadline = time.monotonic() + _BOOT
        try:
            # Not with Nova's own tests of its driver, which fake libvirt
            libvirt_qemu = importlib.import_module('libvirt_qemu')
        except ImportError as e:
            raise _NotTold(str(e))
        while True:
            try:
                libvirt_qemu.qemuAgentCommand(guest._domain, request, _ANSWER,
                                              0)
                return
            except libvirt_host.libvirt.libvirtError as e:
                code = e.get_error_code()
                if (code != libvirt_host.libvirt.VIR_ERR_AGENT_UNRESPONSIVE or
                        time.monotonic() > deadline or
                        guest.get_power_state(self._host) !=
                        power_state.RUNNING):
                    raise _NotTold(str(e))
            time.sleep(_POLL)


class _NotTold(Exception):
    """The guest does not know of its interface; the text says why."""


def _request(context, instance, vif, guest):
    nic, = network.from_network_info(
        metadataroute.added(context, [vif], instance)).nics
    domain = etree.fromstring(guest.get_xml_desc())
    values = guestenv.nic_values(dataclasses.asdict(nic))
    return jsonutils.dumps({'execute': COMMAND, 'arguments': {
        **{name.lower(): value for name, value in values.items()},
        'mtu': nic.mtu,
        # The last one, as in the contract of its next start: routes of those
        # before it win.
        'number': max(len(domain.findall('devices/interface')) - 1, 0),
    }})
