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


"""Settings of nova-compute by a short name.

A change of settings restarts nova-compute, so tests name what they need and
the suite is ordered by it (conftest.py).
"""

import dataclasses
import itertools

import pytest

BOOT = ('kernel', 'disk')
RUNTIME = ('crun', 'chroot')
ACCESS = ('mapped', 'passthrough')
# writable_layer, share_provisioning
LAYER = (('disk', 'overlay'), ('share', 'overlay'), ('share', 'copy'),
         ('share', 'reflink'))
TRANSPORTS = ('9p', 'virtiofs', 'block')
# One of each column of the support matrix
COLUMNS = ('default', 'virtiofs', 'block', 'share-overlay', 'virtiofs-share')
DEFAULTS = {
    'containervm.rootfs_transport': '9p',
    'containervm.boot_method': 'kernel',
    'containervm.guest_runtime': 'crun',
    'containervm.share_access_mode': 'mapped',
    'containervm.writable_layer': 'disk',
    'containervm.share_provisioning': 'overlay',
}


@dataclasses.dataclass(frozen=True)
class Profile:
    """What nova-compute is to run with.

    :param settings: 'group.option' to value; None takes an option away
    :param qemu_user: the user that QEMU runs as
    """

    settings: dict
    qemu_user: str = 'libvirt-qemu'

    @property
    def transport(self):
        return self._value('containervm.rootfs_transport')

    @property
    def layer(self):
        return self._value('containervm.writable_layer')

    @property
    def column(self):
        """Its column in the support matrix."""
        if self.transport == 'block':
            return 'block'
        return '%s-%s' % (self.transport, self.layer)

    @property
    def access(self):
        """How files look on this host, where they are on it."""
        if self.transport == 'virtiofs':
            return 'passthrough'
        return self._value('containervm.share_access_mode')

    def _value(self, option):
        return self.settings.get(option, DEFAULTS[option])


def combination(boot='kernel', runtime='crun', access='mapped',
                layer=('disk', 'overlay'), transport='9p'):
    """The profile of one combination; only what is no default is set."""
    wanted = {
        'containervm.rootfs_transport': transport,
        'containervm.boot_method': boot,
        'containervm.guest_runtime': runtime,
        'containervm.share_access_mode': access,
        'containervm.writable_layer': layer[0],
        'containervm.share_provisioning': layer[1],
    }
    return Profile({k: v for k, v in wanted.items() if v != DEFAULTS[k]},
                   'root' if access == 'passthrough' else 'libvirt-qemu')


def combinations():
    """All combinations by name, those of mapped access first."""
    found = {
        '-'.join((access, boot, runtime, *layer)): combination(
            boot, runtime, access, layer)
        for access, boot, runtime, layer in itertools.product(
            ACCESS, BOOT, RUNTIME, LAYER)}
    for boot, runtime, layer in itertools.product(BOOT, RUNTIME, LAYER):
        found['-'.join(('virtiofs', boot, runtime, *layer))] = combination(
            boot, runtime, layer=layer, transport='virtiofs')
    for boot, runtime in itertools.product(BOOT, RUNTIME):
        found['-'.join(('block', boot, runtime))] = combination(
            boot, runtime, transport='block')
    return found


# Names of combinations: with "default" and "rfc" each value of 9p is there
# twice, and each layer once. Of the other transports one each: "--all" has
# the rest, and the whole suite with each transport.
QUICK = (
    'mapped-kernel-chroot-share-overlay',
    'mapped-disk-crun-share-reflink',
    'passthrough-kernel-crun-share-copy',
    'virtiofs-disk-crun-share-overlay',
    'block-disk-chroot',
)

# The order is the order of the tests.
PROFILES = {
    'default': combination(),
    'virtiofs': combination(transport='virtiofs'),
    'block': combination(transport='block'),
    'share-overlay': combination(layer=('share', 'overlay')),
    'virtiofs-share': combination(layer=('share', 'overlay'),
                                  transport='virtiofs'),
    'share-copy': combination(layer=('share', 'copy')),
    'share-reflink': combination(layer=('share', 'reflink')),
    **combinations(),
    'off': Profile({'libvirt.sub_virt_type': None}),
    # The RFC's recipe to the letter; conftest adds the base VM image.
    'rfc': Profile({
        'containervm.rootfs_transport': '9p',
        'containervm.writable_layer': 'share',
        'containervm.share_provisioning': 'copy',
        'containervm.share_access_mode': 'passthrough',
        'containervm.guest_runtime': 'chroot',
        'containervm.boot_method': 'disk',
    }, 'root'),
}


def everywhere(names=COLUMNS):
    """Have a test run for each column of the support matrix.

    In the standard run only for the first.
    """
    return pytest.mark.parametrize('profile', [names[0], *(
        pytest.param(name, marks=pytest.mark.slow) for name in names[1:])],
        indirect=True)
