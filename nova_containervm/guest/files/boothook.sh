#!/bin/sh
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

# Starts the container of this server. cloud-init runs it at every boot, as a
# boothook of the vendor-data, in its "network" stage.
#
# What to run stands on the config drive, which the compute host writes anew at
# each start. It is copied to a directory of root's, for it may hold secrets,
# and the guest is started as a systemd unit that outlives this script.

set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 077

dir=/run/containervm
drive=$dir/drive
unit=containervm.service

fail() {
    # /dev/console may be a screen that nobody sees.
    for console in /dev/console /dev/ttyS0; do
        echo "containervm: failed: $1: $2" 2>/dev/null >"$console"
    done
    systemctl --force --no-wall poweroff || poweroff -f
    exit 1
}

find_drive() {
    if [ -e /dev/disk/by-label/config-2 ]; then
        echo /dev/disk/by-label/config-2
    else
        blkid -t LABEL=config-2 -o device | head -n 1
    fi
}

copy_contract() {
    device=$(find_drive)
    [ -n "$device" ] || fail contract "no device is labelled config-2"
    mkdir -p "$drive" || fail contract "$drive cannot be made"
    mount -o ro "$device" "$drive" ||
        fail contract "$device cannot be mounted"
    if [ -f "$drive/containervm/guest.sh" ]; then
        for file in guest.env launch.py mounts.sh guest.sh; do
            cp "$drive/containervm/$file" "$dir/" ||
                fail contract "$file cannot be copied to $dir"
        done
        found=yes
    else
        # A plain server that was given this vendor-data.
        found=no
    fi
    umount "$drive"
}

write_unit() {
    # After cloud-init's own stage (it has two names): it may be growing the
    # root file system, and a short-lived container would cut that off.
    # CPUWeight: it is what the VM is for, and starts beside the rest of boot.
    # TimeoutStopSec is above what the contract can ask for: the guest itself
    # keeps the stop timeout, and the compute host has the last word.
    cat >"/run/systemd/system/$unit" <<UNIT
[Unit]
Description=The container of this server
After=network.target cloud-init.service cloud-init-network.service
StartLimitIntervalSec=0

[Service]
ExecStart=/bin/sh $dir/guest.sh
KillMode=mixed
TimeoutStopSec=25h
CPUWeight=1000
OOMScoreAdjust=-900
LimitNOFILE=524288
LimitCORE=infinity
LimitNPROC=infinity
TasksMax=infinity
UNIT
}

# The serial console is the container's: no login prompt on it.
silence_gettys() {
    drop_in=/run/systemd/system/serial-getty@.service.d
    mkdir -p "$drop_in"
    printf '[Unit]\nConditionPathExists=!%s\n' "$dir/guest.sh" \
        >"$drop_in/containervm.conf"
}

[ ! -e "$dir/guest.sh" ] || exit 0
copy_contract
[ "$found" = yes ] || exit 0
if [ -d /run/systemd/system ]; then
    write_unit || fail contract "the unit $unit cannot be written"
    silence_gettys
    systemctl daemon-reload
    # Not waiting: systemd starts it when this stage of cloud-init is over.
    systemctl --no-block start "$unit" ||
        fail contract "the unit $unit cannot be started"
else
    setsid /bin/sh "$dir/guest.sh" </dev/null >/dev/null 2>&1 &
fi
