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

"""What can be wrong with an image, in words for the person who uploaded it.

Every message says what is wrong, where, and (as far as we know) what to do, in
MESSAGE_BYTES. The errors cross process boundaries as dictionaries.
"""


#: What Nova leaves of the 255 bytes of a fault, behind "Image <id> is
#: unacceptable: ".
MESSAGE_BYTES = 195


def quote(name, limit=48):
    """A name from an archive, made safe to print.

    :param name: bytes or str, anything at all
    :param limit: most bytes of UTF-8 that are shown; of a longer name the
        middle is left out
    """
    if isinstance(name, bytes):
        name = name.decode('utf-8', 'backslashreplace')
    # What is far from both ends is not shown anyway.
    if len(name) > 2 * limit:
        name = name[:limit] + name[-limit:]
    text = ''.join(c if c.isprintable() and c != "'" else _escaped(c)
                   for c in name)
    data = text.encode()
    if len(data) > limit:
        text = '...'.join(part.decode('utf-8', 'ignore') for part in (
            data[:limit // 3], data[-2 * limit // 3:]))
    return "'%s'" % text


def _escaped(char):
    """A character as in a string of Python.

    Without a codec: Python loads that one from a file, which a process that
    unpacks has no more.
    """
    code = ord(char)
    return {"'": "\\'", '\n': '\\n', '\r': '\\r', '\t': '\\t'}.get(char) or (
        '\\x%02x' % code if code < 0x100 else
        '\\u%04x' % code if code < 0x10000 else '\\U%08x' % code)


def short(digest):
    """A digest with as many digits as docker shows."""
    return digest[:19] if digest.startswith('sha256:') else quote(digest)


class ImageError(Exception):
    """The image is at fault: no host can run it as it is."""

    def __init__(self, message):
        super().__init__(message)
        self.message = message

    def at(self, place):
        """The same error, with where it is in front."""
        return type(self)('%s: %s' % (place, self.message))

    def to_dict(self):
        """For the way over a process boundary; see from_dict."""
        return {'error': type(self).__name__, 'message': self.message}


class NotAnImage(ImageError):
    """The file is not a docker image in any form we know."""


class IsDisk(ImageError):
    """The file is a disk, in a store that has files."""


class Truncated(ImageError):
    """The file ends before its contents do."""


class Damaged(ImageError):
    """The bytes make no sense, or a compressed stream does not unpack."""


class DigestMismatch(ImageError):
    """A blob is not what its digest says."""


class WrongArchitecture(ImageError):
    """Nothing in the archive runs on this host's processors."""


class Unsupported(ImageError):
    """A kind of image that exists, but not here."""


class Ambiguous(ImageError):
    """Several images in one archive, and nothing that chooses."""


class RefNotFound(ImageError):
    """The archive has no image of the wanted name."""


class BadMember(ImageError):
    """One member of a layer cannot be unpacked, or may not be."""


class LimitExceeded(ImageError):
    """The image is larger, deeper or denser than the operator allows."""

    @classmethod
    def of(cls, option, limit, what):
        """:param option: the setting in [containervm] that is the limit."""
        return cls('%s: over the limit [containervm] %s = %d of this '
                   'compute host.' % (what, option, limit))


class StoreError(Exception):
    """The host is at fault: disk full, store damaged, helper not running."""

    def __init__(self, message):
        super().__init__(message)
        self.message = message

    def to_dict(self):
        """For the way over a process boundary; see from_dict."""
        return {'error': type(self).__name__, 'message': self.message}


class NoSpace(StoreError):
    """No room (or no inodes, or no quota) left where the store is."""


class HelperDied(StoreError):
    """The unpacking process went away without an answer."""


_CLASSES = {}


def from_dict(data):
    """The exception that to_dict() made *data* of."""
    if not _CLASSES:
        todo = [ImageError, StoreError]
        while todo:
            cls = todo.pop()
            _CLASSES[cls.__name__] = cls
            todo.extend(cls.__subclasses__())
    cls = _CLASSES.get(str(data.get('error')), StoreError)
    return cls(str(data.get('message')))
