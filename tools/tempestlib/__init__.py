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
"""Tempest on the all-in-one, with docker images and with plain ones.

Like aiolib, with Python's standard library alone: what needs tempest or the
SDK is in scripts/ and runs in a virtual environment.

features    what such servers can do, as tempest.conf says it
workspace   tempest's virtual environment, and its directory
selection   which tests
cloud       images, flavors, and removing what is left
results     what came of the tests; comparing two runs
cli         the command line
"""
