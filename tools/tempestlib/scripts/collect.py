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
"""Print the results of a subunit stream as JSON.

Runs with the Python of tempest's virtual environment. Standard input: what
`stestr last --subunit` prints.
"""

import json
import sys

import subunit
import testtools

STATUS = {'success': 'pass', 'xfail': 'pass', 'fail': 'fail',
          'uxsuccess': 'fail', 'skip': 'skip', 'inprogress': 'fail'}


def reason_of(test):
    """What is worth a line: why it was left out, or what was raised."""
    details = test['details']
    if 'reason' in details:
        return ' '.join(details['reason'].as_text().split())
    for name, content in details.items():
        if name.startswith('traceback'):
            lines = content.as_text().rstrip().splitlines()
            # The exception comes after the last indented line, and may have
            # several.
            start = max((i for i, line in enumerate(lines)
                         if line.startswith('  ')), default=-1)
            return ' '.join(' '.join(lines[start + 1:]).split())[:500]
    return '' if test['status'] == 'success' else 'it did not end'


def seconds_of(test):
    begin, end = test['timestamps'][0], test['timestamps'][-1]
    return round((end - begin).total_seconds(), 1) if begin and end else 0


def main():
    found = []

    def take(test):
        status = STATUS.get(test['status'])
        if status:
            found.append({'id': test['id'], 'status': status,
                          'seconds': seconds_of(test),
                          'reason': reason_of(test)})

    result = testtools.StreamToDict(take)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(sys.stdin.buffer).run(result)
    result.stopTestRun()
    json.dump(found, sys.stdout)


if __name__ == '__main__':
    main()
