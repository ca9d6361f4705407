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

"""Docker images: archives in, layers of files out. Nothing here needs Nova.

The way of an image through this package::

    archive.py    one tar stream -> blobs, classified as they pass
    layout.py     which of them make up the wanted image
    session.py    feeds each layer to a confined child process
    server.py     that child: confine.py, then extract.py, then overlay.py
    store.py      publishes the finished layers, by chain id
"""
