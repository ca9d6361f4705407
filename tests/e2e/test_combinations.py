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


"""Every way to run a container: boot, runtime, access mode, layer."""

import pytest

from tests.e2e import cloud as cloud_lib
from tests.e2e import containers
from tests.e2e import profiles
from tests import namespaces

ALL = list(profiles.combinations())


@pytest.mark.operation('launch')
@pytest.mark.parametrize('profile', [
    pytest.param(
        name, marks=() if name in profiles.QUICK else pytest.mark.slow)
    for name in ALL])
def test_combination(server, probe, cloud, host, configured, profile):
    made = server(probe, flavor='c1.tiny')
    console = cloud.wait_console(made, 'probe: up')
    # Nothing of ours comes before the container's first line.
    lines = console.replace('\r', '').strip().splitlines()
    if configured.settings.get('containervm.boot_method') != 'disk':
        assert lines[0] == 'probe: up as 0:0', console
    assert 'probe: up as 0:0' in lines

    address = cloud.address(made)
    cloud_lib.shell(address, '''
        echo kept >/srv/data/file && chown web:extra /srv/data/file &&
        chmod 640 /srv/data/file && ln -s file /srv/data/link &&
        rm /www/index.html && mkdir /www/index.html && sync''')
    assert host.transport(made.id) == configured.transport
    on_host = host.rootfs(made.id) / 'srv' / 'data' / 'file'
    assert on_host.exists() == (configured.layer == 'share')
    if configured.layer == 'share':
        assert on_host.read_text() == 'kept\n'
        mode = on_host.stat().st_mode & 0o7777
        assert mode == (0o640 if configured.access == 'passthrough'
                        else 0o600)

    with namespaces.copy_of_mounts():
        cloud.compute.stop_server(made.id)
        cloud.wait(made, 'SHUTOFF')
        cloud.wait_metadata(made, 'containervm_exit_code',
                            str(containers.STOPPED_CODE))
        for disk in host.disk_files(made.id):
            host.check_disk(disk)
        cloud.compute.start_server(made.id)
        cloud.wait(made, 'ACTIVE')
    assert cloud_lib.shell(address, '''
        cat /srv/data/file /srv/data/link
        stat -c '%a %U:%G' /srv/data/file
        test -d /www/index.html && cat /stopped''') == (
            'kept\nkept\n640 web:extra\nclean\n')
