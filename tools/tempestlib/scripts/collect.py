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
"""Turn a subunit stream into JSON.

Runs with the Python of tempest's virtual environment. Standard input: what
`tempest run --subunit` prints. Argument: the file for the results. Each is
printed as it comes. Of a stream that breaks off there is what was complete.
"""

import json
import sys

import subunit
import testtools

STATUS = {'success': 'pass', 'xfail': 'pass', 'fail': 'fail',
          'uxsuccess': 'fail', 'skip': 'skip'}


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
    return ''


def seconds_of(test):
    begin, end = test['timestamps'][0], test['timestamps'][-1]
    return round((end - begin).total_seconds(), 1) if begin and end else 0


def main(path):
    found = []

    def take(test):
        status = STATUS.get(test['status'])
        if not status:
            return
        outcome = {'id': test['id'], 'status': status,
                   'seconds': seconds_of(test), 'reason': reason_of(test)}
        found.append(outcome)
        name = test['id'].partition('[')[0]
        print(f'{status} {outcome["seconds"]:6.1f}s  {name}  '
              f'{outcome["reason"][:200]}'.rstrip(), flush=True)

    result = testtools.StreamToDict(take)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(sys.stdin.buffer,
                                     non_subunit_name='output').run(result)
    result.stopTestRun()
    with open(path, 'w') as f:
        json.dump(found, f)


if __name__ == '__main__':
    main(*sys.argv[1:])
