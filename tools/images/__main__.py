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
"""Build one image without an all-in-one; prints the archive's path."""

import argparse
import os
import pathlib
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from aiolib import ui  # noqa: E402
from images import build  # noqa: E402
from images import recipes  # noqa: E402


def main(argv=None):
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog='tools/images', description=__doc__)
    parser.add_argument('name', choices=list(recipes.RECIPES), metavar='NAME',
                        help=', '.join(recipes.RECIPES))
    parser.add_argument('--format', choices=build.FORMATS,
                        default=build.FORMATS[0])
    parser.add_argument('--directory', required=True, metavar='DIR',
                        help='for the result and what it is made of')
    parser.add_argument('--mirror', metavar='URL',
                        help='of Debian 12; default: as this host\'s apt')
    args = parser.parse_args(argv)
    directory = pathlib.Path(args.directory).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        builder = build.Builder(directory, directory / 'log', args.mirror)
        print(builder.build(args.name, args.format))
    except ui.Failure as e:
        e.show()
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
