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


"""Fixtures: a running all-in-one, images in it, and a host left clean."""

import contextlib
import os
import re
import uuid

import openstack
import pytest

from tests.e2e import aio
from tests.e2e import cloud as cloud_lib
from tests.e2e import containers
from tests.e2e import host as host_lib
from tests.e2e import plain
from tests.e2e import profiles


def pytest_configure(config):
    config.addinivalue_line(
        'markers', 'profile(name): settings of nova-compute that a test needs')
    config.addinivalue_line(
        'markers', 'slow: takes long; only "tools/test --all" runs it')
    config.addinivalue_line(
        'markers', 'operation(name...): a row of the support matrix that a '
        'test shows, for tools/support-matrix; with refused=True, that it is '
        'refused')


# What a server of any transport must do: these modules run for each, and for
# each layer where that matters. In the standard run only for the default one.
EVERY_TRANSPORT = {'test_config': ('virtiofs', 'block'),
                   'test_images_run': ('virtiofs', 'block'),
                   'test_lifecycle': profiles.COLUMNS[1:],
                   'test_volumes': ('virtiofs', 'block')}


def pytest_generate_tests(metafunc):
    """Have a test run for each transport, unless it names its settings."""
    module = metafunc.module.__name__.rpartition('.')[2]
    if module in EVERY_TRANSPORT and not any(
            m.name == 'profile' or m.name == 'parametrize' and
            'profile' in m.args[0]
            for m in metafunc.definition.iter_markers()):
        metafunc.parametrize(
            'profile', ['default', *(
                pytest.param(name, marks=pytest.mark.slow)
                for name in EVERY_TRANSPORT[module])],
            indirect=True, scope='module')


@pytest.fixture(scope='module')
def profile(request):
    """Name of the settings that tests of a module run with, by default."""
    return getattr(request, 'param', 'default')


def profile_of(item):
    """The profile that a test asks for, by its marker or its parameter."""
    callspec = getattr(item, 'callspec', None)
    if callspec and 'profile' in callspec.params:
        return callspec.params['profile']
    marker = item.get_closest_marker('profile')
    return marker.args[0] if marker else 'default'


def pytest_collection_modifyitems(items):
    # Tests that share settings run after each other. The sort is stable.
    # Those with a second compute host come last: the others know of one.
    order = {name: i for i, name in enumerate(profiles.PROFILES)}
    items.sort(key=lambda item: ('second_host' in item.fixturenames,
                                 order[profile_of(item)]))
    for item in items:
        column = profiles.PROFILES[profile_of(item)].column
        for marker in item.iter_markers('operation'):
            for name in marker.args:
                item.user_properties.append(('cell', '%s %s %s' % (
                    name, column, 'missing' if marker.kwargs.get('refused')
                    else 'complete')))


@pytest.fixture(scope='session')
def environment():
    """The variables of ``tools/aio env``, and no others of OpenStack's."""
    variables = aio.environment()
    for name in [n for n in os.environ if n.startswith('OS_')]:
        del os.environ[name]
    os.environ.update(variables)
    return variables


@pytest.fixture(scope='session')
def cloud(environment):
    """The cloud, as its administrator sees it."""
    return cloud_lib.Cloud(openstack.connect(cloud='aio'))


@pytest.fixture(scope='session')
def host(environment):
    """This machine."""
    return host_lib.Host(aio.directory() / 'state' / 'nova' / 'instances')


class Settings:
    """The settings that nova-compute runs with, changed when need be."""

    def __init__(self, cloud):
        self._cloud = cloud
        self._current = None
        self._begun = False
        self._stopped = []

    def use(self, name):
        """Have nova-compute run with a profile."""
        profile = profiles.PROFILES[name]
        settings = dict(profile.settings)
        if name == 'rfc':
            settings['libvirt.base_vm_image'] = aio.base_image('cloud')
        wanted = (settings, profile.qemu_user)
        if self._current != wanted:
            self._current = None
            if profile.qemu_user != 'libvirt-qemu':
                self._stop_others()
            # The first time: it may run with code of before an edit.
            aio.reconfigure(*wanted, restart=not self._begun)
            self._begun = True
            self._current = wanted

    def forget(self):
        """A test has changed them by itself."""
        self._current = None

    def _stop_others(self):
        """Stop servers that were there before, as the demo's.

        libvirt does not let QEMUs of two users have one base VM image.
        """
        for server in self._cloud.compute.servers(all_projects=True,
                                                  status='ACTIVE'):
            self._cloud.compute.stop_server(server.id)
            self._cloud.wait(server, 'SHUTOFF')
            self._stopped.append(server)

    def put_back(self):
        """The usual settings, and the servers that were there before."""
        aio.reconfigure({})
        for server in self._stopped:
            self._cloud.compute.start_server(server.id)
            self._cloud.wait(server, 'ACTIVE')


@pytest.fixture(scope='session')
def settings(cloud):
    """What sets nova-compute's settings; the usual ones come back."""
    made = Settings(cloud)
    yield made
    made.put_back()


@pytest.fixture(scope='session', autouse=True)
def one_host(environment):
    """Servers are created on this machine, where tests look for them.

    What needs a second host comes last.
    """
    before = _computes()
    if before != '1':
        aio.run('up', '--computes', '1')
    yield
    if _computes() != before:
        aio.run('up', '--computes', before)


def _computes():
    return (aio.directory() / 'state' / 'computes').read_text().strip()


@pytest.fixture(scope='session')
def second_host(settings):
    """A second compute host; one_host takes it away again if need be."""
    state = aio.directory() / 'state'
    aio.run('up', '--computes', '2')
    # It has the usual ones, whatever the first has.
    settings.forget()
    return host_lib.Host(state / 'nova' / 'instances', 'aio2',
                         state / 'hosts' / 'aio2' / 'nova' / 'instances')


@pytest.fixture(autouse=True)
def configured(request, profile, settings):
    """nova-compute runs with the settings of the test's profile."""
    name = profile_of(request.node)
    settings.use(name)
    return profiles.PROFILES[name]


@pytest.fixture
def refused_here(request):
    """A function: what a test shows of an operation is its refusal."""
    def note():
        request.node.user_properties[:] = [
            (name, value.replace(' complete', ' missing'))
            for name, value in request.node.user_properties]
    return note


@pytest.fixture
def own_settings(configured, settings):
    """For tests that change settings themselves: put them back."""
    yield
    settings.forget()


@pytest.fixture(scope='session')
def image(cloud):
    """A function: the Glance image of a name in tools/images."""
    uploaded = {}

    def get(name, **properties):
        key = (name, tuple(sorted(properties.items())))
        if key not in uploaded:
            uploaded[key] = cloud.upload('e2e-' + name, aio.image(name),
                                         **properties)
        return uploaded[key]

    yield get
    for made in uploaded.values():
        cloud.sdk.image.delete_image(made.id)


@pytest.fixture(scope='module')
def plain_image(cloud):
    """A function: the Glance image of one kind of plain guest."""
    files = plain.build(aio.directory() / 'images' / 'e2e-plain')
    made = {}
    with contextlib.ExitStack() as stack:
        def upload(name, path, *formats, **properties):
            image = cloud.upload('e2e-plain-' + name, path, *formats,
                                 **properties)
            stack.callback(cloud.sdk.image.delete_image, image.id)
            return image

        def get(kind):
            if kind in made:
                return made[kind]
            if kind == 'kernel':
                kernel = upload('aki', files / 'vmlinuz', 'aki', 'aki')
                ramdisk = upload('ari', files / 'initrd', 'ari', 'ari')
                made[kind] = upload(
                    kind, files / 'plain.raw', 'ami', 'ami',
                    kernel_id=kernel.id, ramdisk_id=ramdisk.id,
                    os_command_line=plain.CMDLINE)
            else:
                made[kind] = upload(kind, files / ('plain.' + kind), 'bare',
                                    kind)
            return made[kind]
        yield get


@pytest.fixture(scope='session')
def builder(tmp_path_factory):
    """Builds images that one test or a few need."""
    return containers.Builder(tmp_path_factory.mktemp('images'))


@pytest.fixture
def large(builder, upload, request):
    """An image that it takes seconds to fetch, of no other test's layers."""
    name = request.node.name.translate({ord(c): '-' for c in '[]'})
    return upload('large', builder.probe(
        'RUN head -c 120000000 /dev/urandom >/%s\n' % name))


@pytest.fixture(scope='session')
def probe(cloud, builder):
    """The image of containers.PROBE, in Glance."""
    made = cloud.upload('e2e-probe', builder.probe())
    yield made
    cloud.sdk.image.delete_image(made.id)


@pytest.fixture(autouse=True)
def clean_host(configured, host, request):
    """Nothing that the test has made is on the host after it."""
    before = host.state()
    request.node.log_begin = {name: aio.log_end(name) for name in LOGS}
    yield
    if getattr(request.node, 'failed_call', False):
        # What is left of a failed test would only hide why it failed.
        return
    host.assert_as_before(before)


# Services whose log may say why a test failed
LOGS = ('nova-compute', 'neutron-ovs-agent', 'neutron-dhcp-agent')

# A line of a log that says what is wrong; not one of a traceback
_BAD = re.compile(r'\S+ \S+ \d+ (WARNING|ERROR|CRITICAL) \S+ '
                  r'(\[[^]]*\] ?)*+[^ [](?!raceback)')


def _complaints(name, begin):
    """The last lines of a service's log that say what is wrong."""
    found = [line[:400] for line in aio.log(name, begin).splitlines()
             if _BAD.match(line)
             and 'neutronclient' not in line and 'privsep log' not in line]
    return found[-20:]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    if call.when != 'teardown':
        item.failed_call = True
    for name, begin in getattr(item, 'log_begin', {}).items():
        report.sections.append((name, '\n'.join(_complaints(name, begin))))


def pytest_terminal_summary(terminalreporter):
    """The failures again, in a few lines each: a CI shows only the last."""
    failed = [report for kind in ('failed', 'error')
              for report in terminalreporter.stats.get(kind, ())]
    for report in failed[:4]:
        terminalreporter.write_sep('-', '%s (%s, %d s)' % (
            report.nodeid, report.when, report.duration))
        crash = getattr(report.longrepr, 'reprcrash', None)
        terminalreporter.write_line(
            (crash.message if crash else str(report.longrepr))[:500])
        for name, text in report.sections:
            if name in LOGS:
                for line in text.splitlines()[-2:]:
                    terminalreporter.write_line('%s: %s' % (name, line[:300]))


@contextlib.contextmanager
def _servers(cloud):
    """A function that creates servers; they are deleted at the end."""
    with contextlib.ExitStack() as stack:
        def create(made_of, name=None, wait='ACTIVE', timeout=180, **kwargs):
            created = cloud.create(
                name or 'e2e-%s' % uuid.uuid4().hex[:8], made_of, wait=None,
                **kwargs)
            stack.callback(cloud.delete, created)
            return cloud.wait(created, wait, timeout) if wait else created
        yield create


@pytest.fixture
def server(cloud, clean_host):
    """A function that creates a server, deleted at the end of the test."""
    with _servers(cloud) as create:
        yield create


@pytest.fixture(scope='module')
def shared_server(cloud, host, settings, profile):
    """A function that creates a server for all tests of a module."""
    settings.use(profile)
    before = host.state()
    with _servers(cloud) as create:
        yield create
    host.assert_as_before(before)


@pytest.fixture
def volume(cloud, clean_host):
    """A function that creates a volume of 1 GiB, deleted after the test.

    Name it before ``server``, that the servers go first.
    """
    with contextlib.ExitStack() as stack:
        def create(**kwargs):
            made = cloud.volumes.create_volume(
                name='e2e-%s' % uuid.uuid4().hex[:8], size=1, **kwargs)
            stack.callback(cloud.delete_volume, made)
            return cloud.wait_volume(made, 'available')
        yield create


@pytest.fixture
def upload(cloud, tmp_path):
    """A function that uploads bytes or a file, deleted after the test."""
    with contextlib.ExitStack() as stack:
        def put(name, data, **kwargs):
            path = data
            if isinstance(data, bytes):
                path = tmp_path / name
                path.write_bytes(data)
            made = cloud.upload('e2e-' + name, path, **kwargs)
            stack.callback(cloud.sdk.image.delete_image, made.id)
            return made
        yield put
