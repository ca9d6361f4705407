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

"""Pure functions of the guest init (C), under the sanitizers."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import unittest

from nova_containervm.baseimage import guestinit

HARNESS = pathlib.Path(__file__).with_name('harness.c')
SOURCES = ('contract.c', 'copytree.c', 'dirlist.c', 'env.c',
           'health_state.c', 'json.c', 'mountopts.c', 'netlink.c',
           'restart.c', 'signature.c', 'text.c')

MINIMAL = {
    'CVM_VERSION': '1', 'CVM_TRANSPORT': '9p', 'CVM_ARGC': '2',
    'CVM_ARG_0': 'echo', 'CVM_ARG_1': "it's", 'CVM_ENVC': '1',
    'CVM_ENV_0': 'A=b', 'CVM_GROUPS': '10 20', 'CVM_NICC': '1',
    'CVM_NIC_0_MAC': 'fa:16:3e:00:00:01', 'CVM_NIC_0_MTU': '',
    'CVM_NIC_0_DHCP': '4 6',
}


@unittest.skipUnless(shutil.which('gcc'), 'no C compiler')
class GuestInitTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = tempfile.TemporaryDirectory()
        cls.program = pathlib.Path(cls.directory.name) / 'harness'
        subprocess.run(
            ['gcc', '-std=gnu11', '-D_GNU_SOURCE', '-g', '-O1', '-Wall',
             '-Wextra', '-Werror', '-fsanitize=address,undefined',
             '-fno-sanitize-recover=all', '-I', guestinit.SOURCE_DIR,
             '-o', cls.program, HARNESS,
             *(guestinit.SOURCE_DIR / name for name in SOURCES)],
            check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()
        super().tearDownClass()

    def run_harness(self, *args, data=b''):
        done = subprocess.run([self.program, *args], input=data, check=False,
                              capture_output=True)
        self.assertEqual((0, b''), (done.returncode, done.stderr),
                         (args, data))
        return done.stdout.decode(errors='surrogateescape')

    def parse(self, text):
        out = self.run_harness('env', data=text)
        if out.startswith('error: '):
            return out.strip()
        pairs = (line.split('=') for line in out.splitlines())
        return {name: bytes.fromhex(value) for name, value in pairs}

    def test_env_good(self):
        cases = {
            b'': {},
            b'\n# comment\n\n': {},
            b"A='1'": {'A': b'1'},
            b"A='1'\n": {'A': b'1'},
            b"B=''\nA='x'\n": {'A': b'x', 'B': b''},
            b"A='two\nlines'\nB='2'\n": {'A': b'two\nlines', 'B': b'2'},
            b"A='it'\\''s'\n": {'A': b"it's"},
            b"A=''\\'''\n": {'A': b"'"},
            b"A='\\'\n": {'A': b'\\'},
            b"A='$HOME `x` \"q\" \xff'\n": {'A': b'$HOME `x` "q" \xff'},
            b"_A9_Z='1'\n": {'_A9_Z': b'1'},
            b"A='#'\n#B='2'": {'A': b'#'},
        }
        for text, expected in cases.items():
            with self.subTest(text=text):
                self.assertEqual(expected, self.parse(text))

    def test_env_bad(self):
        cases = {
            b'A': 'line 1: not an assignment',
            b'A=': 'line 1: the value is not in single quotes',
            b'A=1\n': 'line 1: the value is not in single quotes',
            b'A="1"\n': 'line 1: the value is not in single quotes',
            b"A='1\n": 'line 1: a quote is not closed',
            b"A='1' \n": 'line 1: something follows the value',
            b"A='1';B='2'\n": 'line 1: something follows the value',
            b"a='1'\n": 'line 1: not an assignment',
            b"9A='1'\n": 'line 1: not an assignment',
            b" A='1'\n": 'line 1: not an assignment',
            b"export A='1'\n": 'line 1: not an assignment',
            b"A='1'\n\nB='x\ny'\n# z\nreboot\n": 'line 6: not an assignment',
            b"A='it'\\''s'\nB=\n":
                'line 2: the value is not in single quotes',
            b"A=\\'\n": 'line 1: the value is not in single quotes',
            b"A='1'\\\n": 'line 1: something follows the value',
            b"A='1\0'\n": 'has a NUL byte',
            b"A='1'\nA='2'\n": 'A is assigned twice',
            b'\xff': 'line 1: not an assignment',
            b'=': 'line 1: not an assignment',
        }
        for text, expected in cases.items():
            with self.subTest(text=text):
                self.assertEqual('error: ' + expected, self.parse(text))

    def test_env_is_what_a_shell_reads(self):
        values = ["it's", "'''", '\\', "\\'", 'a\nb', '', '-n', '"$(x)"', ' ']
        for value in values:
            text = "A='%s'\n" % value.replace("'", "'\\''")
            shell = subprocess.run(
                ['sh', '-c', text + 'printf "%s" "$A"'], check=True,
                capture_output=True).stdout
            self.assertEqual({'A': shell}, self.parse(text.encode()))
            self.assertEqual(value.encode(), shell)

    def test_env_many(self):
        text = ''.join(f"V_{i}='{i}'\n" for i in range(1000))
        self.assertEqual({f'V_{i}': b'%d' % i for i in range(1000)},
                         self.parse(text.encode()))

    def contract(self, **changes):
        values = {**MINIMAL, **{f'CVM_{k}': v for k, v in changes.items()}}
        text = ''.join(
            "%s='%s'\n" % (name, value.replace("'", "'\\''"))
            for name, value in values.items() if value is not None)
        return self.run_harness('contract', data=text.encode())

    def test_contract(self):
        self.assertEqual(
            'transport=0 writable=0 runtime=0 restart=0:0\n'
            'uid=0 gid=0 groups=10,20, umask=0022 caps=a80425fb stop=15/10\n'
            "arg=echo\narg=it's\n"
            'nic=fa:16:3e:00:00:01 mtu=0 dhcp=11\n', self.contract())

    def test_contract_choices(self):
        out = self.contract(TRANSPORT='virtiofs', RUNTIME='chroot',
                            WRITABLE='share', RESTART='unless-stopped',
                            RESTART_MAX='7', UMASK='027', UID='4294967294',
                            STOP_SIGNAL='64', STOP_TIMEOUT='0',
                            CAPS='ffffffffffffffff')
        self.assertIn('transport=1 writable=1 runtime=2 restart=2:7\n', out)
        self.assertIn('uid=4294967294 ', out)
        self.assertIn('umask=0027 caps=ffffffffffffffff stop=64/0\n', out)

    def test_contract_volumes_and_health(self):
        out = self.contract(
            VOLUMEC='2', VOLUME_0='id-1 rw /data', VOLUME_1='id-2 ro /a b/c',
            VOLUME_WAIT='7', SWAP='1', HEALTHC='2', HEALTH_0='check',
            HEALTH_1='-q',
            HEALTH_INTERVAL_MS='1', HEALTH_TIMEOUT_MS='2',
            HEALTH_START_PERIOD_MS='3', HEALTH_RETRIES='5')
        self.assertIn('swap\n'
                      'volume=id-1 /data 0 wait=7\n'
                      'volume=id-2 /a b/c 1 wait=7\n'
                      'health=check 1 2 3 5000 5\n'
                      'health=-q 1 2 3 5000 5\n', out)

    def test_contract_errors(self):
        cases = [
            ({'VERSION': None}, 'CVM_VERSION is missing'),
            ({'VERSION': '2'},
             "contract version '2', this base image knows 1"),
            ({'TRANSPORT': None}, 'CVM_TRANSPORT is missing'),
            ({'TRANSPORT': 'nfs'}, "CVM_TRANSPORT='nfs' is not known"),
            ({'TRANSPORT': 'block', 'WRITABLE': 'share'},
             "CVM_WRITABLE='share' is no way to use a block device"),
            ({'ARGC': '0'}, 'CVM_ARGC: no command to run'),
            ({'ARGC': '3'}, 'CVM_ARG_2 is missing'),
            ({'ARGC': '99999999'},
             "CVM_ARGC='99999999' is not a number up to 65536"),
            ({'UID': '-1'}, "CVM_UID='-1' is not a number up to 4294967294"),
            ({'UID': '4294967295'}, "CVM_UID='4294967295' is not a number "
                                    'up to 4294967294'),
            ({'GROUPS': '1 x'}, "CVM_GROUPS: 'x' is not a group id"),
            ({'UMASK': '0888'}, "CVM_UMASK='0888' is not a file mode"),
            ({'CWD': 'srv'}, "CVM_CWD='srv' is not absolute"),
            ({'CAPS': 'xyz'}, "CVM_CAPS='xyz' is not a set of bits"),
            ({'STOP_SIGNAL': '0'}, "CVM_STOP_SIGNAL='0' is no signal"),
            ({'STOP_SIGNAL': '65'},
             "CVM_STOP_SIGNAL='65' is not a number up to 64"),
            ({'VOLUMEC': '1', 'VOLUME_0': 'id rw data'},
             "CVM_VOLUME_0='id rw data' is malformed"),
            ({'VOLUMEC': '1', 'VOLUME_0': 'id rx /data'},
             "CVM_VOLUME_0='id rx /data' is malformed"),
            ({'VOLUMEC': '1', 'VOLUME_0': 'a/b rw /data'},
             "CVM_VOLUME_0='a/b rw /data' is malformed"),
            ({'VOLUMEC': '1', 'VOLUME_0': ' rw /data'},
             "CVM_VOLUME_0=' rw /data' is malformed"),
            ({'HEALTHC': '1', 'HEALTH_0': 'x', 'HEALTH_RETRIES': 'x'},
             "CVM_HEALTH_RETRIES='x' is not a number up to 2147483647"),
            ({'NIC_0_MAC': None}, 'CVM_NIC_0_MAC is missing'),
            ({'NIC_0_DHCP': '5'}, "CVM_NIC_0_DHCP: '5' is not 4 or 6"),
        ]
        for changes, expected in cases:
            with self.subTest(**{k: str(v) for k, v in changes.items()}):
                self.assertEqual(f'error: {expected}\n',
                                 self.contract(**changes))

    def test_fuzz(self):
        text = ''.join(f'{name}={shlex.quote(value)}\n' if ' ' in value
                       else f"{name}='{value}'\n"
                       for name, value in MINIMAL.items() if "'" not in value)
        for seed in range(4):
            self.run_harness('fuzz', str(seed), '5000', data=text.encode())

    def test_json_is_json(self):
        strings = ['plain', 'quote " and \\', 'tab\tnl\ncr\r\x01\x7f', 'käse',
                   '\U0001f600', '']
        for value in strings:
            out = json.loads(self.run_harness('json', '4096', value))
            self.assertEqual({'s': value, 'n': -5, 'b': True, 't': 1234.005},
                             out)

    def test_json_replaces_what_is_not_utf8(self):
        for raw, expected in {
                b'a\xffb': 'a\ufffdb', b'\xc0\x80': '\ufffd\ufffd',
                b'\xed\xa0\x80': '\ufffd' * 3, b'\xe4': '\ufffd',
                b'\xf5\x80': '\ufffd\ufffd',
                b'\xf0\x8f\xbf\xbf': '\ufffd' * 4}.items():
            out = self.run_harness('json', '4096', raw)
            self.assertEqual(expected, json.loads(out)['s'])

    def test_json_stays_valid_when_full(self):
        for size in range(3, 200):
            out = json.loads(self.run_harness('json', str(size), 'x' * 50))
            self.assertLessEqual(set(out), {'s', 'n', 'b', 't'})

    def test_json_cuts_long_strings(self):
        out = json.loads(self.run_harness('json', '9999', 'ü' * 3000))
        self.assertTrue(400 < len(out['s']) < 600)

    def test_mount_options(self):
        cases = {
            '': '0 0 ', 'ro': '0 0x1 ', 'rw': '0 0 ',
            'ro,nodev,nosuid': '0 0x7 ', 'ro,rw': '0 0 ',
            'trans=virtio,ro,msize=9': '0 0x1 trans=virtio,msize=9',
            ',,ro,,': '0 0x1 ', 'rox': '0 0 rox',
            'x' * 30: '0 0 ' + 'x' * 30, 'x' * 31: '-1 0 ',
            'a,' + 'x' * 29: '0 0 a,' + 'x' * 29, 'a,' + 'x' * 30: '-1 0 ',
        }
        for text, expected in cases.items():
            with self.subTest(text=text):
                self.assertEqual(expected + '\n',
                                 self.run_harness('mountopts', text))

    def test_addresses(self):
        cases = {
            '10.0.0.5/24': '4 0a000005/24', '10.0.0.5': '4 0a000005/32',
            '0.0.0.0/0': '4 00000000/0', '::/0': '6 ' + '0' * 32 + '/0',
            'fd00::1': '6 fd' + '0' * 29 + '1/128',
            'fd00::1/64': '6 fd' + '0' * 29 + '1/64',
            '10.0.0.5/33': 'error', '::/129': 'error', '': 'error',
            'x': 'error', '10.0.0.5/': 'error', '10.0.0/8': 'error',
            '1' * 100: 'error', '10.0.0.5/-1': 'error',
        }
        for text, expected in cases.items():
            with self.subTest(text=text):
                self.assertEqual(expected + '\n',
                                 self.run_harness('address', text))

    def test_numbers(self):
        for text, expected in {
                '0': '0 0', '4294967294': '0 4294967294', '': '-1 0',
                '4294967295': '-1 0', '-1': '-1 0', '+1': '-1 0',
                ' 1': '-1 0', '1 ': '-1 0', '0x1': '-1 0',
                '99999999999999999999999': '-1 0'}.items():
            with self.subTest(text=text):
                self.assertEqual(expected + '\n',
                                 self.run_harness('number', text))

    def test_hex(self):
        for text, expected in {'': '0', '00ff': '2', '0': '-1', 'zz': '-1',
                               '00' * 8: '8', '00' * 9: '-1'}.items():
            self.assertEqual(expected + '\n', self.run_harness('hex', text))

    def restarts(self, *args):
        return self.run_harness('restart', *args).split()

    def test_restart_policies(self):
        no, on_failure, always = '0', '1', '2'
        self.assertEqual(['end'], self.restarts(no, '0', '1:5'))
        self.assertEqual(['1:100', 'end'],
                         self.restarts(on_failure, '0', '1:5', '0:5'))
        self.assertEqual(['1:100', '2:200', 'end'],
                         self.restarts(on_failure, '2', *['3:5'] * 3))
        self.assertEqual(['1:100', '2:200'],
                         self.restarts(always, '0', '0:5', '0:5'))

    def test_restart_back_off(self):
        out = self.restarts('2', '0', *['1:5'] * 12)
        self.assertEqual(
            [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200,
             60000, 60000], [int(x.split(':')[1]) for x in out])

    def test_restart_back_off_is_reset_by_a_good_run(self):
        out = self.restarts('2', '0', '1:5', '1:5', '1:10000', '1:5')
        self.assertEqual(['1:100', '2:200', '3:100', '4:200'], out)

    def health(self, *args):
        return self.run_harness('health', *args).split()

    def test_health(self):
        # good once: healthy; then three in a row make it unhealthy
        self.assertEqual(
            ['healthy!:30', 'healthy:30', 'healthy:30', 'unhealthy!:30',
             'unhealthy:30', 'healthy!:30'],
            self.health('3', '0', '1:0', '0:1', '0:2', '0:3', '0:4', '1:5'))
        # a good one in between starts the count anew
        self.assertEqual(
            ['healthy!:30', 'healthy:30', 'healthy:30', 'healthy:30',
             'unhealthy!:30'],
            self.health('2', '0', '1:0', '0:1', '1:2', '0:3', '0:4'))

    def test_health_while_starting(self):
        # failures before the start period is over do not count
        self.assertEqual(
            ['starting:5', 'starting:5', 'starting:30', 'unhealthy!:30'],
            self.health('2', '100', '0:0', '0:99', '0:100', '0:130'))
        # the first good one ends the start period
        self.assertEqual(
            ['healthy!:30', 'unhealthy!:30'],
            self.health('1', '100', '1:10', '0:20'))

    def test_signatures_of_tools(self):
        """What the tools of this machine make is told by its name."""
        cases = {
            'mke2fs -q -F -t ext4 {}': 'ext4',
            'mke2fs -q -F -t ext2 {}': 'ext4',
            'mkfs.xfs -q -f {}': 'xfs',
            'mkfs.btrfs -q -f {}': 'btrfs',
            'mkfs.erofs --quiet {} {}.dir': 'erofs',
            'mksquashfs {}.dir {} -quiet -noappend': 'squashfs',
            'genisoimage -quiet -o {} {}.dir': 'iso9660',
            'mformat -T 32768 -h 64 -s 32 -i {} ::': 'vfat',
            'mkswap -q {}': 'swap space',
            'qemu-img create -q -f qcow2 {} 1M': 'a qcow2 image',
            "sfdisk -q {}": 'a partition table',
        }
        tried = 0
        for command, expected in cases.items():
            if not shutil.which(command.split()[0]):
                continue
            tried += 1
            image = pathlib.Path(self.directory.name) / 'image'
            image.unlink(missing_ok=True)
            (pathlib.Path(self.directory.name) / 'image.dir').mkdir(
                exist_ok=True)
            with image.open('wb') as stream:
                stream.truncate(512 << 20)
            with self.subTest(command=command):
                subprocess.run(command.format(*[image] * 3).split(),
                               check=True, input=b',,\n',
                               capture_output=True)
                with image.open('rb') as stream:
                    data = stream.read(0x11000)
                self.assertEqual(expected + '\n',
                                 self.run_harness('signature', data=data))
        self.assertGreaterEqual(tried, 4)

    def test_signatures(self):
        cases = [
            (0x200, b'EFI PART', 'a partition table'),
            (0x1fe, b'\x55\xaa', 'a partition table'),
            # pvcreate itself wants a block device.
            (0x218, b'LVM2 001', 'a part of a volume group (LVM)'),
            (0, b'LUKS\xba\xbe', 'encrypted data (LUKS)'),
            (0x10040, b'_BHRfS_M', 'btrfs'), (0, b'XFSB', 'xfs'),
            (0, b'', ''), (0, b'text', ''),
        ]
        for offset, magic, expected in cases:
            data = bytearray(0x11000)
            data[offset:offset + len(magic)] = magic
            for size in (len(data), offset + len(magic)):
                self.assertEqual(
                    expected + '\n',
                    self.run_harness('signature', data=bytes(data[:size])))
            cut = bytes(data[:offset + len(magic) - 1]) if magic else b''
            self.assertEqual('\n', self.run_harness('signature', data=cut))

    def tree(self, name):
        path = pathlib.Path(self.directory.name) / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def listing(self, root):
        """All that is to be copied, of every file."""
        result = {}
        links = {}
        for path in sorted([root, *root.rglob('*')]):
            info = path.lstat()
            name = str(path.relative_to(root))
            content = b''
            if path.is_symlink():
                content = os.readlink(path).encode()
            elif path.is_file():
                content = path.read_bytes()
            attributes = {} if path.is_symlink() else {
                key: os.getxattr(path, key) for key in os.listxattr(path)}
            result[name] = (info.st_mode, info.st_uid, info.st_gid,
                            info.st_mtime_ns, info.st_rdev, content,
                            attributes)
            if not path.is_dir():
                links.setdefault(info.st_ino, []).append(name)
        return result, sorted(links.values())

    def test_copytree(self):
        source, target = self.tree('from'), self.tree('to')
        (source / 'dir/deep').mkdir(parents=True)
        (source / 'dir/file').write_bytes(b'x' * 100000)
        (source / 'empty').write_bytes(b'')
        os.link(source / 'dir/file', source / 'dir/deep/same')
        os.symlink('/etc/passwd', source / 'link')
        os.symlink('missing', source / 'dir/dangling')
        os.mkfifo(source / 'fifo')
        (source / 'secret').write_bytes(b'1')
        (source / 'secret').chmod(0o4600)
        (source / 'dir/deep').chmod(0o1777)
        for path in source.rglob('*'):
            os.utime(path, ns=(10 ** 18, 10 ** 18 + 5),
                     follow_symlinks=False)
        os.setxattr(source / 'empty', 'user.mine', b'a value')
        source.chmod(0o2750)
        if os.geteuid() == 0:
            os.chown(source / 'dir', 33, 44)
            os.chown(source, 55, 66)
            source.chmod(0o2750)
            os.chown(source / 'link', 1, 2, follow_symlinks=False)
            os.mknod(source / 'null', 0o020640, os.makedev(1, 3))
        self.assertEqual('', self.run_harness('copytree', source, target))
        self.assertEqual(self.listing(source), self.listing(target))
        self.assertEqual('', self.run_harness('copytree', target, ''))
        self.assertEqual([], list(target.iterdir()))

    def test_copytree_says_where_it_fails(self):
        source, target = self.tree('from'), self.tree('to')
        (source / 'a/b').mkdir(parents=True)
        (source / 'a/b/c').write_bytes(b'')
        (target / 'a').mkdir()
        self.assertEqual('a: File exists\n',
                         self.run_harness('copytree', source, target))


if __name__ == '__main__':
    unittest.main()
