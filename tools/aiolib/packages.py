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
"""Debian packages."""

import contextlib
import os
import pathlib
import platform
import subprocess

from aiolib import host
from aiolib import ui

# Packages that bring daemons; their units are switched off, because the
# supervisor starts these programs.
SERVICES = (
    'mariadb-server-core',
    'rabbitmq-server',
    'erlang-base',
    'openvswitch-switch',
    'libvirt-daemon',
    'libvirt-daemon-system',
    'libvirt-daemon-system-systemd',
    'haproxy',
    'radvd',
    'openssh-server',
)
WANTED = (
    # control plane
    'mariadb-server-core', 'mariadb-client-core', 'rabbitmq-server',
    # network
    'openvswitch-switch', 'haproxy', 'radvd', 'dnsmasq-base',
    # Its dhcp_release
    'dnsmasq-utils', 'conntrack',
    'iputils-arping', 'iproute2', 'iptables', 'kmod', 'procps',
    # compute
    'libvirt-daemon-system', 'libvirt-clients', 'qemu-system-x86',
    'qemu-utils', 'genisoimage', 'sudo', 'erofs-utils',
    # Nova makes a FAT on ephemeral disks.
    'dosfstools',
    # to build the virtual environment
    'python3-venv', 'python3-dev', 'gcc', 'libc6-dev', 'pkg-config',
    'libvirt-dev', 'git',
    # the base VM image (its builder is asked, too)
    'mmdebstrap', 'mtools', 'syslinux', 'syslinux-common',
    'e2fsprogs',
    # the demo
    'curl', 'ca-certificates',
)
# A package of its own since then; before, qemu-system-common has it.
SINCE_13 = ('virtiofsd',)
# tools/images builds docker archives with these.
IMAGE_TOOLS = ('buildah', 'mmdebstrap', 'busybox-static', 'uidmap')
# buildah asks for it since then, whatever it does.
IMAGE_TOOLS_SINCE_13 = ('netavark',)

POLICY = pathlib.Path('/usr/sbin/policy-rc.d')


def wanted():
    """Return what the cloud needs on this host's release of Debian."""
    return WANTED if _is_12() else (*WANTED, *SINCE_13)


def image_tools():
    """Return what builds docker images on this host's release of Debian."""
    return IMAGE_TOOLS if _is_12() else (*IMAGE_TOOLS, *IMAGE_TOOLS_SINCE_13)


def _is_12():
    # Testing and unstable have none.
    return platform.freedesktop_os_release().get('VERSION_ID') == '12'


def missing(names):
    """Return those that are not installed."""
    done = subprocess.run(
        ['dpkg-query', '--show', '--showformat',
         '${Package} ${Provides} ${db:Status-Status}\n'],
        capture_output=True, text=True, check=True)
    have = set()
    for line in done.stdout.splitlines():
        *words, status = line.replace(',', ' ').split()
        if status == 'installed':
            have.update(words)
    return [n for n in names if n not in have]


def install(cfg, record, names):
    """Install what is missing, without letting anything start.

    :returns: the names of the packages that were missing
    """
    absent = missing(names)
    if not absent:
        return []
    log = cfg.log / 'apt.log'
    env = dict(os.environ, DEBIAN_FRONTEND='noninteractive', LC_ALL='C.UTF-8',
               PATH=ui.clean_env()['PATH'])
    # Also those that come along as dependencies: `down --wipe --packages`.
    before = _all_installed()
    remedy = ('Check that the package sources work (apt-get update) and that '
              f'there is room on the disk. The whole log: {log}')
    with no_service_starts():
        _apt(['update', '-q'], log, env, remedy)
        _apt(['install', '-q', '-y', '--no-install-recommends', *absent],
             log, env, remedy)
    new = sorted(_all_installed() - before)
    record.data['packages'] = sorted({*record.data['packages'], *new})
    record.save()
    units = host.packages_units([n for n in SERVICES if n in new])
    if units and os.path.exists('/usr/bin/systemctl'):
        # Not at the next boot either. Works without systemd running, too.
        args = ['systemctl', 'disable', '--quiet']
        if host.systemd_running():
            args.append('--now')
        subprocess.run([*args, *units], check=False,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    return absent


def _apt(args, log, env, remedy):
    # Another apt (unattended-upgrades after a boot) may hold the lock.
    ui.run(['apt-get', '-o', 'DPkg::Lock::Timeout=300', *args], log=log,
           env=env, remedy=remedy)


def _all_installed():
    done = subprocess.run(
        ['dpkg-query', '--show', '--showformat',
         '${db:Status-Status} ${Package}\n'],
        capture_output=True, text=True, check=True)
    return {line.split()[1] for line in done.stdout.splitlines()
            if line.startswith('installed ')}


@contextlib.contextmanager
def no_service_starts():
    """Keep maintainer scripts from starting daemons, with a policy-rc.d.

    One that is there already and forbids starts is left alone. After a crash
    the saved original is put back by the next run.
    """
    saved = POLICY.with_name('policy-rc.d.before-aio')
    ours = '#!/bin/sh\n# Temporary, by tools/aio.\nexit 101\n'
    if POLICY.exists() and POLICY.read_text() != ours and not saved.exists():
        done = subprocess.run([POLICY, 'mariadb', 'start'], check=False,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
        if done.returncode == 101:
            yield
            return
        POLICY.rename(saved)
    host.write(POLICY, ours, 0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
        if saved.exists():
            saved.rename(POLICY)


def purge(cfg, names):
    """Remove packages that `install` brought, and nothing else.

    Packages that others came to depend on since then make apt refuse to go
    further than these: it only simulates first.
    """
    log = cfg.dir / 'apt-purge.log'
    env = dict(os.environ, DEBIAN_FRONTEND='noninteractive', LC_ALL='C.UTF-8',
               PATH=ui.clean_env()['PATH'])
    present = [n for n in names if n in _all_installed()]
    plan = ui.run(['apt-get', '--simulate', 'purge', *present], env=env)
    going = {line.split()[1] for line in plan.splitlines()
             if line.startswith('Purg ')}
    others = sorted(going - set(names))
    if others:
        raise ui.Failure(
            'other packages depend on those to be removed: ' +
            ', '.join(others), 'Remove them first, or leave all of it.')
    # sudo wants to hear this from whoever has no root password.
    env['SUDO_FORCE_REMOVE'] = 'yes'
    with no_service_starts():
        ui.run(['apt-get', '-q', '-y', 'purge', *present], log=log, env=env,
               what='apt-get purge')
