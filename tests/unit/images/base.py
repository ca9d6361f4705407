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

"""What the tests of the image store have in common."""

import atexit
import contextlib
import os
import resource
import shutil
import socket
import tempfile
import unittest
from unittest import mock

from nova_containervm.images import diskstore
from nova_containervm.images import limits
from nova_containervm.images import server
from nova_containervm.images import session
from nova_containervm.images import store
from tests.unit.images import builders


def fork_helper(self, root, form, owner, options=()):
    """session.Session._start_plain without a new interpreter: faster."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    self._process = mock.Mock()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            server.Server(root, form, owner, os.geteuid() == 0,
                          *options[1:]).serve(theirs)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    self._process.wait.side_effect = lambda _timeout: os.waitpid(pid, 0)
    self._control = ours


@contextlib.contextmanager
def open_files(count):
    """Let processes open no more than *count* files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class StoreTestCase(unittest.TestCase):
    """With a directory of its own and a store in it."""

    def setUp(self):
        super().setUp()
        self.dir = tempfile.mkdtemp(prefix='cvm')
        self.addCleanup(shutil.rmtree, self.dir)
        os.chmod(self.dir, 0o755)
        patch = mock.patch.object(session.Session, '_start_plain',
                                  fork_helper)
        patch.start()
        self.addCleanup(patch.stop)

    def store(self, mode='mapped', name='store', mkfs=None, **more):
        owner = None
        if os.geteuid() == 0 and mode != 'passthrough':
            owner = (64055, 64056)
        if mode == 'block':
            return diskstore.DiskStore(
                os.path.join(self.dir, name), owner=owner,
                mkfs=mkfs or MKFS[-1], limits=limits.Limits(**more),
                architecture='amd64')
        return store.ImageStore(
            os.path.join(self.dir, name), access_mode=mode, owner=owner,
            limits=limits.Limits(**more), architecture='amd64')

    def ensure(self, data, ref=None, mode='mapped', where=None):
        """Store an archive, given as bytes."""
        where = where or self.store(mode)
        return where.ensure('image', builders.chunks(data), ref=ref)

    def assertNothingLeft(self, where):
        for name in ('images', 'layers', 'tmp', 'locks'):
            self.assertEqual([], os.listdir(where.path(name)), name)


#: Access modes that this user can test.
MODES = ('mapped', 'passthrough') if os.geteuid() == 0 else ('mapped',)
#: Forms of images that this user can make, and look into afterwards.
FORMS = (*MODES, 'block') if os.geteuid() == 0 else MODES


def _newer():
    """What CONTAINERVM_MKFS_EROFS names, where all users get to it.

    tools/test has tools/erofs-utils make it where the host's is old.
    """
    path = os.environ.get('CONTAINERVM_MKFS_EROFS')
    if path is None or os.geteuid():
        return path
    copy = tempfile.mkdtemp(prefix='cvm-erofs')
    atexit.register(shutil.rmtree, copy)
    os.chmod(copy, 0o755)
    shutil.copytree(os.path.dirname(os.path.dirname(path)), copy + '/made')
    return os.path.join(copy, 'made/bin', os.path.basename(path))


#: The host's mkfs.erofs, and one that reads tar archives.
MKFS = tuple(dict.fromkeys(('mkfs.erofs', _newer() or 'mkfs.erofs')))
