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

"""Builds base VM images: the small systems that container servers boot.

Two types: ``minimal``, a Debian kernel with an
initramfs around our own init, and ``cloud``, a Debian with systemd and
cloud-init that runs the contract through vendor-data. Both are made of
the distribution's packages only, where possible without root, and the same
inputs give the same bytes.

This package runs on build hosts that have no Nova: standard library only.
"""
