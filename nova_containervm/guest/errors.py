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

"""What can be wrong with the inputs of a contract.

All of these are faults of the image or of its user, never of the host. Their
messages end up in the server's fault, so they are written for the user.
"""

# A fault of a server is cut at 255 characters; the value must leave room for
# the reason.
_SHOWN_CHARS = 80


def shown(value: object) -> str:
    """Return a value as it is quoted in a message: printable and short."""
    text = repr(value)
    if len(text) > _SHOWN_CHARS:
        text = text[:_SHOWN_CHARS] + '...'
    return text


class ContractError(ValueError):
    """No contract can be made from these inputs."""


class InvalidImageConfig(ContractError):
    """The docker image's own config cannot be run as it is."""


class InvalidOverride(ContractError):
    """The user asked for something that cannot be parsed or done.

    :param key: the name as the user wrote it, e.g. ``containervm_shm_size``
    :param value: the value as the user wrote it
    :param source: where it stands, e.g. ``the server metadata``
    :param reason: why it cannot be used, as a clause
    """

    def __init__(self, key: str, value: object, source: str,
                 reason: str) -> None:
        self.key = key
        self.value = value
        self.source = source
        self.reason = reason
        super().__init__(
            f'Invalid value {shown(value)} for {key} in {source}: {reason}')


class UnknownOverride(InvalidOverride):
    """There is no override of that name."""

    def __init__(self, key: str, value: object, source: str,
                 nearest: str | None) -> None:
        super().__init__(key, value, source, 'unknown name')
        hint = f'; did you mean {nearest}?' if nearest else ''
        self.args = (f'Unknown name {key} in {source}{hint}',)


class InvalidDocument(InvalidOverride):
    """The user-data document as a whole cannot be read."""

    def __init__(self, key: str, source: str, reason: str) -> None:
        super().__init__(key, '', source, reason)
        self.args = (f'Invalid {key} in {source}: {reason}',)
