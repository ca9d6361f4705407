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

"""Exceptions of the driver. Nova's own are used where Nova has one."""

from nova import exception
from nova.i18n import _


class OperationNotSupported(exception.NovaException):
    """A user asked for something that a container server cannot do."""

    code = 400
    msg_fmt = _("Server %(instance_uuid)s runs a docker image as a container "
                "and cannot %(operation)s: %(reason)s")
