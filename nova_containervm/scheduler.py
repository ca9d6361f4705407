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

"""Docker images go to hosts that run them; any other image goes anywhere.

For nova-scheduler. A host says that it runs docker images among the kinds of
instances that it reports: (architecture, ``docker``, ``exe``). The filter
needs no property of an image, and says what is missing when no host is left.
"""

from nova import exception
from nova.objects import fields
from nova.scheduler import filters
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

#: What a host reports of itself: nova.objects.HVSpec's type and mode.
HV_TYPE = fields.HVType.DOCKER
VM_MODE = fields.VMMode.EXE


def with_containers(capabilities):
    """Add what a host that runs docker images is capable of.

    :param capabilities: of the host, as LibvirtDriver reports them: a list
        of (architecture, type, mode)
    """
    return [*capabilities,
            (fields.Architecture.from_host(), HV_TYPE, VM_MODE)]


class ContainerVMFilter(filters.BaseHostFilter):
    """Passes, for docker images, the hosts that run them."""

    # Another image, on the same host
    RUN_ON_REBUILD = True

    # Neither the image nor what a host is capable of changes meanwhile.
    run_filter_once_per_request = True

    def filter_all(self, filter_obj_list, spec_obj):
        """See BaseFilter.filter_all().

        :raises exception.NoValidHost: with the reason, when of several hosts
            none runs docker images
        """
        hosts = list(filter_obj_list)
        passed = list(super().filter_all(hosts, spec_obj))
        if hosts and not passed:
            # Nova's own words would be: there are not enough hosts.
            raise exception.NoValidHost(
                reason='Image %s is a docker image, and none of the %d hosts '
                'that have room for the server runs docker images ([libvirt] '
                'sub_virt_type = container).' % (
                    spec_obj.image.id if 'id' in spec_obj.image else '',
                    len(hosts)))
        return passed

    def host_passes(self, host_state, spec_obj):
        """Whether the host takes the image."""
        image = spec_obj.image
        if image is None or 'container_format' not in image or \
                image.container_format != 'docker':
            return True
        passes = any(kind == HV_TYPE for _arch, kind, _mode in
                     host_state.supported_instances or ())
        if not passes:
            LOG.debug('%s runs no docker images', host_state)
        return passes
