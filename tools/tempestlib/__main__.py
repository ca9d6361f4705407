# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""Runs the command line; tools/tempest calls it by this directory's name."""

import os
import signal
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from tempestlib import cli  # noqa: E402

if __name__ == '__main__':
    # For `tools/tempest show NAME | head`. Children that Python starts have
    # the default anyway.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(cli.main())
