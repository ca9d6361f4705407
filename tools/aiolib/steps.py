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
"""`up` and `down`: the steps and their order."""

import concurrent.futures
import shutil
import time

from aiolib import baseimage
from aiolib import database
from aiolib import host
from aiolib import migration
from aiolib import network
from aiolib import nodeconfig
from aiolib import nodes
from aiolib import packages
from aiolib import pyenv
from aiolib import render
from aiolib import secondhost
from aiolib import services
from aiolib import settings
from aiolib import supervisor as supervisor_mod
from aiolib import ui
from aiolib import virt
from aiolib import volumes

OURS = 'containervm.ContainerVMDriver'
PLAIN = 'libvirt.LibvirtDriver'
AGENTS = {'openvswitch': 'ovs'}  # whose file has another name
# Files below etc/ of which a second compute host has its own.
OF_FIRST_HOST = ('nova/nova-compute', 'libvirt/', 'sshd/',
                 'neutron/openvswitch_agent')


def driver(cfg):
    """Return compute_driver: the setting, or the project's driver."""
    if cfg.driver:
        return cfg.driver
    there = (cfg.checkout / 'nova_containervm' / 'driver.py').exists()
    return OURS if there else PLAIN


def up(cfg):
    """Bring everything up. Does nothing where nothing is to be done."""
    begin = time.monotonic()
    cfg.dir.mkdir(parents=True, exist_ok=True)
    cfg.log.mkdir(exist_ok=True)
    sup = supervisor_mod.Supervisor(cfg)
    running = sup.running()
    if not running and network.orphans(cfg):
        with ui.step('services without their supervisor') as remark:
            remark(', '.join(clean_leftovers(cfg)))
    if secondhost.left(cfg):
        secondhost.check_retirable(cfg)
    host.preflight(cfg, running)
    record = host.Record(cfg)
    record.save()
    settings.keep_computes(cfg)
    ui.note(f'All-in-one in {cfg.dir}')
    with ui.step('Debian packages') as remark:
        new = packages.install(
            cfg, record, (*packages.wanted(), *migration.packages(cfg)))
        remark(f'{len(new)} installed' if new else 'all there')
    network.check_ranges(cfg)
    with ui.step('Python packages of OpenStack') as remark:
        remark('installed' if pyenv.ensure(cfg) else 'all there')
    with ui.step('this project in the venv') as remark:
        remark('installed' if pyenv.ensure_project(cfg) else 'up to date')
        pyenv.link_commands(cfg)
    name = driver(cfg)
    if name == OURS:
        with ui.step('base VM image') as remark:
            remark('built' if baseimage.ensure(cfg, record) else 'up to date')
        with ui.step('mkfs.erofs that reads archives') as remark:
            remark('fetched' if baseimage.ensure_mkfs(cfg) else 'there')
    with ui.step('users, directories, configuration') as remark:
        host.ensure_users(cfg, record)
        host.ensure_dirs(cfg)
        if cfg.computes > 1:
            secondhost.make_dirs(cfg)
        host.open_kvm(record)
        host.make_loop_devices(record)
        virt_type = virt.virt_type(cfg)
        if virt_type == 'qemu':
            virt.hide_kvm(cfg)
        changed = configure(cfg, record, name, virt_type)
        remark(f'virt_type {virt_type}, {name}')
        if running and changed:
            remark('changed: ' + ', '.join(sorted(changed)))
    if running:
        # One that is new is not there to be stopped.
        known = sup.info()
        programs = [p for p in services.programs(cfg) if p.name in known]
        affected = [p for p in programs if uses_changed(p.name, changed)]
        if code_is_newer(cfg, sup.info()):
            affected += [p for p in programs if p not in affected and
                         p.name.partition('@')[0] == 'nova-compute']
        if affected:
            # `start` starts them again. Not everything: without Open vSwitch
            # running servers would lose their network for good.
            with ui.step('stopping what has changed') as remark:
                remark(', '.join(p.name for p in affected))
                for program in affected:
                    sup.finish_program(program)
    start(cfg, sup, record)
    ui.note(f'The cloud is up ({time.monotonic() - begin:.0f} s). Now:\n'
            f'  eval "$({cfg.command} env)"\n'
            '  openstack server list')


def uses_changed(name, changed):
    """Say whether a program reads one of these files below etc/."""
    name, _at, on = name.partition('@')
    directory = name.partition('-')[0]
    for path in changed:
        if path.startswith('hosts/'):
            _hosts, of, path = path.split('/', 2)
            if of != on:
                continue
        elif on and path.startswith(OF_FIRST_HOST):
            continue
        if path in ('nova/nova-compute.conf',
                    'nova/nova-compute.d/90-reconfigure.conf'):
            hit = name == 'nova-compute'
        elif path.startswith('uwsgi/'):
            hit = path == f'uwsgi/{name}.ini'
        elif path.startswith('libvirt/'):
            hit = name == 'libvirtd'
        elif path.endswith('_agent.ini'):
            word = path.removeprefix('neutron/').removesuffix('_agent.ini')
            hit = name == f'neutron-{AGENTS.get(word, word)}-agent'
        else:
            hit = path.startswith(f'{directory}/')
        if hit:
            return True
    return False


def code_is_newer(cfg, info):
    """Say whether the project changed since a nova-compute started.

    Also in an earlier `up` that has failed after it.

    :param info: see supervisor.Supervisor.info
    """
    started = [info[name]['start'] for name in
               (node.program('nova-compute') for node in nodes.every(cfg))
               if info.get(name, {}).get('statename') == 'RUNNING']
    if not started:
        return False
    paths = [pyenv.project_stamp(cfg)]
    if cfg.checkout_is_open:
        paths += (cfg.checkout / 'nova_containervm').rglob('*.py')
    return any(p.exists() and p.stat().st_mtime > min(started) for p in paths)


def configure(cfg, record, driver_name, virt_type):
    """Write every file; return the names of those that changed."""
    before = _snapshot(cfg)
    migration.prepare(cfg, record)
    if cfg.computes > 1:
        secondhost.write_conf(cfg)
    render.write_all(cfg, driver_name, virt_type)
    volumes.write_all(cfg)
    host.write(cfg.etc / 'supervisord.conf', supervisor_mod.render(cfg))
    for node in nodes.every(cfg):
        config = nodeconfig.NodeConfig(node)
        config.write()
        config.write_qemu_conf(record)
    record.write_file(host.SUDOERS, render.sudoers(cfg), 0o440)
    after = _snapshot(cfg)
    return {n for n in after if before.get(n) != after[n]}


def _snapshot(cfg):
    return {str(p.relative_to(cfg.etc)): p.read_bytes()
            for p in cfg.etc.rglob('*') if p.is_file()}


def start(cfg, sup, record):
    """Start all services, stage by stage, and fill the databases."""
    running = sup.running() and \
        sup.info().get('vswitchd', {}).get('statename') == 'RUNNING'
    if not running:
        network.clean(cfg)
    if cfg.computes > 1:
        with ui.step('namespaces of the second compute host') as remark:
            remark('made' if secondhost.create(cfg) else 'there')
    hosts = nodes.every(cfg)
    with ui.step('database files') as remark:
        remark(database.install(cfg))
        for node in hosts:
            network.prepare_ovs(node)
    with ui.step('supervisor, MariaDB, RabbitMQ, libvirt, OVS database'):
        sup.start()
        if sup.info()['libvirtd']['statename'] != 'RUNNING':
            virt.own_definitions(cfg)
        sup.start_stage('base')
        for node in hosts:
            network.configure_ovs(node)
    with ui.step('database schemas') as remark:
        remark('made' if database.sync(cfg) else 'all there')
    with ui.step('Open vSwitch, Keystone, Glance, Placement, Neutron'):
        sup.start_stage('control')
        network.setup_bridges(cfg)
    with ui.step('users and catalogue') as remark:
        remark('made' if database.identities(cfg) else 'all there')
    if not database.seed_path(cfg).exists():
        with ui.step('a copy of the databases, for the next first start'):
            database.save_seed(cfg, sup)
    with ui.step('Nova, Cinder'):
        late = sup.start_stage('nova')
    # Before the agents: they take whole networks better than one subnet
    # after the other. The DHCP agent at times serves none of the two then.
    with ui.step('flavors, networks, security group rules') as remark:
        made = database.objects(cfg)
        remark('made' if made else 'all there')
    with ui.step('nova-compute and the Neutron agents'):
        sup.start_stage('compute')
        sup.wait_healthy(late)
        database.discover_hosts(cfg)
    with ui.step('DHCP and routers'):
        if made or not ui.wait_until(lambda: network.agents_done(cfg), 20):
            # Networks go to agents that have reported, and ports are bound
            # where an Open vSwitch agent has; these two ask when they start.
            for name in ('neutron-dhcp-agent', 'neutron-l3-agent'):
                sup.stop_program(name)
                sup.start_program(name)
        network.wait_agents(cfg)
    if secondhost.left(cfg):
        with ui.step('away with the second compute host'):
            secondhost.retire(cfg, database.script)


def stop(cfg, sup, undefine=False):
    """Power off the guests and stop all services.

    :param undefine: remove the guests from libvirt, too
    """
    known = sup.info()
    running = {name for name, state in known.items()
               if state['statename'] == 'RUNNING'}
    if not undefine:
        stop_servers(cfg, running)
    hosts = nodes.every(cfg)
    for node in hosts:
        if node.program('libvirtd') in running:
            virt.destroy_domains(node, undefine)
    compute = [p for p in services.programs(cfg)
               if p.stage == 'compute' and p.name in known]
    for program in compute:
        if not program.idle_mark:
            sup.stop_program(program.name, wait=False)
    with concurrent.futures.ThreadPoolExecutor(nodes.MOST) as pool:
        list(pool.map(sup.finish_program, compute))
    for node in hosts:
        if node.program('vswitchd') in running:
            network.remove_datapath(node)
    sup.stop_all()
    secondhost.remove(cfg)
    volumes.detach(cfg)
    network.clean(cfg)
    sup.shutdown()
    virt.remove_mounts()


def stop_servers(cfg, running):
    """Stop the servers by Nova, if Nova is there, for up to 20 seconds."""
    if not {'keystone', 'nova-api', 'nova-conductor',
            'nova-compute'} <= running or not virt.any_domains(cfg, running):
        return
    try:
        database.script(cfg, 'stop_servers', '20')
    except ui.Failure:
        pass  # its log tells; they are powered off in any case


def down(cfg, wipe=False, caches=False, purge=False):
    """Stop everything.

    :param wipe: remove all state and put the host back as it was
    :param caches: remove the venv and the caches, too (the whole directory)
    :param purge: remove the Debian packages that `up` installed
    """
    sup = supervisor_mod.Supervisor(cfg)
    record = host.Record(cfg) if cfg.dir.exists() else None
    if sup.running():
        with ui.step('stopping guests and services'):
            stop(cfg, sup, undefine=wipe)
    with ui.step('processes, mounts and namespaces that are left') as remark:
        remark(', '.join(clean_leftovers(cfg)) or 'none')
    if not wipe:
        ui.note('Stopped. State is kept: tools/aio up starts it again, '
                'tools/aio down --wipe removes it.')
        return
    with ui.step('users and files below /etc as they were'):
        if record:
            host.restore(cfg, record)
    installed = record.data['packages'] if record else []
    if purge and installed:
        with ui.step(f'removing {len(installed)} Debian packages'):
            packages.purge(cfg, installed)
            record.data['packages'] = []
            record.save()
    with ui.step('state'):
        for path in (cfg.state, cfg.run, cfg.etc, cfg.log, cfg.bin):
            shutil.rmtree(path, ignore_errors=True)
        if caches:
            remove_rest(cfg)
    if not caches and cfg.dir.exists():
        ui.note(f'Kept for the next `up`: venv and caches in {cfg.dir} '
                '(--caches removes them).')
    if installed and not purge:
        ui.note(f'{len(installed)} Debian packages stay installed, their '
                'services switched off (--packages removes them).')


def remove_rest(cfg):
    """Remove everything of ours in $AIO_DIR, and itself if it is empty."""
    for path in (cfg.venv, cfg.cache, cfg.base, cfg.images):
        shutil.rmtree(path, ignore_errors=True)
    for name in ('host.json', 'lock', '.gitignore', 'apt-purge.log'):
        (cfg.dir / name).unlink(missing_ok=True)
    try:
        cfg.dir.rmdir()
    except OSError:
        return  # the user keeps something there
    link = cfg.checkout / '.aio'
    if link.is_symlink():
        link.unlink()


def clean_leftovers(cfg):
    """End processes and unmount what is below our directory.

    :returns: what there was, in words
    """
    found = secondhost.remove(cfg)
    names = (*network.HELPERS, 'privsep-helper', 'sudo', 'qemu-system-x86',
             'qemu-nbd', 'virtiofsd')
    pids = {*network.processes(f'{cfg.dir}/', names), *network.orphans(cfg)}
    network.kill(pids)
    if pids:
        found.append(f'{len(pids)} processes')
    devices = volumes.detach(cfg)
    if devices:
        found.append(f'{devices} loop devices')
    mounts = secondhost.mounts_below(cfg.dir)
    for mount in reversed(mounts):
        ui.run(['umount', '--lazy', mount], check=False)
    mounts += virt.remove_mounts()
    if mounts:
        found.append(f'{len(mounts)} mounts')
    if shutil.which('ip'):
        network.clean(cfg)
        if not host.pids_of('ovs-vswitchd'):
            network.remove_devices()
    return found
