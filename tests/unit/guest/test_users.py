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

import unittest

import ddt

from nova_containervm.guest import errors
from nova_containervm.guest import users

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
daemon:x:2:2:daemon:/usr/sbin:/usr/sbin/nologin
app:x:1000:1001:Application:/srv/app:/bin/sh
1337:x:4711:4712:a name of digits:/home/digits:/bin/sh
first:x:2000:2000::/first:/bin/sh
first:x:2001:2001::/second:/bin/sh
twin:x:2000:2002::/twin:/bin/sh
nohome:x:3000:3000:::/bin/sh

  padded:x:3001:3001::/padded:/bin/sh
short:x:3002
broken:x:abc:def::/broken:
"""
GROUP = b"""\
# a comment: of,which,nobody,is,a,member
root:x:0:root
app:x:1001:
adm:x:4:app,root
logs:x:900:other,app
900:x:901:
many:x:5:app
many:x:6:
"""


@ddt.ddt
class ResolveTest(unittest.TestCase):

    @ddt.data(
        # spec, uid, gid, groups beyond gid, home
        ('', 0, 0, (0, 4), '/root'),
        ('root', 0, 0, (0, 4), '/root'),
        ('0', 0, 0, (0, 4), '/root'),
        ('+0', 0, 0, (0, 4), '/root'),
        ('app', 1000, 1001, (4, 900, 5), '/srv/app'),
        ('1000', 1000, 1001, (4, 900, 5), '/srv/app'),
        # an explicit group drops the supplementary ones
        ('app:app', 1000, 1001, (), '/srv/app'),
        ('app:4', 1000, 4, (), '/srv/app'),
        ('1000:logs', 1000, 900, (), '/srv/app'),
        ('app:', 1000, 1001, (4, 900, 5), '/srv/app'),
        (':logs', 0, 900, (), '/root'),
        ('app:logs:ignored', 1000, 900, (), '/srv/app'),
        # an unknown number stays, with group 0
        ('4242', 4242, 0, (), '/'),
        ('4242:4243', 4242, 4243, (), '/'),
        ('4242:logs', 4242, 900, (), '/'),
        ('2147483647', 2147483647, 0, (), '/'),
        # a number is never a name
        ('1337', 1337, 0, (), '/'),
        ('4711', 4711, 4712, (), '/home/digits'),
        ('app:900', 1000, 900, (), '/srv/app'),
        # the first line wins
        ('first', 2000, 2000, (), '/first'),
        ('2000', 2000, 2000, (), '/first'),
        ('app:many', 1000, 5, (), '/srv/app'),
        # files as they are found
        ('nohome', 3000, 3000, (), '/'),
        ('padded', 3001, 3001, (), '/padded'),
        ('short', 3002, 0, (), '/'),
        # what is no number counts as 0, home goes by the number
        ('broken', 0, 0, (), '/root'),
    )
    @ddt.unpack
    def test_known(self, spec, uid, gid, more, home):
        self.assertEqual(
            users.ExecUser(uid, gid, (gid, *more), home),
            users.resolve(spec, PASSWD, GROUP))

    @ddt.data(
        ('nobody-here', 'no user'),
        ('nobody-here:app', 'no user'),
        ('app:nothing', 'no group'),
        ('4242:nothing', 'no group'),
        ('-1', 'range'),
        ('0:-1', 'range'),
        ('2147483648', 'range'),
        ('app:2147483648', 'range'),
        ('0x10', 'no user'),
        ('1_000', 'no user'),
        ('\u0661', 'no user'),
        (' app', 'no user'),
    )
    @ddt.unpack
    def test_refused(self, spec, words):
        with self.assertRaisesRegex(errors.InvalidImageConfig, words):
            users.resolve(spec, PASSWD, GROUP)

    def test_a_number_of_absurd_length(self):
        self.assertRaisesRegex(errors.InvalidImageConfig, 'range',
                               users.resolve, '9' * 5000, PASSWD, GROUP)

    @ddt.data(
        ('', 0, 0, '/'), ('0', 0, 0, '/'), ('1000', 1000, 0, '/'),
        ('1000:1000', 1000, 1000, '/'), (':7', 0, 7, '/'))
    @ddt.unpack
    def test_numbers_without_files(self, spec, uid, gid, home):
        self.assertEqual(users.ExecUser(uid, gid, (gid,), home),
                         users.resolve(spec, b'', b''))

    @ddt.data('root', 'root:root', '0:root')
    def test_names_without_files(self, spec):
        self.assertRaises(errors.InvalidImageConfig,
                          users.resolve, spec, b'', b'')

    def test_an_id_of_the_file_out_of_range(self):
        self.assertRaisesRegex(
            errors.InvalidImageConfig, 'range', users.resolve, 'big',
            b'big:x:4294967296:0::/:\n', b'')

    def test_bytes_that_are_no_text(self):
        found = users.resolve('app', b'\xff\xfe\x00:x:1:1::/:\n' + PASSWD,
                              b'\xff:x:1:app\n')
        self.assertEqual((1000, (1001, 1)), (found.uid, found.groups))
