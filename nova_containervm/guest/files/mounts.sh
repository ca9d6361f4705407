# shellcheck shell=sh
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

# The container's root filesystem, and what docker mounts in one. guest.sh
# sources this file, and sets the variables in small letters.
# shellcheck disable=SC2154

load_modules() {
    modprobe -a -q "$@" 2>/dev/null
}

# mount_share WHERE: the root filesystem as the host gives it.
mount_share() {
    must rootfs mkdir -p "$1"
    case $CVM_TRANSPORT in
    9p)
        load_modules virtio_pci 9pnet_virtio 9p
        must rootfs mount -t 9p -o "$CVM_ROOTFS_OPTIONS" \
            "$CVM_ROOTFS_TAG" "$1"
        ;;
    virtiofs)
        load_modules virtiofs
        must rootfs mount -t virtiofs -o "$CVM_ROOTFS_OPTIONS" \
            "$CVM_ROOTFS_TAG" "$1"
        ;;
    block)
        load_modules erofs
        device=$(find_disk "$CVM_ROOTFS_SERIAL")
        [ -n "$device" ] ||
            fail rootfs "no disk has the serial $CVM_ROOTFS_SERIAL"
        must rootfs mount -t erofs -o "$CVM_ROOTFS_OPTIONS" "$device" "$1"
        ;;
    *)
        fail rootfs "unknown transport $CVM_TRANSPORT"
        ;;
    esac
}

find_disk() {
    for block in /sys/block/*; do
        if [ "$(cat "$block/serial" 2>/dev/null)" = "$1" ]; then
            echo "/dev/${block##*/}"
            return
        fi
    done
}

mount_rootfs() {
    if [ "$CVM_WRITABLE" = share ]; then
        mount_share "$root"
        return
    fi
    mount_share "$dir/lower"
    # On this VM's own disk, so that what the container writes stays, and is
    # limited by the flavor.
    must rootfs mkdir -p "$root" "$state/upper" "$state/work"
    chmod 0700 "$state"
    load_modules overlay
    layers=lowerdir=$dir/lower,upperdir=$state/upper,workdir=$state/work
    mount -t overlay -o "$layers,redirect_dir=on,metacopy=on" \
        overlay "$root" 2>/dev/null ||
        must rootfs mount -t overlay -o "$layers" overlay "$root"
}

# has_link PATH: a part of this path of the container is a symbolic link.
has_link() {
    rest=${1#/}
    at=$root
    while [ -n "$rest" ]; do
        at=$at/${rest%%/*}
        [ ! -L "$at" ] || return 0
        case $rest in
        */*) rest=${rest#*/} ;;
        *) rest= ;;
        esac
    done
    return 1
}

# target PATH dir|file: the place of a path of the container, made if it is not
# there, in $place. Links are followed inside of the container's root: to this
# VM, /etc/resolv.conf -> /run/x would be a file of its own.
target() {
    if has_link "$1"; then
        place=$("$python" -I "$dir/launch.py" target "$root" "$1" "$2" 2>&1) ||
            fail mounts "$1: $(printf '%s' "$place" | tail -n 1)"
        place=$root$place
        return
    fi
    place=$root$1
    if [ "$2" = dir ]; then
        [ -d "$place" ] || must mounts mkdir -p "$place"
    elif [ ! -e "$place" ]; then
        [ -d "${place%/*}" ] || must mounts mkdir -p "${place%/*}"
        must mounts touch "$place"
    fi
}

# mount_at TYPE OPTIONS PATH
mount_at() {
    target "$3" dir
    must mounts mount -t "$1" -o "$2" "$1" "$place"
}

mount_system() {
    sys=,ro
    [ "$CVM_PRIVILEGED" = 0 ] || sys=
    mount_at proc nosuid,noexec,nodev /proc
    mount_at sysfs "nosuid,noexec,nodev$sys" /sys
    mount -t cgroup2 -o "nosuid,noexec,nodev$sys" cgroup \
        "$root/sys/fs/cgroup" 2>/dev/null
    if [ "$CVM_PRIVILEGED" = 1 ]; then
        target /dev dir
        must mounts mount --rbind /dev "$place"
        must mounts mount --make-rslave "$place"
        return
    fi
    mount_at tmpfs nosuid,strictatime,mode=755,size=65536k /dev
    make_devices "$place"
    must mounts mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
    mount_at devpts \
        nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5 /dev/pts
    mount_at tmpfs "nosuid,nodev,noexec,mode=1777,size=$CVM_SHM_SIZE" /dev/shm
    mount -t mqueue -o nosuid,noexec,nodev mqueue "$root/dev/mqueue" \
        2>/dev/null
}

# make_devices DIR: what docker has in /dev.
make_devices() {
    while read -r name major minor; do
        must mounts mknod -m 666 "$1/$name" c "$major" "$minor"
    done <<DEVICES
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
DEVICES
    ln -s pts/ptmx "$1/ptmx"
    ln -s /proc/self/fd "$1/fd"
    ln -s /proc/self/fd/0 "$1/stdin"
    ln -s /proc/self/fd/1 "$1/stdout"
    ln -s /proc/self/fd/2 "$1/stderr"
    ln -s /proc/kcore "$1/core"
    if [ "$CVM_TTY" = 1 ]; then
        : >"$1/console"
        must mounts mount --bind "$console" "$1/console"
    fi
}

mount_tmpfs() {
    index=0
    while [ "$index" -lt "$CVM_TMPFSC" ]; do
        item TMPFS "$index"
        # Propagation is the runtime's business, not an option of tmpfs.
        options=$(printf '%s' "${value%% *}" | tr , '\n' |
            grep -Ev '^r?(private|shared|slave|unbindable)$' | paste -sd , -)
        mount_at tmpfs "${options:-rw}" "${value#* }"
        index=$((index + 1))
    done
}

# address_of_first_nic: what the container's own name stands for.
address_of_first_nic() {
    [ "${CVM_NICC:-0}" != 0 ] || return 0
    for address in $CVM_NIC_0_ADDRS; do
        echo "${address%/*}"
    done
}

write_etc() {
    mkdir -p "$dir/etc" && chmod 0755 "$dir/etc"
    printf '%s\n' "$CVM_HOSTNAME" >"$dir/etc/hostname"
    {
        printf '127.0.0.1\tlocalhost\n'
        printf '::1\tlocalhost ip6-localhost ip6-loopback\n'
        printf 'fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\n'
        printf 'ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n'
        case $CVM_HOSTNAME in
        *.*) names="$CVM_HOSTNAME ${CVM_HOSTNAME%%.*}" ;;
        *) names=${CVM_DOMAIN:+$CVM_HOSTNAME.$CVM_DOMAIN }$CVM_HOSTNAME ;;
        esac
        addresses=$(address_of_first_nic)
        for address in ${addresses:-127.0.1.1}; do
            printf '%s\t%s\n' "$address" "$names"
        done
    } >"$dir/etc/hosts"
    if [ -n "$CVM_DNS" ]; then
        [ -z "$CVM_SEARCH" ] || printf 'search %s\n' "$CVM_SEARCH"
        for address in $CVM_DNS; do
            printf 'nameserver %s\n' "$address"
        done
    else
        # What the base image got from its network.
        cat /run/systemd/resolve/resolv.conf 2>/dev/null ||
            cat /etc/resolv.conf 2>/dev/null
    fi >"$dir/etc/resolv.conf"
    chmod 0644 "$dir"/etc/*
    hostname "$CVM_HOSTNAME" 2>/dev/null
    for name in hosts hostname resolv.conf; do
        target "/etc/$name" file
        must mounts mount --bind "$dir/etc/$name" "$place"
    done
}

# 9p loses file capabilities; they go to the writable layer, once.
restore_file_caps() {
    [ "$CVM_FILECAPC" != 0 ] || return 0
    [ ! -e "$state/filecaps" ] || return 0
    index=0
    while [ "$index" -lt "$CVM_FILECAPC" ]; do
        item FILECAP "$index"
        "$python" -I "$dir/launch.py" filecap "$root" "${value#* }" \
            "${value%% *}"
        index=$((index + 1))
    done
    : >"$state/filecaps"
}

apply_sysctls() {
    index=0
    while [ "$index" -lt "$CVM_SYSCTLC" ]; do
        item SYSCTL "$index"
        file=/proc/sys/$(printf '%s' "${value%%=*}" | tr . /)
        # The base image's kernel may not have it, as docker's may not.
        if [ -w "$file" ]; then
            printf '%s\n' "${value#*=}" >"$file"
        fi
        index=$((index + 1))
    done
}

protect_root() {
    [ "$CVM_READONLY" = 1 ] || return 0
    for path in /etc/hosts /etc/hostname /etc/resolv.conf ''; do
        target "$path" file
        must mounts mount -o remount,bind,ro "$place"
    done
}
