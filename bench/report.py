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

"""Results of figures, as a table for people and as JSON for programs."""

import dataclasses
import json
import statistics


@dataclasses.dataclass
class Result:
    """One figure.

    :param name: how ``bench/run`` calls it
    :param what: one line
    :param ours: measurements of this project, in ``unit``
    :param reference: measurements of what it is compared with; None for a
        figure that is no ratio (then ``limit`` is in ``unit``)
    :param limit: what the ratio may be at most
    :param faster: the ratio is told, and compared, as reference / ours, and
        ``limit`` is what it must be at least
    :param cpu: the same two lists in CPU seconds, where known
    :param note: one line on how it was measured
    """

    name: str
    what: str
    ours: list
    reference: list | None
    limit: float
    unit: str = 's'
    faster: bool = False
    cpu: tuple | None = None
    note: str = ''

    @property
    def ratio(self):
        """Of the medians; of wall time, where both are known."""
        return self._ratio(self.ours, self.reference)

    @property
    def cpu_ratio(self):
        """The same of CPU time, which other load hardly moves; or None."""
        return self._ratio(*self.cpu) if self.cpu else None

    def _ratio(self, ours, reference):
        if reference is None:
            return statistics.median(ours)
        ratio = statistics.median(ours) / statistics.median(reference)
        return 1 / ratio if self.faster else ratio

    @property
    def met(self):
        """Whether the goal is met."""
        if self.faster:
            return self.ratio >= self.limit
        return self.ratio <= self.limit

    def goal(self):
        """The goal in words."""
        sign = '>=' if self.faster else '<='
        unit = ' ' + self.unit if self.reference is None else ' x'
        return f'{sign} {self.limit:g}{unit}'

    def as_dict(self):
        """All of it, for JSON."""
        return dict(dataclasses.asdict(self), ratio=self.ratio,
                    cpu_ratio=self.cpu_ratio, goal=self.goal(), met=self.met)


def _value(values, unit):
    if values is None:
        return '-'
    spread = f' ({min(values):.2f}-{max(values):.2f})' if (
        len(values) > 1) else ''
    return f'{statistics.median(values):.2f} {unit}{spread}'


def rows(results):
    """Lines of the table, as lists of cells."""
    for result in results:
        ratio = '-' if result.reference is None else f'{result.ratio:.2f}'
        yield [result.what, _value(result.ours, result.unit),
               _value(result.reference, result.unit), ratio, result.goal(),
               'yes' if result.met else 'NO']
        if result.cpu:
            yield ['  in CPU time', _value(result.cpu[0], 's'),
                   _value(result.cpu[1], 's'), f'{result.cpu_ratio:.2f}',
                   '', '']


def table(results):
    """The table as text; medians, with the range in brackets."""
    cells = [['what', 'ours', 'reference', 'ratio', 'goal', 'met']]
    cells += rows(results)
    widths = [max(len(row[i]) for row in cells) for i in range(6)]
    lines = ['  '.join(c.ljust(n) for c, n in zip(row, widths)).rstrip()
             for row in cells]
    lines.insert(1, '  '.join('-' * n for n in widths))
    notes = [f'{r.name}: {r.note}' for r in results if r.note]
    return '\n'.join(lines + [''] + notes)


def as_json(results):
    """The same as a JSON document."""
    return json.dumps([r.as_dict() for r in results], indent=2)
