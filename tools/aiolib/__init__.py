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
"""A single-node OpenStack from packages, for demos, tests and benchmarks.

Only Python's standard library is used here: on a fresh Debian nothing else is
there before this has run. Modules, in the order in which `up` uses them:

settings    paths, versions and what the user can set
ui          progress lines, errors with a remedy, running programs
host        what is changed on the host, and how it is put back
packages    Debian packages
pyenv       the virtual environment
program     one program and the checks of its health
services    what runs, and in which order
nodeservices  the part of it that runs on each compute host
render      their configuration files
supervisor  starting and stopping them
volumes     Cinder's configuration and its loop devices
database    schemas and first contents (users, networks: scripts/)
nodes       the compute hosts: what differs between them
secondhost  the namespaces of a second one (`up --computes 2`)
migration   keys and certificates between two
nodeconfig  nova-compute's settings that `reconfigure` changes
baseimage   the base VM image
steps       `up` and `down` made of the above
demo        the guided tour
cli         the command line
"""
