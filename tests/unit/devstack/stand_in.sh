#!/bin/bash
#
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

# What the plugin uses of DevStack's ``functions``, made simple. With
# DEVSTACK_DIR set, the tests take the real ones.

function define_plugin {
    :
}

function echo_summary {
    echo "$@"
}

function die {
    echo "[ERROR] line $1: ${*:2}" >&2
    exit 1
}

function is_service_enabled {
    [[ ",$ENABLED_SERVICES," == *",$1,"* ]]
}

function is_ubuntu {
    [[ "${os_PACKAGE:-deb}" == "deb" ]]
}

function iniset {
    python3 - "$@" <<'END'
import configparser
import sys
path, group, option, value = sys.argv[1:]
parser = configparser.RawConfigParser(default_section='none')
parser.read(path)
if not parser.has_section(group):
    parser.add_section(group)
parser.set(group, option, value)
with open(path, 'w') as f:
    parser.write(f)
END
}

function iniget {
    python3 - "$@" <<'END'
import configparser
import sys
path, group, option = sys.argv[1:]
parser = configparser.RawConfigParser(default_section='none')
parser.read(path)
print(parser.get(group, option, fallback=''))
END
}

function get_extra_file {
    echo "${1#file://}"
}
