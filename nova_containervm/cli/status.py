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

"""nova-containervm-status: is a compute host ready for an upgrade?"""

import glob
import inspect
import os
import sys

from nova import exception
from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from nova_containervm import basevm
from nova_containervm.cli import store as store_cli
from nova_containervm import conf
from nova_containervm import doctor
from nova_containervm.images import errors
from nova_containervm import record

CONF = conf.CONF


def _good(text=None):
    return upgradecheck.Result(upgradecheck.Code.SUCCESS, text)


def _bad(text):
    return upgradecheck.Result(upgradecheck.Code.FAILURE, text)


class Checks(upgradecheck.UpgradeCommands):
    """Checks to be made with the new code, before nova-compute restarts.

    They only read, and only what is on this host.
    """

    def _check_nova(self):
        """Nova is of a version that the driver supports."""
        oldest, newest = doctor.NOVA_VERSIONS
        for finding in doctor.check_nova(None):
            if finding.subject != 'Nova':
                continue
            return upgradecheck.Result({
                doctor.ERROR: upgradecheck.Code.FAILURE,
                doctor.WARNING: upgradecheck.Code.WARNING,
            }.get(finding.level, upgradecheck.Code.SUCCESS), finding.text)
        return _bad('Nova is not installed.')

    def _check_driver(self):
        """The driver's methods take what Nova's libvirt driver takes."""
        try:
            from nova.virt.libvirt import driver as libvirt_driver

            from nova_containervm import driver
        except ImportError as e:
            return _bad('The driver cannot be imported: %s.' % e)
        ours, theirs = (driver.ContainerVMDriver,
                        libvirt_driver.LibvirtDriver)
        different = sorted(
            name for name, method in vars(ours).items()
            if inspect.isfunction(method) and name != '__init__'
            and not _same(method, getattr(theirs, name, None)))
        # What LibvirtDriver does not have is the driver's own.
        different = [name for name in different if hasattr(theirs, name)]
        if different:
            return _bad(
                'Methods of Nova have changed: %s. Install a '
                'nova-containervm for this version of Nova.'
                % ', '.join(different))
        return _good()

    def _check_settings(self):
        """All options have values that there are."""
        try:
            for option in conf.containervm_opts:
                CONF.containervm[option.dest]
            for option in conf.libvirt_opts:
                CONF.libvirt[option.dest]
        except cfg.ConfigFileValueError as e:
            return _bad(str(e))
        return _good()

    def _check_base(self):
        """New servers: the base VM image speaks the driver's contract."""
        if CONF.libvirt.sub_virt_type != 'container':
            return _good('Container servers are not enabled on this host.')
        try:
            basevm.load(CONF.libvirt.base_vm_image or '')
        except exception.InvalidConfiguration as e:
            return _bad(e.format_message())
        return _good()

    def _check_servers(self):
        """Servers that are here: their records, and what they boot."""
        bases = basevm.BaseCache()
        wrong, count = [], 0
        for path in sorted(glob.glob(os.path.join(
                glob.escape(CONF.instances_path), '*', record.DIRECTORY))):
            instance_dir = os.path.dirname(path)
            try:
                bases.get(record.Record.load(instance_dir).base_digest)
                count += 1
            except FileNotFoundError:
                # Not made yet, or being deleted
                continue
            except (exception.InvalidDiskInfo, KeyError, TypeError,
                    ValueError, PermissionError) as e:
                wrong.append('%s (%s)' % (os.path.basename(instance_dir), e))
        if wrong:
            return _bad('These servers could not be started again: %s. '
                        'Rebuild or delete them, or stay with the old '
                        'version.' % ', '.join(wrong))
        return _good('%d container servers.' % count)

    def _check_store(self):
        """The image store is in a form that the new code reads."""
        top = os.path.join(CONF.instances_path,
                           CONF.image_cache.subdirectory_name, 'containervm')
        wrong = []
        for mode in conf.IMAGE_FORMS:
            root = os.path.join(top, mode)
            if not os.path.isdir(os.path.join(root, 'layers')):
                continue
            try:
                store = store_cli.open_store(root)
                wrong += ['%s/%s' % (mode, os.path.basename(path))
                          for path, known in store.records() if not known]
                wrong += ['%s/%s' % (mode, name) for name in store.layers()
                          if store.layer_info(name) is None]
            except (errors.StoreError, OSError) as e:
                wrong.append('%s (%s)' % (root, e))
        if wrong:
            return upgradecheck.Result(
                upgradecheck.Code.WARNING, 'Parts of the image store are '
                'not understood and will be fetched again: %s.'
                % ', '.join(wrong))
        return _good()

    _upgrade_checks = (
        ('Version of Nova', _check_nova),
        ('Interface of Nova', _check_driver),
        ('Settings', _check_settings),
        ('Base VM image', _check_base),
        ('Servers on this host', _check_servers),
        ('Image store', _check_store),
    )


def _same(ours, theirs):
    """Whether a method can be called as the one that it overrides."""
    if theirs is None:
        return False
    mine = inspect.signature(ours).parameters
    if any(p.kind is p.VAR_POSITIONAL for p in mine.values()):
        return True
    wanted = list(inspect.signature(theirs).parameters)
    # What only other releases of Nova pass may stay away.
    return list(mine)[:len(wanted)] == wanted and all(
        p.default is not p.empty for p in list(mine.values())[len(wanted):])


def main(argv=None):
    """Entry point of the command.

    :returns: exit status: 0 ready, 1 ready with warnings, 2 not ready
    """
    return upgradecheck.main(
        CONF, 'nova', Checks(),
        argv=sys.argv[1:] if argv is None else argv)


if __name__ == '__main__':
    sys.exit(main())
