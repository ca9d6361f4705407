# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""How the commands write sizes, and what comes from strangers."""


def size(count):
    """Bytes, for people."""
    for unit in ('bytes', 'KiB', 'MiB', 'GiB'):
        if count < 1024 or unit == 'GiB':
            break
        count /= 1024
    return '%d %s' % (count, unit) if unit == 'bytes' else '%.1f %s' % (
        count, unit)


def safe(text):
    """Text of an image, without what would steer a terminal."""
    return ''.join(c if c.isprintable() else c.encode(
        'unicode_escape', 'backslashreplace').decode() for c in str(text))
