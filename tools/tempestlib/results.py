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
"""Results: a JSON file for each run, and what two of them say together."""

import configparser
import json
import pathlib
import re

from aiolib import ui
from tempestlib import selection

PASS, FAIL, SKIP = 'pass', 'fail', 'skip'
# Section of expected.ini for runs without logins, beside the image's own
NO_LOGIN = 'no login'
EXPECTED = pathlib.Path(__file__).with_name('expected.ini')
# How unittest calls what comes before a class of tests, and after it
_END = 'tearDownClass'
_FIXTURE = re.compile(r'(setUpClass|tearDownClass) \((\S+?)\)')


def spread(outcomes, ids, complete=True):
    """Return outcomes by the tests' names.

    What happens to a class as a whole happens to its tests: one that is left
    out, or cannot be set up, has no results of its tests.

    :param outcomes: list of dicts with id, status, seconds and reason
    :param ids: of the tests that were to be run
    :param complete: whether what has no outcome is a failure; otherwise the
        tests were ended before it came to that
    :returns: dict of name to a dict with status, seconds and reason
    """
    found, classes, ends = {}, {}, []
    for outcome in outcomes:
        outcome = dict(outcome)
        test_id = outcome.pop('id')
        fixture = _FIXTURE.match(test_id)
        if not fixture:
            found[selection.name_of(test_id)] = outcome
        elif fixture[1] == 'setUpClass':
            classes[fixture[2]] = outcome
        elif outcome['status'] == FAIL:
            ends.append((fixture[2], outcome))
    for test_id in ids:
        name = selection.name_of(test_id)
        if name in found:
            continue
        outcome = classes.get(selection.class_of(test_id))
        if outcome or complete:
            found[name] = outcome or {'status': FAIL, 'seconds': 0,
                                      'reason': 'it has no result'}
    for name, outcome in ends:
        found[f'{name}.{_END}'] = outcome
    return found


def to_repeat(tests):
    """Return the names of tests that failed, or whose class did at its end."""
    failed = {n for n, o in tests.items() if o['status'] == FAIL}
    ends = {selection.class_of(n) for n in failed if n.endswith(f'.{_END}')}
    return sorted(n for n in tests if not n.endswith(f'.{_END}') and
                  (n in failed or selection.class_of(n) in ends))


def save(path, subject, tests, append=False):
    """Write a result file.

    :param subject: dict of what was tested
    :param append: keep the results of other tests that are there
    :raises ui.Failure: if those are of something else
    """
    if append and path.exists():
        before = load(path)
        if before['subject'] != subject:
            raise ui.Failure(
                f'{path} has results of something else: {before["subject"]}',
                'Choose another --name.')
        # How a class ended is not known any more when it is run again.
        again = {f'{selection.class_of(n)}.{_END}' for n in tests}
        kept = {n: o for n, o in before['tests'].items() if n not in again}
        tests = {**kept, **tests}
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix('.new')
    new.write_text(json.dumps({'subject': subject, 'tests': tests}, indent=1,
                              sort_keys=True) + '\n')
    new.rename(path)


def load(path):
    """Read a result file.

    :raises ui.Failure: if it is none
    """
    try:
        data = json.loads(pathlib.Path(path).read_text())
        return {'subject': data['subject'], 'tests': data['tests']}
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise ui.Failure(f'{path} is no result of tools/tempest: {e}') from e


def count(tests):
    """Return numbers: dict of status to how many."""
    numbers = dict.fromkeys((PASS, FAIL, SKIP), 0)
    for outcome in tests.values():
        numbers[outcome['status']] += 1
    return numbers


def compare(first, second):
    """Say what passes in one run and does not in another.

    :param first: tests of a run, as :func:`load` returns them
    :param second: of the other
    :returns: dict with sorted lists of names: `failed` and `skipped` of those
        that pass in the first, `not_run`, and `gained` of those that pass in
        the second alone
    """
    passed = {n for n, o in first.items() if o['status'] == PASS}
    return {
        'failed': sorted(n for n in passed if n in second and
                         second[n]['status'] == FAIL),
        'skipped': sorted(n for n in passed if n in second and
                          second[n]['status'] == SKIP),
        'not_run': sorted(passed - set(second)),
        'gained': sorted(n for n, o in second.items() if n in first and
                         o['status'] == PASS and n not in passed),
    }


def expected(kind, ssh=False, path=EXPECTED):
    """Return the failures that are known, with their reasons.

    :param kind: one of features.KINDS
    :param ssh: whether tests can log in to their servers
    :returns: dict of a test's or a class's name to why it fails
    """
    parser = configparser.RawConfigParser(delimiters=('=',))
    parser.optionxform = str
    with open(path) as f:
        parser.read_file(f)
    sections = [kind] if ssh else [kind, NO_LOGIN]
    return {name: reason for section in sections
            if parser.has_section(section)
            for name, reason in parser[section].items()}


def why(known, name):
    """Return why a test is known to fail, itself or its class; or None."""
    return known.get(name) or known.get(selection.class_of(name))


def judge(tests, known):
    """Compare failures with those that are known.

    :param known: dict of names to reasons, see :func:`expected`
    :returns: sorted names of failures that are new, and of passes that were
        expected to fail
    """
    new = sorted(n for n, o in tests.items()
                 if o['status'] == FAIL and not why(known, n))
    mended = sorted(n for n, o in tests.items()
                    if o['status'] == PASS and why(known, n))
    return new, mended


def by_reason(tests, status, known):
    """Group tests of a status by their reasons.

    :param known: dict of names to reasons that replace a test's own
    :returns: dict of a reason to the sorted names
    """
    groups = {}
    for name in sorted(tests):
        outcome = tests[name]
        if outcome['status'] == status:
            reason = why(known, name) or outcome['reason']
            groups.setdefault(reason, []).append(name)
    return groups
