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


"""What one does with a server after its creation."""

import json
import time

import openstack
import pytest

from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import containers


@pytest.fixture(scope='module')
def web(shared_server, probe, cloud):
    """A server for the tests that leave one as it was."""
    made = shared_server(probe, name='e2e-web')
    cloud_lib.http_get(cloud.address(made))
    return made


@pytest.fixture
def running(web, cloud):
    """The shared server, checked to be all right before and after."""
    address = cloud.address(web)
    if cloud.compute.get_server(web.id).status != 'ACTIVE':
        # The test that did that has failed; this is another one.
        cloud.compute.reset_server_state(web.id, 'active')
        cloud.compute.reboot_server(web.id, 'HARD')
        cloud.wait(web, 'ACTIVE')
    cloud_lib.shell(address, 'true')
    yield web
    assert cloud.compute.get_server(web.id).status == 'ACTIVE'
    cloud_lib.shell(address, 'true')


def boot_id(address):
    return cloud_lib.shell(address, 'cat /proc/sys/kernel/random/boot_id')


# One-shots

def test_one_shot_is_shutoff_by_itself(server, probe, cloud):
    """Long before Nova looks by itself, and with its exit code on record."""
    made = server(probe, wait=None, flavor='c1.tiny', metadata={
        'containervm_command':
            'sh -c "echo working; sleep 3; echo the end; exit 3"'})
    cloud.wait_console(made, 'working')
    before_end = time.monotonic()
    while 'the end' not in cloud.console(made):
        before_end = time.monotonic()
        time.sleep(0.2)
    made = cloud.ends_by_itself(made)
    took = time.monotonic() - before_end
    print('SHUTOFF %.1f s after the end at most' % took)
    # Nova compares power states every 10 minutes.
    assert took < 120
    shown = json.loads(aio.openstack('server', 'show', '-f', 'json', made.id))
    assert shown['properties']['containervm_exit_code'] == '3'
    assert shown['OS-EXT-STS:power_state'] == 4


def test_exit_codes_are_dockers(server, probe, cloud):
    codes = {'/bin/true': 0, 'sh -c "exit 255"': 255, '/www/index.html': 126,
             '/no/such/program': 127}
    made = {command: server(probe, wait=None, flavor='c1.tiny',
                            metadata={'containervm_command': command})
            for command in codes}
    for command, code in codes.items():
        cloud.ends_by_itself(made[command])
        cloud.wait_metadata(made[command], 'containervm_exit_code', str(code))


def test_a_one_shot_runs_again(server, probe, cloud):
    made = server(probe, wait=None, flavor='c1.tiny', metadata={
        'containervm_command':
            'sh -c "echo x >>/runs; echo run $(wc -l </runs); exit 1"'})
    cloud.ends_by_itself(made)
    assert 'run 1' in cloud.console(made)
    cloud.compute.start_server(made.id)
    cloud.wait_console(made, 'run 2')
    cloud.ends_by_itself(made)


# Stop and start

def stop(cloud, made, timeout=90):
    """Stop a server; return how long it took."""
    begin = time.monotonic()
    cloud.compute.stop_server(made.id)
    cloud.wait(made, 'SHUTOFF', timeout)
    return time.monotonic() - begin


def test_stop_delivers_the_stop_signal_of_the_image(
        server, builder, upload, cloud):
    image = upload('usr1', builder.build(containers.BASE + r'''
STOPSIGNAL SIGUSR1
CMD ["sh", "-c", "trap 'echo got USR1; sleep 2; echo bye; exit 7' USR1; \
trap 'echo got TERM; exit 8' TERM; echo ready; while :; do sleep 1; done"]
'''))
    made = server(image, flavor='c1.tiny')
    cloud.wait_console(made, 'ready')
    took = stop(cloud, made)
    print('stopped in %.1f s' % took)
    # Two seconds are the program's own.
    assert took > 2
    console = cloud.console(made)
    assert 'got USR1' in console
    assert 'bye' in console
    assert 'got TERM' not in console
    cloud.wait_metadata(made, 'containervm_exit_code', '7')


def test_stop_kills_what_does_not_end(server, probe, cloud):
    made = server(probe, flavor='c1.tiny', metadata={
        'containervm_command':
            '''sh -c "trap 'echo no' TERM; echo ready; '''
            '''while :; do sleep 1; done"''',
        'containervm_stop_timeout': '3'})
    cloud.wait_console(made, 'ready')
    took = stop(cloud, made)
    print('stopped in %.1f s' % took)
    # Nova's own patience is 60 s.
    assert 3 < took < 50
    assert 'no' in cloud.console(made).splitlines()
    cloud.wait_metadata(made, 'containervm_exit_code', '137')


@pytest.mark.operation('stop-start')
def test_stop_and_start_keep_writes(running, cloud, host):
    address = cloud.address(running)
    before = boot_id(address)
    cloud_lib.shell(address, 'echo written >/srv/data/stopped')
    took = stop(cloud, running)
    print('stopped in %.1f s' % took)
    # Not killed
    cloud.wait_metadata(running, 'containervm_exit_code',
                        str(containers.STOPPED_CODE))
    for disk in host.disk_files(running.id):
        host.check_disk(disk)
    cloud.compute.start_server(running.id)
    cloud.wait(running, 'ACTIVE')
    assert cloud_lib.shell(address, 'cat /srv/data/stopped') == 'written\n'
    assert boot_id(address) != before
    metadata = cloud.wait_metadata(running, 'containervm_state', 'running')
    assert 'containervm_exit_code' not in metadata


@pytest.mark.operation('reboot')
@pytest.mark.parametrize('kind', ['SOFT', 'HARD'])
def test_reboot(running, cloud, kind):
    address = cloud.address(running)
    before = boot_id(address)
    cloud_lib.shell(address, 'rm -f /stopped; echo %s >/srv/data/rebooted; '
                             'sync' % kind)
    cloud.compute.reboot_server(running.id, kind)
    cloud.wait(running, 'ACTIVE')
    # The old container may answer until it is told to stop.
    cloud.until(lambda: cloud_lib.answers(address) and boot_id(address),
                lambda now: now and now != before, 60, 'new boot')
    assert cloud_lib.shell(address, 'cat /srv/data/rebooted') == kind + '\n'
    # Only a soft reboot lets the program end by itself.
    assert cloud_lib.shell(address, 'cat /stopped || true') == (
        'clean\n' if kind == 'SOFT' else
        "cat: can't open '/stopped': No such file or directory\n")


@pytest.mark.operation('attach-interface')
def test_attached_interface(running, cloud):
    """It has its addresses at once, and after a soft reboot."""
    address = cloud.address(running)
    neutron = cloud.sdk.network
    private = neutron.find_network('private')
    before = cloud_lib.interfaces(address)
    port = neutron.get_port(cloud.compute.create_server_interface(
        running, net_id=private.id).port_id)
    wanted = {'%s/%s' % (ip['ip_address'], neutron.get_subnet(
        ip['subnet_id']).cidr.split('/')[1]) for ip in port.fixed_ips}
    after = {**before, port.mac_address: (private.mtu, wanted)}
    try:
        assert cloud_lib.interfaces(address) == after
        soft_reboot(running, cloud, address)
        assert cloud_lib.interfaces(address) == after
    finally:
        cloud.compute.delete_server_interface(port.id, running)
    cloud.until(lambda: cloud_lib.interfaces(address),
                lambda seen: seen == before, 60, 'end of the interface')
    # It is not waited for, even if Nova still has it in its notes.
    soft_reboot(running, cloud, address)
    assert cloud_lib.interfaces(address) == before


def soft_reboot(server, cloud, address):
    before = boot_id(address)
    cloud.compute.reboot_server(server.id, 'SOFT')
    cloud.wait(server, 'ACTIVE')
    cloud.until(lambda: cloud_lib.answers(address) and boot_id(address),
                lambda now: now and now != before, 60, 'new boot')


@pytest.mark.operation('pause')
def test_pause(running, cloud):
    address = cloud.address(running)
    before = boot_id(address)
    cloud.compute.pause_server(running.id)
    cloud.wait(running, 'PAUSED')
    with pytest.raises((AssertionError, OSError)):
        cloud_lib.http_get(address, timeout=2)
    cloud.compute.unpause_server(running.id)
    cloud.wait(running, 'ACTIVE')
    assert boot_id(address) == before


@pytest.mark.operation('lock')
def test_lock(running, cloud):
    address = cloud.address(running)
    user = openstack.connect(cloud='aio-demo')
    assert not user.compute.find_server(running.id, ignore_missing=True)
    cloud.compute.lock_server(running.id)
    assert cloud.compute.get_server(running.id).is_locked
    cloud.compute.unlock_server(running.id)
    assert cloud_lib.answers(address)


@pytest.mark.operation('console-log', 'diagnostics')
def test_console_and_diagnostics(running, cloud):
    assert 'probe: up' in cloud.console(running)
    diagnostics = cloud.compute.get_server_diagnostics(running.id)
    assert diagnostics.state == 'running'
    assert diagnostics.num_nics == 1


# Rebuild

@pytest.mark.operation('rebuild')
def test_rebuild_gives_a_fresh_rootfs(server, probe, builder, upload, cloud):
    made = server(probe)
    address = cloud.address(made)
    cloud_lib.shell(address, 'echo old >/srv/data/old; rm /www/index.html')
    cloud.compute.rebuild_server(made.id, image=probe.id)
    cloud.wait(made, 'ACTIVE', 180)
    assert cloud_lib.shell(
        address, 'ls -A /srv/data; cat /www/index.html') == 'probe\n'

    other = upload('other', builder.probe(
        'RUN echo another image >/www/index.html\n'))
    cloud_lib.shell(address, 'echo old >/srv/data/old')
    cloud.compute.rebuild_server(made.id, image=other.id)
    cloud.wait(made, 'ACTIVE', 180)
    assert cloud_lib.shell(
        address, 'ls -A /srv/data; cat /www/index.html') == 'another image\n'


# Delete; that nothing is left is checked after every test

@pytest.mark.operation('launch')
@pytest.mark.parametrize('state', [
    pytest.param('stopped', marks=pytest.mark.slow), 'paused', 'starting'])
def test_delete(server, probe, cloud, host, state):
    made = server(probe, flavor='c1.tiny')
    if state != 'starting':
        cloud.wait_console(made, 'probe: up')
    if state == 'stopped':
        stop(cloud, made)
    elif state == 'paused':
        cloud.compute.pause_server(made.id)
        cloud.wait(made, 'PAUSED')
    assert (host.instances / made.id).is_dir()
    cloud.delete(made)
    assert not (host.instances / made.id).exists()


# What a container server cannot do. Each says so and changes nothing.

def refused(cloud, made, action, request):
    """Make a request that is refused; return what the user is told."""
    try:
        request()
    except openstack.exceptions.HttpException as e:
        assert 400 <= e.status_code < 500, e
        return str(e)
    done = cloud.action(made, action)
    results = {event['result'] for event in done.events}
    assert 'Error' in results, done.events
    # Nova sets it to ERROR after a rescue that fails, whatever the driver
    # does; that is taken back at once.
    cloud.until(lambda: cloud.compute.get_server(made.id).status,
                lambda status: status == 'ACTIVE', 10, 'server that is ACTIVE')
    return ' '.join(event.get('details') or '' for event in done.events)


@pytest.mark.parametrize('action', [
    pytest.param('rescue', marks=pytest.mark.operation(
        'rescue', refused=True)),
    pytest.param('changePassword', marks=pytest.mark.operation(
        'set-admin-password', refused=True))])
def test_refused(running, cloud, action):
    compute = cloud.compute
    before = boot_id(cloud.address(running))
    requests = {
        'rescue': lambda: compute.rescue_server(running.id),
        'changePassword': lambda: compute.change_server_password(
            running.id, 'secret'),
    }
    words = refused(cloud, running, action, requests[action])
    assert 'docker image as a container' in words, words
    assert boot_id(cloud.address(running)) == before


@pytest.mark.operation('suspend')
def test_suspend(running, cloud, configured, refused_here):
    """A disk can be saved with the machine, a share cannot."""
    address = cloud.address(running)
    before = boot_id(address)
    if configured.transport != 'block':
        refused_here()
        words = refused(cloud, running, 'suspend',
                        lambda: cloud.compute.suspend_server(running.id))
        assert 'docker image as a container' in words, words
    else:
        cloud.compute.suspend_server(running.id)
        cloud.wait(running, 'SUSPENDED')
        cloud.compute.resume_server(running.id)
        cloud.wait(running, 'ACTIVE')
    assert boot_id(address) == before


@pytest.mark.operation('vnc-console', refused=True)
def test_no_graphics(running, cloud):
    with pytest.raises(openstack.exceptions.BadRequestException) as error:
        cloud.compute.create_console(running, 'novnc')
    assert 'Unavailable console type' in str(error.value)


@pytest.mark.parametrize('action', ['migrate', 'live-migration'])
def test_migration_is_refused(running, cloud, action):
    """With one host Nova itself refuses, before a driver is asked."""
    before = boot_id(cloud.address(running))
    words = refused(
        cloud, running, action,
        (lambda: cloud.compute.live_migrate_server(
            running.id, host=None, block_migration='auto'))
        if action == 'live-migration' else
        (lambda: cloud.compute.migrate_server(running.id)))
    assert 'No valid host' in words
    assert boot_id(cloud.address(running)) == before
