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
"""Stop all servers, as far as that works in some seconds.

Argument: how long to wait, in seconds. Nova then knows that they are off; a
guest that is destroyed behind its back stays ACTIVE for minutes.
"""

import sys
import time

import openstack


def main(seconds):
    compute = openstack.connect(cloud='aio').compute
    asked = []
    for server in compute.servers(all_projects=True, status='ACTIVE'):
        try:
            compute.stop_server(server)
            asked.append(server.id)
        except openstack.exceptions.SDKException as e:
            print(server.id, e)
    end = time.monotonic() + seconds
    while asked and time.monotonic() < end:
        active = {s.id for s in compute.servers(all_projects=True,
                                                status='ACTIVE')}
        asked = [s for s in asked if s in active]
        if asked:
            time.sleep(0.5)


if __name__ == '__main__':
    main(float(sys.argv[1]))
