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

"""Results of bench/transports: a table with a column for each kind of server.

A row's ratio is that of the last transport, ``block``, to what it is compared
with; the medians are compared.
"""

import dataclasses
import json
import statistics

OURS = 'block'


@dataclasses.dataclass
class Row:
    """One figure.

    :param name: of the figure that it belongs to
    :param what: one line
    :param values: kind of server to list of measurements
    :param unit: theirs
    :param against: the kind that ``block`` is compared with
    :param limit: the goal of the ratio; None: there is none
    :param least: the ratio is to be at least that, and tells how much better
        ``block`` is; otherwise it is to be at most that, and is ours / theirs
    :param rate: a higher value is the better one
    :param cpu: the same measurements in CPU time of QEMU and its helpers
    """

    name: str
    what: str
    values: dict
    unit: str = 's'
    against: str = 'vm'
    limit: float | None = None
    least: bool = False
    rate: bool = False
    cpu: dict | None = None

    @property
    def ratio(self):
        """Of wall times, or of whatever the values are.

        None without both, or if the other's is 0.
        """
        return self._ratio(self.values, self.rate)

    @property
    def cpu_ratio(self):
        """The same of CPU time, which other load hardly moves; or None."""
        return self._ratio(self.cpu, False) if self.cpu else None

    def _ratio(self, values, rate):
        if not values.get(OURS) or not values.get(self.against):
            return None
        theirs = statistics.median(values[self.against])
        if not theirs:
            # As the page cache of a VM, which reads with O_DIRECT
            return None
        ratio = statistics.median(values[OURS]) / theirs
        return 1 / ratio if self.least and not rate else ratio

    def met(self, ratio):
        """Whether a ratio meets the goal; None if there is nothing to say."""
        if ratio is None or self.limit is None:
            return None
        return ratio >= self.limit if self.least else ratio <= self.limit

    def goal(self):
        """The goal in words."""
        if self.limit is None:
            return ''
        return '%s %g x %s' % ('>=' if self.least else '<=', self.limit,
                               self.against)

    def as_dict(self):
        """All of it, for JSON."""
        return dict(dataclasses.asdict(self), ratio=self.ratio,
                    cpu_ratio=self.cpu_ratio, goal=self.goal(),
                    met=self.met(self.ratio), cpu_met=self.met(
                        self.cpu_ratio))


def _cell(values):
    if not values:
        return '-'
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    if len(values) == 1:
        return f'{middle:.{digits}f}'
    return (f'{middle:.{digits}f} ({min(values):.{digits}f}-'
            f'{max(values):.{digits}f})')


def _line(what, values, kinds, ratio, goal, met):
    said = {True: 'yes', False: 'NO', None: ''}[met]
    return [what, *(_cell(values.get(kind)) for kind in kinds),
            '' if ratio is None else f'{ratio:.2f}', goal, said]


def table(rows, kinds, notes=()):
    """The table as text; medians, with the range in brackets.

    :param notes: lines below it
    """
    cells = [['what', *kinds, 'ratio', 'goal', 'met']]
    for row in rows:
        cells.append(_line(f'{row.what}, {row.unit}', row.values, kinds,
                           row.ratio, row.goal(), row.met(row.ratio)))
        if row.cpu:
            cells.append(_line('  in CPU time, s', row.cpu, kinds,
                               row.cpu_ratio, row.goal(),
                               row.met(row.cpu_ratio)))
    widths = [max(len(line[i]) for line in cells)
              for i in range(len(cells[0]))]
    lines = ['  '.join(c.ljust(n) for c, n in zip(line, widths)).rstrip()
             for line in cells]
    lines.insert(1, '  '.join('-' * n for n in widths))
    return '\n'.join([*lines, '', *notes])


def as_json(rows, notes=()):
    """The same as a JSON document."""
    return json.dumps({'rows': [row.as_dict() for row in rows],
                       'notes': list(notes)}, indent=2)
