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


"""Images of container servers: what a server has changed, as one more layer.

A layer comes from one of two places. What a server has written to its disk is
read by a virtual machine, since only that mounts a file system that a tenant
has made (exportvm.py). What lies in a directory of this host is read by a
confined process (pack.py). Both send it in the same frames (frames.py); with
the image's own layers it becomes an archive as docker writes them
(archive.py), which is streamed to Glance.
"""
