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

"""What runs in a bootable disk's guest, on a Nova that has no driver of ours.

"nova-containervm-image convert --bootable" makes such disks. Their init has
no contract to read: this package makes one, in the guest, of what Nova tells
every guest, with the same code that the driver has for it. It needs Python's
standard library and PyYAML, and no part of Nova.
"""
