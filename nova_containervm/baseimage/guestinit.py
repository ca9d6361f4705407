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

"""Compiles the guest init (nova_containervm/guest/init, C)."""

import pathlib

from nova_containervm.baseimage import errors
from nova_containervm.baseimage import tools

SOURCE_DIR = pathlib.Path(__file__).resolve().parent.parent / 'guest' / 'init'

# Static: PID 1 must not depend on a dynamic loader to say what is wrong, and
# starts 20 ms (TCG) sooner. The prefix map keeps the path of the checkout
# out of the binary, so that it is the same wherever it is built.
CFLAGS = ('-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra',
          '-Werror', '-static', '-fstack-protector-strong',
          '-D_FORTIFY_SOURCE=2', '-ffunction-sections', '-fdata-sections',
          '-Wl,--gc-sections', '-Wl,--build-id=none', '-s')


def sources():
    """The C files of the init, sorted.

    :raises BuildError: the installation lacks them.
    """
    found = sorted(SOURCE_DIR.glob('*.c'))
    if not found:
        raise errors.BuildError(f'{SOURCE_DIR}: no C sources')
    return found


def build(output, compiler='gcc'):
    """Compile the init to the file *output*.

    :raises BuildError: the compiler fails; its messages are included.
    """
    tools.run([compiler, *CFLAGS, f'-ffile-prefix-map={SOURCE_DIR}=init',
               '-o', pathlib.Path(output).absolute(),
               *(path.name for path in sources())], cwd=SOURCE_DIR)


def compiler_version(compiler='gcc'):
    """First line of the compiler's version, for the manifest."""
    return tools.run([compiler, '--version']).decode().splitlines()[0]
