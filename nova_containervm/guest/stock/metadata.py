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

"""Reads what Nova tells a guest: the config drive, or the metadata service.

Both have the same files, in the form that is called OpenStack's. The drive is
there before the network is; so it goes first.
"""

import collections.abc
import dataclasses
import json
import os
import time
import typing

_DIRECTORY = 'openstack/latest'
_META_DATA = 'meta_data.json'
_NETWORK_DATA = 'network_data.json'
_USER_DATA = 'user_data'

#: Most bytes of a file. Nova's own limits are far below it.
MAX_BYTES = 4 << 20

ADDRESS = '169.254.169.254'
#: Seconds for which a service that does not answer is asked again: agents may
#: hear of a new port after its server has booted.
PATIENCE = 90
_PAUSE = 2
_TIMEOUT = 10


class MetadataError(Exception):
    """Nova says nothing, or nothing that makes sense."""


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What Nova says of this server.

    :param meta: meta_data.json
    :param network: network_data.json; None if there is none
    :param user_data: as the user gave it; None if there is none
    """

    meta: dict[str, typing.Any]
    network: dict[str, typing.Any] | None = None
    user_data: bytes | None = None


#: A function of a file's name; None: there is no such file.
_Reader = collections.abc.Callable[[str], bytes | None]


def from_drive(directory: str) -> Metadata:
    """Read the config drive that is mounted there.

    :raises MetadataError: it is not Nova's
    """
    def read(name: str) -> bytes | None:
        try:
            with open(os.path.join(directory, _DIRECTORY, name),
                      'rb') as source:
                return _bounded(name, source.read(MAX_BYTES + 1))
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise MetadataError(f'{name} on the config drive: '
                                f'{exc.strerror}') from None
    meta = read(_META_DATA)
    if meta is None:
        raise MetadataError(f'the config drive has no {_DIRECTORY}/'
                            f'{_META_DATA}')
    return _parsed(meta, read)


def from_service(address: str = ADDRESS, port: int = 80,
                 patience: float = PATIENCE) -> Metadata:
    """Ask the metadata service.

    :param patience: seconds
    :raises MetadataError: it does not answer, or with an error
    """
    deadline = time.monotonic() + patience

    def read(name: str) -> bytes | None:
        while True:
            try:
                status, body = _get(address, port, f'/{_DIRECTORY}/{name}')
                # Who knows the server knows its files, too.
                if status == 404 and name != _META_DATA:
                    return None
                if status == 200:
                    return _bounded(name, body)
                problem = f'HTTP status {status}'
            except OSError as exc:
                problem = str(exc) or type(exc).__name__
            if time.monotonic() > deadline:
                raise MetadataError(
                    f'no config drive, and the metadata service at {address} '
                    f'gives no {name}: {problem}') from None
            time.sleep(_PAUSE)
    return _parsed(read(_META_DATA) or b'', read)


def _get(address: str, port: int, path: str) -> tuple[int, bytes]:
    # Slow to load, and not needed with a config drive.
    import http.client
    connection = http.client.HTTPConnection(address, port, timeout=_TIMEOUT)
    try:
        connection.request('GET', path)
        response = connection.getresponse()
        return response.status, response.read(MAX_BYTES + 1)
    except http.client.HTTPException as exc:
        raise OSError(f'no HTTP: {exc!r}') from None
    finally:
        connection.close()


def _bounded(name: str, content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise MetadataError(f'{name} is longer than {MAX_BYTES} bytes')
    return content


def _parsed(meta: bytes, read: _Reader) -> Metadata:
    network = read(_NETWORK_DATA)
    return Metadata(_object(_META_DATA, meta) or {},
                    None if network is None else
                    _object(_NETWORK_DATA, network),
                    read(_USER_DATA))


def _object(name: str, text: bytes) -> dict[str, typing.Any] | None:
    """An object, or None for null: Nova's word for no network."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise MetadataError(f'{name}: {exc}') from None
    if found is not None and not isinstance(found, dict):
        raise MetadataError(f'{name}: no JSON object')
    return found
