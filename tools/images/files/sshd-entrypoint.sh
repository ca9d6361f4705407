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

# Makes the host's keys at the first start and becomes the server.
set -e

# The public key of the server's keypair, if it has one, from the metadata
# service. There is no other HTTP client in this image.
keypair() {
    exec 3<>/dev/tcp/169.254.169.254/80
    printf 'GET %s HTTP/1.0\r\n\r\n' \
        /latest/meta-data/public-keys/0/openssh-key >&3
    sed -n '/^ssh-\|^ecdsa-/p' <&3
}

mkdir -p /run/sshd /root/.ssh
chmod 700 /root/.ssh
printf '%s\n' "${SSH_AUTHORIZED_KEY:-$(keypair || true)}" \
    >/root/.ssh/authorized_keys
ssh-keygen -A
exec "$@"
