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

"""The two commands, and what of the store needs a process to see."""

import contextlib
import errno
import io
import json
import os
import socket
import sys
import time
import unittest
from unittest import mock

from nova_containervm.cli import image as image_cli
from nova_containervm.cli import store as store_cli
from nova_containervm.images import confine
from nova_containervm.images import durable
from nova_containervm.images import errors
from nova_containervm.images import server
from nova_containervm.images import session
from nova_containervm.images import store
from nova_containervm.images import upkeep
from nova_containervm.images import writeback
from nova_containervm import privsep
from nova_containervm.privsep import unpack
from tests.unit.images import base
from tests.unit.images import builders
from tests.unit.images.builders import Tar


def run(main, *args, stdin=b''):
    """(exit status, output, error output) of a command."""
    out, err = io.StringIO(), io.StringIO()
    source = mock.Mock(buffer=io.BytesIO(stdin))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), \
            mock.patch.object(sys, 'stdin', source):
        status = main(list(args))
    return status, out.getvalue(), err.getvalue()


class ImageCommandTestCase(base.StoreTestCase):

    def setUp(self):
        super().setUp()
        self.file = os.path.join(self.dir, 'image.tar')
        layer = Tar().dir('etc').file('etc/f', b'x' * 3000).end()
        self.data = builders.docker([layer], config={
            'Entrypoint': ['/bin/a b'], 'Cmd': ['-x'], 'User': '1:2',
            'Env': ['A=\x1b[2Jb'], 'ExposedPorts': {'80/tcp': {}}})
        with open(self.file, 'wb') as out:
            out.write(self.data)

    def test_inspect(self):
        status, out, err = run(image_cli.main, 'inspect', '--arch', 'amd64',
                               self.file)
        self.assertEqual((0, ''), (status, err))
        self.assertIn("'/bin/a b' -x", out)
        self.assertIn('80/tcp', out)
        self.assertIn('2.9 KiB in 2 entries, 1 layers', out)
        self.assertNotIn('\x1b', out)

    def test_json_from_standard_input(self):
        status, out, _err = run(image_cli.main, 'inspect', '--arch', 'amd64',
                                '--json', '-', stdin=self.data)
        found = json.loads(out)
        self.assertEqual(0, status)
        self.assertEqual(['/bin/a b', '-x'], found['command'])
        self.assertEqual('1:2', found['user'])
        self.assertEqual([], found['problems'])

    def test_no_command_is_a_problem(self):
        data = builders.docker([Tar().dir('etc').end()], config={})
        status, out, _err = run(image_cli.main, 'inspect', '--arch', 'amd64',
                                '-', stdin=data)
        self.assertEqual(0, status)
        self.assertIn('containervm_command', out)

    def test_problems(self):
        layer = (Tar().dir('etc').file('etc/passwd', b'a:x:7:8::/:/bin/sh')
                 .file('f', pax={'SCHILY.xattr.user.a': b'x' * 60000})
                 .file('g', pax={'SCHILY.xattr.security.selinux': b'x'})
                 .end())
        for user, problems in (('a', ()), ('b', ("no user 'b'",))):
            data = builders.docker([layer], config={
                'Cmd': ['x'], 'User': user})
            status, out, _err = run(image_cli.main, 'inspect', '--arch',
                                    'amd64', '--json', '-', stdin=data)
            found = json.loads(out)
            self.assertEqual(0, status)
            self.assertEqual(2 + len(problems), len(found['problems']))
            for words in ('60006 bytes of extended attributes',
                          'security.selinux', *problems):
                self.assertIn(words, ' '.join(found['problems']))

    def test_unusable(self):
        for args, words in ((('--arch', 's390x', self.file), 'linux/amd64'),
                            (('/nonexistent',), 'No such file'),
                            ((__file__,), 'no tar archive')):
            status, _out, err = run(image_cli.main, 'inspect', *args)
            self.assertEqual(1, status)
            self.assertIn(words, err)
        status, out, _err = run(image_cli.main, 'inspect', '--json',
                                '--arch', 's390x', self.file)
        self.assertEqual('WrongArchitecture', json.loads(out)['error'])


class StoreCommandTestCase(base.StoreTestCase):

    def test_commands(self):
        where = self.store()
        image = self.ensure(builders.docker(
            [Tar().dir('etc').file('etc/f', b'x').end()]), where=where)
        root = ('--root', where.root)
        status, out, _err = run(store_cli.main, *root, 'list')
        self.assertEqual(0, status)
        self.assertIn('1 images, 1 layers', out)
        status, out, _err = run(store_cli.main, *root, '--json', 'list')
        self.assertEqual('image', json.loads(out)['images'][0]['image_id'])
        self.assertEqual(0, run(store_cli.main, *root, 'verify')[0])
        os.unlink(os.path.join(image.layer_dirs[0], 'etc/f'))
        status, out, _err = run(store_cli.main, *root, 'verify', '--repair')
        self.assertEqual(1, status)
        self.assertIn('/etc/f is missing', out)
        self.assertEqual(0, run(store_cli.main, *root, 'verify')[0])
        self.ensure(builders.docker([Tar().dir('etc').end()]), where=where)
        status, out, _err = run(store_cli.main, *root, 'prune', '--keep',
                                'image', '--min-age', '0')
        self.assertIn('0 images removed', out)
        status, out, _err = run(store_cli.main, *root, 'prune', '--min-age',
                                '0')
        self.assertIn('removed image', out)
        self.assertNothingLeft(where)

    def test_no_store(self):
        status, _out, err = run(store_cli.main, '--root', self.dir, 'list')
        self.assertEqual(2, status)
        self.assertIn('no image store', err)


class LockTestCase(base.StoreTestCase):

    def test_exclusive_and_gone_afterwards(self):
        path = os.path.join(self.dir, 'lock')
        with durable.locked(path):
            fd = os.open(path, os.O_RDWR)
            self.assertFalse(durable.try_lock(fd))
            os.close(fd)
        self.assertFalse(os.path.exists(path))

    def test_a_lock_that_was_removed_meanwhile_is_none(self):
        path = os.path.join(self.dir, 'lock')
        pid = os.fork()
        if pid == 0:
            with durable.locked(path):
                open(path + '.held', 'wb').close()
                time.sleep(0.3)
            os._exit(0)
        while not os.path.exists(path + '.held'):
            time.sleep(0.01)
        with durable.locked(path) as fd:
            self.assertEqual(os.fstat(fd).st_ino, os.stat(path).st_ino)
        os.waitpid(pid, 0)

    def test_stale_locks_are_removed(self):
        with open(os.path.join(self.dir, 'stale'), 'wb'):
            pass
        with durable.locked(os.path.join(self.dir, 'held')):
            durable.remove_stale(self.dir)
            self.assertEqual(['held'], os.listdir(self.dir))


class HelperTestCase(base.StoreTestCase):
    """With a real helper process, not a forked one."""

    def setUp(self):
        super().setUp()
        mock.patch.stopall()
        self.addCleanup(mock.patch.stopall)

    def test_real_process(self):
        with mock.patch.object(session.Session, '_start_plain',
                               _REAL_START):
            image = self.ensure(builders.docker([Tar().file('x').end()]))
        self.assertEqual(1, len(image.layer_dirs))

    def test_requests_reach_only_the_store(self):
        root = os.open(self.dir, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, root)
        os.symlink('/', os.path.join(self.dir, 'layers'))
        for path in ('/', '.', '..', 'tmp', 'tmp/..', 'tmp/../../etc',
                     'layers/../x', 'images', 'tmp/a/b/c',
                     'layers/' + '0' * 15, 'layers/' + '0' * 16 + '/tree'):
            with self.assertRaises(errors.StoreError):
                os.close(server.open_below(root, path))
        with self.assertRaises(NotADirectoryError):
            server.open_below(root, 'layers/' + '0' * 16)

    def test_dead_helper(self):
        ours, theirs = socket.socketpair()
        theirs.close()
        task = session.Task(ours)
        self.assertFalse(task.feed(b'x') and task.feed(b'x'))
        with self.assertRaises(errors.HelperDied):
            task.result()


_REAL_START = session.Session._start_plain


@unittest.skipUnless(os.geteuid() == 0, 'needs root to give up')
class ConfineTestCase(base.StoreTestCase):

    def _inside(self, uid, keep, check):
        """Run *check* in a confined child; its exit status."""
        jail = os.path.join(self.dir, 'jail')
        os.makedirs(jail, exist_ok=True)
        os.chown(jail, uid, uid)
        fd = os.open(jail, os.O_RDONLY | os.O_DIRECTORY)
        pid = os.fork()
        if pid == 0:
            status = 9
            try:
                confine.enter(fd, uid, uid, keep)
                status = 0 if check() else 1
            finally:
                os._exit(status)
        os.close(fd)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_unprivileged(self):
        def check():
            assert os.getresuid() == (64055,) * 3
            assert os.getgroups() == []
            assert os.listdir('/') == []
            for call in (lambda: os.setuid(0), lambda: os.chroot('/'),
                         lambda: os.mknod('/n', 0o20600, os.makedev(1, 3)),
                         lambda: os.chown('/', 0, 0)):
                try:
                    call()
                except PermissionError:
                    continue
                return False
            os.mknod('/whiteout', 0o20600, 0)
            return True
        self.assertEqual(0, self._inside(64055, (), check))

    def test_passthrough_keeps_what_files_need(self):
        def check():
            os.mknod('/n', 0o20600, os.makedev(1, 3))
            os.chown('/n', 5, 6, follow_symlinks=False)
            for call in (lambda: os.setuid(5), lambda: os.chroot('/')):
                try:
                    call()
                except PermissionError:
                    continue
                return False
            return True
        self.assertEqual(0, self._inside(0, confine.FILE_CAPABILITIES,
                                         check))


class WritebackTestCase(base.StoreTestCase):

    def test_files_are_closed(self):
        """Those that it starts to write, and those that are too many."""
        later = writeback.Writeback()
        path = os.path.join(self.dir, 'f')
        fds = [os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(100)]
        with mock.patch.object(writeback, '_libc') as libc:
            for fd in fds:
                later.take(fd)
            later.start()
            later.finish()
        self.assertEqual([mock.call(fd, 0, 0, 2) for fd in fds[:64]],
                         libc.sync_file_range.mock_calls)
        for fd in fds:
            self.assertRaises(OSError, os.fstat, fd)

    def test_finish_of_an_older_release(self):
        """It counts on it that all is on the disk then."""
        where = server.Server(self.dir, 'mapped', (0, 0), False)
        with mock.patch.object(where, '_enter'), \
                mock.patch.object(server.overlay, 'finish') as finish, \
                mock.patch.object(confine, 'sync_filesystem') as sync:
            for more in ({}, {'sync': False}):
                self.assertEqual(finish.return_value, where.do_finish(
                    {'layers': [], 'read': [], **more}, None))
                sync.assert_called_once_with(where._root)

    def test_publication(self):
        """What gets a name is on the disk, and the image comes last."""
        where = self.store()
        seen = []

        def noted(name, function):
            def call(*args, **kwargs):
                seen.append((name, *args))
                return function(*args, **kwargs)
            return call

        def request(helper, op, *args, **kwargs):
            place = os.path.join(where.root, 'tmp')
            if op == 'sync':
                # All is written by then.
                (session_dir,) = os.listdir(place)
                seen.append(('sync', sorted(
                    os.path.relpath(os.path.join(top, name),
                                    os.path.join(place, session_dir))
                    for top, _dirs, files in os.walk(place)
                    for name in files)))
            return before(helper, op, *args, **kwargs)

        before = session.Session.request
        with mock.patch.object(session.Session, 'request', request), \
                mock.patch.object(os, 'rename', noted('name', os.rename)), \
                mock.patch.object(durable, 'sync_dir', noted(
                    'sync_dir', durable.sync_dir)):
            self.ensure(builders.docker([Tar().file('f', b'x').end()]),
                        where=where)
        self.assertEqual(
            ['b0/facts.json', 'b0/layer.json', 'b0/manifest', 'b0/tree/f',
             'lock', 'record'], seen[0][1])
        (layer,) = os.listdir(where.path('layers'))
        self.assertEqual(
            [('name', where.path('layers', layer)),
             ('sync_dir', where.path('layers')),
             ('name', where.path('images', 'image.json')),
             ('sync_dir', where.path('images'))],
            [(call[0], call[-1]) for call in seen[1:]])


class LaunchTestCase(base.StoreTestCase):
    """The privileged start, without privsep: the function beneath."""

    def _store(self):
        privsep.ctx.set_client_mode(False)  # call the functions themselves
        self.addCleanup(privsep.ctx.set_client_mode, True)
        owner = (64055, 64056) if os.geteuid() == 0 else None
        return store.ImageStore(os.path.join(self.dir, 'store'),
                                owner=owner, launch=unpack.launch,
                                architecture='amd64')

    def test_killed_while_it_launched(self):
        """The socket of the dead session is no obstacle to tidying up."""
        where = self._store()
        image = builders.chunks(builders.docker(
            [Tar().file('x', b'y').end()]))
        where.ensure('image', image)
        left = where.path('tmp', '5-aaaaaaaaaaaa')
        os.mkdir(left)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left_by:
            left_by.bind(os.path.join(left, 's'))
        where.sweep()
        self.assertEqual([], os.listdir(where.path('tmp')))

    def test_nothing_can_be_launched(self):
        """nova-compute starts all the same, and says what is left."""
        where = self._store()
        where.ensure('image', builders.chunks(builders.docker(
            [Tar().file('x', b'y').end()])))
        left = where.path('tmp', '5-aaaaaaaaaaaa')
        os.mkdir(left)
        with mock.patch.object(session, 'Session',
                               side_effect=OSError(errno.ENOSPC, 'full')), \
                self.assertLogs(upkeep.LOG.name, 'WARNING') as log:
            where.sweep()
        self.assertIn('Cannot remove what is left', log.output[0])
        self.assertTrue(os.path.isdir(left))
        where.sweep()
        self.assertFalse(os.path.isdir(left))

    def test_launch(self):
        where = self._store()
        image = where.ensure('image', builders.chunks(
            builders.docker([Tar().file('x', b'y').end()])))
        self.assertEqual(1, len(image.layer_dirs))
        self.assertEqual([], os.listdir(where.path('tmp')))
        for arguments in (('store', '5-aaaaaaaaaaaa', 'mapped', 1, 1),
                          ('/x', '../x', 'mapped', 1, 1),
                          ('/x', '5-aaaaaaaaaaaa', 'other', 1, 1),
                          ('/x', '5-aaaaaaaaaaaa', 'mapped', -1, 1)):
            with self.assertRaises(errors.StoreError):
                unpack.launch(*arguments)
