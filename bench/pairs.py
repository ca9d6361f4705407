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

"""Measures things in turn, so that all see the same noise."""


def interleave(runs, *measures, progress=None):
    """Call each of ``measures`` ``runs`` times: A B A B ...

    :param measures: functions without arguments
    :param progress: called with one line of text a round
    :returns: for each measure, the list of what it returned
    """
    results = [[] for _ in measures]
    for i in range(runs):
        # Every other round backwards, so that none always comes first
        order = list(zip(measures, results))
        for measure, values in order if i % 2 == 0 else reversed(order):
            values.append(measure())
        if progress:
            progress('round %d of %d: %s' % (
                i + 1, runs, ', '.join(str(r[-1]) for r in results)))
    return results


def wall(samples):
    """Wall times of a list of Samples."""
    return [s.wall for s in samples]


def cpu(samples):
    """CPU times of a list of Samples."""
    return [s.cpu for s in samples]
