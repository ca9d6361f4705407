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

"""The image as a build makes it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from nova_containervm.baseimage import manifest
from nova_containervm.cli import baseimage as cli

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent.parent


def build(source, output, cache, *, program=(sys.executable,), **env):
    subprocess.run(
        [*program, '-m', 'nova_containervm.cli.baseimage', 'build',
         '--output', str(output), '--cache', str(cache)],
        cwd=source, check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, **env})


def test_same_inputs_same_bytes(tmp_path):
    """From two checkouts, in two directories, in two locales; by two users.

    The other one is nobody, who has nothing but the packages; if we are not
    root, it is ourselves.
    """
    program = (sys.executable,) if os.geteuid() else (
        'runuser', '-u', 'nobody', '--', '/usr/bin/python3')
    # Not tmp_path, whose parents are closed to nobody.
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        place.chmod(0o777)
        shutil.copytree(CHECKOUT / 'nova_containervm',
                        place / 'nova_containervm',
                        ignore=shutil.ignore_patterns('__pycache__'))
        work = place / 'tmp'
        work.mkdir()
        work.chmod(0o777)
        build(place, place / 'b', place / 'cache', program=program,
              TMPDIR=str(work))
        build(CHECKOUT, tmp_path / 'a', cli.default_cache(), TZ='Asia/Tokyo',
              LC_ALL='C.UTF-8')
        names = sorted(p.name for p in (tmp_path / 'a').iterdir())
        assert names == ['base.qcow2', 'initrd.img', 'manifest.json',
                         'vmlinux']
        for name in names:
            assert ((tmp_path / 'a' / name).read_bytes()
                    == (place / 'b' / name).read_bytes()), name
        # Nothing is left of the work.
        assert not list(work.iterdir())


def test_manifest(image):
    content = manifest.verify(image)
    assert content['type'] == 'minimal'
    assert content['contract'] == [1]
    assert content['boot_methods'] == ['kernel', 'disk']
    assert content['packages']['crun']
    assert content['kernel']['version'].startswith('6.')


def test_sizes(image):
    content = manifest.read(image)
    assert content['disk']['size'] < 100 << 20
    assert content['initrd']['size'] < 20 << 20
    assert content['disk']['virtual_size'] < 256 << 20


def test_no_build_path_in_the_image(image):
    """Nothing of the machine that built it."""
    data = (image / 'initrd.img').read_bytes()
    for text in (str(CHECKOUT), os.path.expanduser('~/'), '/tmp/containervm'):
        assert text.encode() not in data


def test_qemu_img_takes_the_disk(image):
    out = subprocess.run(
        ['qemu-img', 'info', '--output=json', image / 'base.qcow2'],
        check=True, capture_output=True).stdout
    info = json.loads(out)
    assert info['format'] == 'qcow2'
    assert 'backing-filename' not in info
    assert info['virtual-size'] == manifest.read(
        image)['disk']['virtual_size']
