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


"""The all-in-one itself, once it is up."""

from tests.e2e import aio


def test_up_again(server, probe, cloud):
    """It finds all as it should be, and no service or server is disturbed."""
    made = server(probe, flavor='c1.tiny')
    before = aio.pids()
    aio.run('up')
    assert aio.pids() == before
    assert cloud.wait(made, 'ACTIVE').status == 'ACTIVE'
