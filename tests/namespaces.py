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

"""What others on a machine have, and the tests must bear."""

import contextlib
import subprocess


@contextlib.contextmanager
def copy_of_mounts():
    """A mount namespace with a copy of all mounts, as container engines make.

    What is unmounted stays mounted there.
    """
    with subprocess.Popen(
            ['unshare', '--mount', '--propagation', 'private', 'sh', '-c',
             'echo; exec sleep 1000'], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
