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

"""The guest init's layers and agent, compiled for this host."""

import pathlib
import subprocess

from nova_containervm.baseimage import guestinit

HARNESS = pathlib.Path(__file__).with_name('harness.c')
SOURCES = ('agent_commands.c', 'changes.c', 'clock.c', 'dirlist.c',
           'extents.c', 'hardlinks.c', 'jsonread.c', 'layer.c', 'skeleton.c',
           'tar.c', 'text.c', 'xattrs.c')


def build(directory):
    """Compile the harness; return its path."""
    program = pathlib.Path(directory) / 'harness'
    subprocess.run(
        ['gcc', '-std=gnu11', '-D_GNU_SOURCE', '-g', '-O1', '-Wall',
         '-Wextra', '-Werror', '-fsanitize=address,undefined',
         '-fno-sanitize-recover=all', '-I', guestinit.SOURCE_DIR,
         '-o', program, HARNESS,
         *(guestinit.SOURCE_DIR / name for name in SOURCES)],
        check=True, capture_output=True)
    return program
