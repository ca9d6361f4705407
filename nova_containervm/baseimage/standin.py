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

"""A stand-in for libsystemd, which crun links against and never uses here.

crun calls it for its systemd cgroup manager, sd_notify and the journal; the
guest has no systemd and asks for none of these. The real library brings
libgcrypt and three compression libraries along: 3.5 MB of every server's
memory, and a tenth of a second (TCG) of dynamic linking at every start. The
stand-in has the symbols that crun wants, each of which returns -ENOSYS.
"""

import pathlib

from nova_containervm.baseimage import errors
from nova_containervm.baseimage import tools

SONAME = 'libsystemd.so.0'
_VERSION_PREFIX = 'LIBSYSTEMD_'


def wanted_symbols(program):
    """Return ``{version: [symbol, ...]}`` of what *program* takes from it."""
    out = tools.run(['nm', '-D', '--undefined-only',
                     '--with-symbol-versions', program]).decode()
    found = {}
    for line in out.splitlines():
        name, _at, version = line.split()[-1].partition('@')
        if version.startswith(_VERSION_PREFIX):
            found.setdefault(version, []).append(name)
    return {version: sorted(names) for version, names in found.items()}


def build(program, work):
    """Return the bytes of a stand-in for what *program* wants.

    :param work: directory for temporary files.
    :raises BuildError: *program* wants nothing of it, or gcc fails.
    """
    symbols = wanted_symbols(program)
    if not symbols:
        raise errors.BuildError(f'{program} does not use {SONAME}')
    work = pathlib.Path(work)
    names = sorted(n for group in symbols.values() for n in group)
    source = '#include <errno.h>\n' + ''.join(
        f'int {name}(void);\nint {name}(void) {{ return -ENOSYS; }}\n'
        for name in names)
    versions = ''.join(
        '%s { global: %s };\n' % (
            version, ' '.join(f'{n};' for n in symbols[version]))
        for version in sorted(symbols))
    (work / 'standin.c').write_text(source)
    (work / 'standin.map').write_text(versions)
    tools.run(['gcc', '-O2', '-fPIC', '-shared', '-nostdlib', '-s',
               '-fno-builtin', '-Wl,--build-id=none', f'-Wl,-soname,{SONAME}',
               '-Wl,--version-script=standin.map', '-Wl,-z,max-page-size=4096',
               '-o', 'standin.so', 'standin.c'], cwd=work)
    return (work / 'standin.so').read_bytes()


def check(program, loader, library_dir):
    """Run *program* with the libraries of the image, all symbols bound now.

    :raises BuildError: one is missing.
    """
    env = {'LD_BIND_NOW': '1', 'PATH': '/nonexistent'}
    tools.run([loader, '--library-path', library_dir, program, '--version'],
              env=env)
