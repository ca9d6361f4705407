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


"""The disk of a server as it is at one moment.

A running server goes on meanwhile: libvirt's backup (virDomainBackupBegin,
push mode) copies its disk as it was when the backup began, and QEMU keeps what
the server then overwrites until it has been copied. The guest's file systems
are frozen for the moment of that beginning only.
"""

import time

from lxml import etree
from nova import exception
from nova.virt.libvirt import host as libvirt_host
from oslo_concurrency import processutils
from oslo_log import log as logging

from nova_containervm.snapshot import errors

LOG = logging.getLogger(__name__)

POLL = 0.2

# Of libvirt's VIR_DOMAIN_JOB_: types of a job, and which one is asked for
_JOB_NONE = 0
_JOB_COMPLETED = 3
_STATS_COMPLETED = 1


def backup_xml(domain, disk, target):
    """What virDomainBackupBegin wants: a copy of one of a domain's disks.

    :param domain: XML of the running domain
    :param disk: target name of the disk, as vda
    :param target: path of the copy
    """
    root = etree.Element('domainbackup', mode='push')
    disks = etree.SubElement(root, 'disks')
    for element in etree.fromstring(domain).findall('./devices/disk/target'):
        name = element.get('dev')
        if name != disk:
            etree.SubElement(disks, 'disk', name=name, backup='no')
            continue
        wanted = etree.SubElement(disks, 'disk', name=name, backup='yes',
                                  type='file')
        etree.SubElement(wanted, 'target', file=target)
        etree.SubElement(wanted, 'driver', type='qcow2')
    return etree.tostring(root, encoding='unicode')


def copy_running(guest, disk, target, freeze, thaw):
    """Copy the disk of a running or paused server.

    :param guest: Nova's libvirt Guest
    :param disk: target name of the disk
    :param target: path of the copy, a qcow2 without a backing file
    :param freeze: called just before the moment of the copy
    :param thaw: called just after it, also if something fails
    :raises errors.LayerError: it could not be copied
    """
    domain = guest._domain
    xml = backup_xml(guest.get_xml_desc(), disk, target)
    try:
        try:
            freeze()
            domain.backupBegin(xml, None, 0)
        finally:
            thaw()
        while domain.jobInfo()[0] != _JOB_NONE:
            time.sleep(POLL)
        done = domain.jobStats(_STATS_COMPLETED)
    except libvirt_host.libvirt.libvirtError as e:
        raise _failed(guest, e)
    if done.get('type') != _JOB_COMPLETED or not done.get('success', True):
        raise errors.LayerFailed(reason='the copy of its disk failed: %s' %
                                 done.get('errmsg', 'libvirt does not say '
                                          'why'))


def _failed(guest, error):
    if error.get_error_code() == libvirt_host.libvirt.VIR_ERR_NO_DOMAIN:
        # Deleted meanwhile. Nova has a quiet end for that.
        return exception.InstanceNotFound(instance_id=guest.uuid)
    return errors.LayerFailed(reason='the copy of its disk failed: %s' %
                              error)


def abort(guest):
    """End the copy of a server's disk that a killed process has begun."""
    try:
        if guest._domain.jobInfo()[0] != _JOB_NONE:
            guest._domain.abortJob()
    except libvirt_host.libvirt.libvirtError as e:
        LOG.warning('The copy of the disk of %(name)s cannot be ended: '
                    '%(error)s', {'name': guest.uuid, 'error': e})


def overlay(disk, disk_format, target):
    """A qcow2 that has what the disk of a stopped server has.

    What is written to it stays out of that disk.

    :raises processutils.ProcessExecutionError: it cannot be made
    """
    processutils.execute('qemu-img', 'create', '-q', '-f', 'qcow2', '-b',
                         disk, '-F', disk_format, target)
