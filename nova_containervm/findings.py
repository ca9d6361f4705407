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

"""What doctor.py says of a host."""

import collections.abc
import dataclasses

OK = 'ok'
NOTE = 'note'
WARNING = 'warning'
ERROR = 'error'
#: From good to bad.
LEVELS = (OK, NOTE, WARNING, ERROR)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    :param level: OK, NOTE, WARNING or ERROR
    :param subject: what it is about, in a word or two
    :param text: what is so, and if it is not well, what to do
    """

    level: str
    subject: str
    text: str


#: What a check returns.
Findings = collections.abc.Iterator[Finding]
