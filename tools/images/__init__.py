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
"""Docker images for the demo and the tests, built without any registry.

The root file systems come from Debian packages (mmdebstrap), the images are
put together by buildah, the result is an archive as `docker save` writes it.
`tools/aio image NAME` is the command; recipes.py says what there is.
"""
