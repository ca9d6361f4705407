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

"""nova-containervm-doctor: what a compute host lacks, and the remedy."""

import argparse
import dataclasses
import json
import logging
import sys
import textwrap

from oslo_config import cfg

from nova_containervm.cli import pipes
from nova_containervm import conf
from nova_containervm import doctor

_MARKS = {doctor.OK: 'ok', doctor.NOTE: 'note', doctor.WARNING: 'WARNING',
          doctor.ERROR: 'ERROR'}
_INDENT = 9


def _parser():
    parser = argparse.ArgumentParser(
        prog='nova-containervm-doctor',
        description='Look at a compute host: settings, base VM image, QEMU, '
                    'libvirt and its confinement, filesystem, permissions. '
                    'Run it as the user of nova-compute. Nothing is changed. '
                    'Exit status: 0 nova-compute can start, 1 it cannot.')
    parser.add_argument('--config-file', action='append', default=[],
                        metavar='FILE',
                        help='as nova-compute gets it; may be repeated '
                             '(default: where Nova looks for it)')
    parser.add_argument('--config-dir', action='append', default=[],
                        metavar='DIR', help='likewise')
    parser.add_argument('--json', action='store_true',
                        help='print one JSON list')
    return parser


def _print(finding):
    lines = textwrap.wrap('%s: %s' % (finding.subject, finding.text),
                          79 - _INDENT, break_on_hyphens=False,
                          break_long_words=False)
    print('%-*s%s' % (_INDENT, _MARKS[finding.level], lines[0]))
    for line in lines[1:]:
        print(' ' * _INDENT + line)


@pipes.reader_may_leave
def main(argv=None):
    """Entry point of the command.

    :returns: exit status
    """
    args = _parser().parse_args(argv)
    # What Nova has to say about it is no finding.
    logging.disable(logging.ERROR)
    try:
        conf.CONF([word for option, names in (
            ('--config-file', args.config_file),
            ('--config-dir', args.config_dir))
            for name in names for word in (option, name)], project='nova')
    except (cfg.ConfigFilesNotFoundError,
            cfg.ConfigDirNotFoundError) as exc:
        print('nova-containervm-doctor: %s' % exc, file=sys.stderr)
        return 2
    found = []
    for finding in doctor.examine():
        found.append(finding)
        if not args.json:
            _print(finding)
    if args.json:
        print(json.dumps([dataclasses.asdict(f) for f in found], indent=1))
    errors = sum(f.level == doctor.ERROR for f in found)
    if not args.json:
        print('\n%s' % ('%d to be mended.' % errors if errors else
                        'nova-compute can start.'))
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
