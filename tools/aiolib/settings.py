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
"""Paths, versions and everything that the environment can set."""

import dataclasses
import os
import pathlib
import stat
import tempfile

from aiolib import ui

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]

# The releases of OpenStack 2026.2. Everything else is in constraints.txt.
PYTHON_PACKAGES = (
    'keystone==30.0.0',
    'glance==33.0.0',
    'openstack-placement==16.0.0',
    'neutron==29.0.0',
    'nova==34.0.0',
    'cinder==29.0.0',
    'python-openstackclient',
    'PyMySQL',
    'uwsgi',
    'supervisor',
)

# Names of the system users. `nova` and `libvirt-qemu` are those of a real
# compute host; all control plane services share one.
NOVA_USER = 'nova'
CONTROL_USER = 'openstack-aio'

REGION = 'RegionOne'
PASSWORD = 'aio'  # every service listens on 127.0.0.1 or a private socket

HELP = """\
Settings (environment variables):
  AIO_DIR           where everything lives. Default: .aio in the checkout;
                    where the checkout is below a directory that other users
                    may not enter (/root), a directory below /var/lib that
                    .aio points to
  AIO_DRIVER        compute_driver of nova-compute. Default: this project's
                    containervm.ContainerVMDriver
  AIO_VIRT_TYPE     kvm or qemu. Default: kvm where /dev/kvm really runs a
                    guest
  AIO_PUBLIC_CIDR   IPv4 range of the network `public`, of which the host
                    takes the first address. Default: 192.168.77.0/24
  AIO_PUBLIC_CIDR6  its IPv6 range. Default: fd77:77:77::/64; empty: no IPv6
  AIO_INTERNAL_CIDR IPv4 range in which two compute hosts reach each other.
                    Default: 192.168.79.0/29
  AIO_DEBIAN_MIRROR for `demo` and `image`. Default: what this host's apt
                    takes Debian 12 from

The password of every user is `aio`; no service listens on the network.
"""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `tools/aio` works with. Paths are absolute.

    :param computes: number of compute hosts; see nodes
    """

    dir: pathlib.Path
    driver: str = ''
    virt_type: str = 'auto'
    public_cidr: str = '192.168.77.0/24'
    public_cidr6: str = 'fd77:77:77::/64'
    internal_cidr: str = '192.168.79.0/29'
    computes: int = 1
    checkout: pathlib.Path = CHECKOUT

    @property
    def command(self):
        """The command as the user has to type it."""
        chosen = (self.checkout / '.aio').resolve() != self.dir.resolve()
        prefix = f'AIO_DIR={self.dir} ' if chosen else ''
        return f'{prefix}{self.checkout}/tools/aio'

    @property
    def etc(self):
        """Generated configuration."""
        return self.dir / 'etc'

    @property
    def run(self):
        """Sockets and pid files."""
        return self.dir / 'run'

    @property
    def log(self):
        return self.dir / 'log'

    @property
    def state(self):
        """Databases, images, instances: what `down --wipe` removes."""
        return self.dir / 'state'

    @property
    def cache(self):
        """What can be made again, but takes time."""
        return self.dir / 'cache'

    @property
    def venv(self):
        return self.dir / 'venv'

    @property
    def bin(self):
        """The directory that `tools/aio env` puts into PATH."""
        return self.dir / 'bin'

    @property
    def base(self):
        """Base VM images."""
        return self.dir / 'base'

    @property
    def mkfs_erofs(self):
        """The program that makes disks of docker images."""
        return self.cache / 'erofs-utils' / 'bin' / 'mkfs.erofs'

    @property
    def images(self):
        """Docker archives built by tools/images and what they are made of."""
        return self.dir / 'images'

    @property
    def instances(self):
        return self.state / 'nova' / 'instances'

    @property
    def checkout_is_open(self):
        """Whether other users can read the checkout."""
        return open_to_all(self.checkout)

    def venv_bin(self, name):
        return str(self.venv / 'bin' / name)

    def database_url(self, name):
        return (f'mysql+pymysql://root@localhost/{name}'
                f'?unix_socket={self.run}/mariadb/socket')


def open_to_all(path):
    """Say whether every user can enter `path` (or where it will be made)."""
    path = pathlib.Path(path).absolute()
    for part in (path, *path.parents):
        try:
            mode = part.stat().st_mode
        except FileNotFoundError:
            continue
        if not mode & stat.S_IXOTH:
            return False
    return True


def load(environ=None, checkout=CHECKOUT, create=True):
    """Return the settings.

    :param environ: a mapping like os.environ
    :param checkout: the project's directory
    :param create: False to make no directory (for `status` and the like)
    :raises ui.Failure: when a value is unusable
    """
    environ = os.environ if environ is None else environ
    if environ.get('AIO_DIR'):
        directory = pathlib.Path(environ['AIO_DIR']).absolute()
        if not open_to_all(directory):
            raise ui.Failure(
                f'AIO_DIR={directory} is below a directory that other users '
                'may not enter',
                'nova-compute and QEMU run as unprivileged users and need the '
                'way to it. Choose another AIO_DIR, or unset it for the '
                'default.')
        names = set()
        if directory.is_dir():
            names = {p.name for p in directory.iterdir()}
        if 'host.json' not in names and names - {'lock', 'log', 'images'}:
            raise ui.Failure(
                f'AIO_DIR={directory} has other things in it',
                'Choose a directory that is empty or does not exist.')
    else:
        directory = _default_dir(pathlib.Path(checkout), create)
    text = str(directory)
    if not all(c.isalnum() or c in '/._-+' for c in text):
        raise ui.Failure(
            f'{text!r} has characters that configuration files do not take',
            'Set AIO_DIR to a path of letters, digits, and / . _ - + only.')
    virt_type = environ.get('AIO_VIRT_TYPE') or 'auto'
    if virt_type not in ('auto', 'kvm', 'qemu'):
        raise ui.Failure(f'AIO_VIRT_TYPE={virt_type} is neither kvm nor qemu',
                         'Unset it, or use one of these.')
    defaults = Settings(dir=directory)
    return Settings(
        dir=directory,
        driver=environ.get('AIO_DRIVER', ''),
        virt_type=virt_type,
        public_cidr=environ.get('AIO_PUBLIC_CIDR') or defaults.public_cidr,
        public_cidr6=environ.get('AIO_PUBLIC_CIDR6', defaults.public_cidr6),
        internal_cidr=(environ.get('AIO_INTERNAL_CIDR') or
                       defaults.internal_cidr),
        computes=_kept_computes(directory),
        checkout=pathlib.Path(checkout))


def keep_computes(cfg):
    """Let later commands know the number of compute hosts.

    It stays until `up --computes` is given another, or until `down --wipe`.
    """
    cfg.state.mkdir(exist_ok=True)
    (cfg.state / 'computes').write_text(f'{cfg.computes}\n')


def _kept_computes(directory):
    try:
        return int((directory / 'state' / 'computes').read_text())
    except (OSError, ValueError):
        return 1


def _default_dir(checkout, create):
    link = checkout / '.aio'
    if link.is_symlink() or open_to_all(checkout):
        # A link is what the case below left; resolve() gives its target.
        return link.resolve() if link.is_symlink() else link
    if not create:
        return link
    # A checkout in /root: users other than root cannot get there. The link
    # makes a second clone start from nothing.
    target = pathlib.Path(tempfile.mkdtemp(prefix='nova-containervm-aio.',
                                           dir='/var/lib'))
    target.chmod(0o755)
    link.symlink_to(target)
    return target
