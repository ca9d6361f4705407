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
"""Make Nova and Neutron forget a compute host.

Argument: its name. Nova refuses while there are servers on it.
"""

import sys

import openstack


def main(name):
    cloud = openstack.connect(cloud='aio')
    for service in cloud.compute.services(host=name, binary='nova-compute'):
        cloud.compute.delete_service(service)
    for agent in cloud.network.agents(host=name):
        cloud.network.delete_agent(agent)


if __name__ == '__main__':
    main(*sys.argv[1:])
