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

# DevStack calls this at each of its phases: plugin.sh MODE [PHASE]. The
# functions are in lib/containervm.

# shellcheck source=devstack/lib/containervm
source "$CONTAINERVM_DIR/devstack/lib/containervm"

if [[ "$1" == "stack" && "$2" == "pre-install" ]]; then
    check_containervm_settings

elif [[ "$1" == "stack" && "$2" == "install" ]]; then
    if is_service_enabled n-cpu; then
        echo_summary "Installing nova-containervm"
        install_containervm
        build_containervm_base_image
    fi

elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
    if is_service_enabled n-cpu; then
        echo_summary "Configuring Nova for container servers"
        configure_containervm
    fi

elif [[ "$1" == "stack" && "$2" == "extra" ]]; then
    if is_service_enabled g-api; then
        echo_summary "Uploading docker images"
        upload_containervm_images
    fi

elif [[ "$1" == "stack" && "$2" == "test-config" ]]; then
    if is_service_enabled tempest; then
        configure_containervm_tempest
    fi

elif [[ "$1" == "unstack" ]]; then
    if is_service_enabled n-cpu; then
        stop_containervm
    fi

elif [[ "$1" == "clean" ]]; then
    clean_containervm
fi
