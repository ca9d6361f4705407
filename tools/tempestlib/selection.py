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
"""Which tests, by name, and which part of them."""

import re

from aiolib import ui

# Scenarios that have to do with servers, and that this cloud has services for
_SCENARIOS = ('minimum_basic', 'network_advanced_server_ops',
              'network_basic_ops', 'security_groups_basic_ops',
              'server_advanced_ops', 'server_basic_ops', 'server_multinode',
              'server_volume_attachment', 'shelve_instance',
              'snapshot_pattern', 'stamp_pattern', 'volume_boot_pattern')

SETS = {
    # name: (regular expression, description)
    'compute': (
        r'tempest\.(api\.compute\.|scenario\.test_(%s)\.)' %
        '|'.join(_SCENARIOS),
        'the compute API, and scenarios with servers'),
    'servers': (
        r'tempest\.api\.compute\.(servers\.|volumes\.test_attach_volume|'
        r'images\.test_images|admin\.test_(create_server|delete_server|'
        r'server_diagnostics|servers|servers_negative|live_migration|'
        r'migrations)\.)'
        r'|tempest\.scenario\.test_(minimum_basic|server_basic_ops|'
        r'server_advanced_ops|shelve_instance|snapshot_pattern)\.',
        'what the compute driver has a part in'),
}
DEFAULT = 'compute'


def name_of(test_id):
    """Return a test's name, without its attributes in brackets."""
    return test_id.partition('[')[0]


def class_of(test_id):
    """Return the name of the class that a test is in."""
    return name_of(test_id).rpartition('.')[0]


def choose(ids, regex=None, exclude=None, names=None, shard=None):
    """Return the ids of the tests to run, in order.

    :param ids: of all tests
    :param regex: what a test's name begins with; None: any
    :param exclude: regular expression of those to leave out
    :param names: names or ids of the only ones; None: all
    :param shard: (number from 1, of how many); tests of a class stay
        together
    :raises ui.Failure: if a name is none of a test, or nothing is left
    """
    chosen = list(ids)
    if names is not None:
        wanted = {name_of(name) for name in names}
        unknown = wanted - {name_of(test_id) for test_id in chosen}
        if unknown:
            raise ui.Failure('these are no tests: ' +
                             ', '.join(sorted(unknown)))
        chosen = [i for i in chosen if name_of(i) in wanted]
    if regex:
        chosen = [i for i in chosen if re.match(regex, i)]
    if exclude:
        chosen = [i for i in chosen if not re.search(exclude, i)]
    if shard:
        number, count = shard
        classes = sorted({class_of(i) for i in chosen})
        mine = set(classes[number - 1::count])
        chosen = [i for i in chosen if class_of(i) in mine]
    if not chosen:
        raise ui.Failure('no test is left')
    return sorted(chosen)


def shard(text):
    """Read N/M; for argparse."""
    number, slash, count = text.partition('/')
    if not (slash and number.isdigit() and count.isdigit() and
            1 <= int(number) <= int(count)):
        raise ValueError(text)
    return int(number), int(count)
