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

"""What openstackclient asks of a plugin.

There is no API of our own behind it: the commands use those of Nova, Glance,
Cinder and Neutron. openstackclient wants a version all the same.
"""

from osc_lib import utils

DEFAULT_API_VERSION = '1'
API_VERSION_OPTION = 'os_containervm_api_version'
API_NAME = 'containervm'
API_VERSIONS = ('1',)


def make_client(instance):
    """The client of the commands: openstacksdk's connection."""
    return instance.sdk_connection


def build_option_parser(parser):
    """Add the option by which openstackclient knows our version."""
    parser.add_argument(
        '--os-containervm-api-version', metavar='<containervm-api-version>',
        default=utils.env('OS_CONTAINERVM_API_VERSION'),
        help='Version of the containervm commands, default=%s '
             '(Env: OS_CONTAINERVM_API_VERSION)' % DEFAULT_API_VERSION)
    return parser
