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

# The guest for base images that are not ours: runs the container of this
# server with what every distribution has, mount(8) and a chroot. boothook.sh
# starts it; ../contract.py describes what it reads.
#
# A chroot has no namespaces. So, unlike with crun, the container sees the VM's
# other processes, is not PID 1, and nothing is masked in /proc and /sys.
#
# Everything that comes from the tenant is data here: guest.env is checked to
# hold nothing but quoted assignments before it is sourced, and no value of it
# is ever evaluated.

set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

dir=${CVM_DIR:-/run/containervm}
# shellcheck disable=SC2034  # for mounts.sh
state=${CVM_STATE_DIR:-/var/lib/containervm}
root=$dir/rootfs
console=/dev/console
python=

# shellcheck disable=SC1091  # beside this file in the guest
. "$dir/mounts.sh"

# --- Reports -----------------------------------------------------------------

# emit EVENT [MEMBERS]: one line on the channel to the host, if there is one.
emit() {
    [ -n "${CVM_CHANNEL:-}" ] || return 0
    port=/dev/virtio-ports/$CVM_CHANNEL
    [ -c "$port" ] || return 0
    printf '{"v":1,"event":"%s","at":%s%s}\n' \
        "$1" "$(date +%s)" "${2:+,$2}" >"$port"
}

# json_string TEXT: as a JSON string, printable ASCII only and not too long.
json_string() {
    printf '"%s"' "$(printf '%s' "$1" | tr '\n\t' '  ' |
        LC_ALL=C tr -cd '\040-\176' | cut -c 1-200 | sed 's/[\\"]/\\&/g')"
}

say() {
    printf 'containervm: %s\n' "$1" >"$console"
}

# tell_failure STAGE REASON: on the console and to the host.
tell_failure() {
    say "failed: $1: $2"
    emit failed "\"stage\":$(json_string "$1"),\"reason\":$(json_string "$2")"
}

# fail STAGE REASON: the end, without a container.
fail() {
    tell_failure "$1" "$2"
    power_off
}

power_off() {
    sync
    # Without stopping the other units one by one: processes are killed and
    # file systems unmounted all the same, in a fraction of the time.
    systemctl --force --no-wall poweroff 2>/dev/null || poweroff -f
    exit 0
}

# must STAGE COMMAND...: fails with the last line of what the command said.
must() {
    stage=$1
    shift
    said=$("$@" 2>&1) && return 0
    fail "$stage" "$(printf '%s' "${said:-$*: failed}" | tail -n 1)"
}

# --- The contract ------------------------------------------------------------

# check_env FILE: nothing but NAME='value' lines, a quote in the value written
# '\''. Fields are what stands between quotes, so that a field is either inside
# of them, where all is allowed, or outside, where almost nothing is.
check_env() {
    LC_ALL=C awk -v FS="'" '
        function bad() { wrong = 1; exit 1 }
        {
            for (i = 1; i <= NF; i++) {
                if (inside) {
                    if (i < NF) inside = 0
                } else if (i == 1) {
                    if (NF < 2 || $i !~ /^CVM_[A-Z][A-Z0-9_]*=$/) bad()
                    inside = 1
                } else if (i == NF) {
                    if ($i != "") bad()
                } else if ($i == "\\" && i + 1 < NF && $(i + 1) == "") {
                    i++
                    inside = 1
                } else bad()
            }
            if (NF == 0 && !inside) bad()
        }
        END { if (wrong || inside) exit 1 }' "$1"
}

is_number() {
    case $1 in
    '' | *[!0-9]*) return 1 ;;
    esac
}

read_contract() {
    [ -f "$dir/guest.env" ] || fail contract "there is no guest.env"
    check_env "$dir/guest.env" ||
        fail contract "guest.env holds more than quoted assignments"
    # shellcheck source=/dev/null
    . "$dir/guest.env"
    [ "${CVM_VERSION:-}" = 1 ] ||
        fail contract "version ${CVM_VERSION:-none}, this guest knows 1"
    for number in "$CVM_ARGC" "$CVM_ENVC" "$CVM_UID" "$CVM_GID" \
        "$CVM_STOP_SIGNAL" "$CVM_STOP_TIMEOUT" "$CVM_RESTART_MAX" \
        "$CVM_SYSCTLC" "$CVM_FILECAPC" "$CVM_RLIMITC" "$CVM_TMPFSC" \
        "$CVM_VOLUMEC" "$CVM_SHM_SIZE" "$CVM_UMASK"; do
        is_number "$number" || fail contract "$number is not a number"
    done
    [ "$CVM_VOLUMEC" = 0 ] ||
        fail contract "volumes need a base image of type minimal"
}

# item NAME INDEX: the value of CVM_<NAME>_<INDEX>, in $value.
value=
item() {
    eval "value=\$CVM_$1_$2"
}

# --- The console -------------------------------------------------------------

# The console log is the serial port, whichever console came last; it is the
# container's from here on.
take_console() {
    read -r consoles 2>/dev/null </sys/class/tty/console/active
    for name in ${consoles:-}; do
        case $name in
        ttyS* | ttyAMA* | hvc*) console=/dev/$name ;;
        esac
    done
    stty -F "$console" -opost 2>/dev/null
    case " $(cat /proc/cmdline) " in
    *" containervm.debug "*) set -x ;;
    *)
        dmesg -n 1
        # SIGRTMIN+21 tells systemd to keep its messages off the console.
        kill -55 1
        ;;
    esac
}

# --- The container -----------------------------------------------------------

find_python() {
    # cloud-init is written in it, so there is one.
    for python in python3 /usr/libexec/platform-python; do
        if command -v "$python" >/dev/null; then
            return
        fi
    done
    fail runtime "this base image has no python3"
}

# launch: becomes the container's first process. A shell cannot: it would hand
# on ignored signals, and has no way to a working directory in a chroot.
launch() {
    set -- "$root" "$CVM_CWD" "$CVM_UID" "$CVM_GID" "$CVM_GROUPS" \
        "$CVM_UMASK" "$CVM_TTY" "$CVM_CAPS" "$CVM_RLIMITC"
    index=0
    while [ "$index" -lt "$CVM_RLIMITC" ]; do
        item RLIMIT "$index"
        set -- "$@" "$value"
        index=$((index + 1))
    done
    set -- "$@" "$CVM_ENVC"
    index=0
    while [ "$index" -lt "$CVM_ENVC" ]; do
        item ENV "$index"
        set -- "$@" "$value"
        index=$((index + 1))
    done
    index=0
    while [ "$index" -lt "$CVM_ARGC" ]; do
        item ARG "$index"
        set -- "$@" "$value"
        index=$((index + 1))
    done
    exec "$python" -I "$dir/launch.py" run "$@"
}

# The output goes through a pipe, as under docker: a program that asks finds no
# terminal, and one that opens /dev/stdout as an ordinary user may.
open_output() {
    if [ "$CVM_TTY" = 1 ]; then
        exec 4<>"$console"
        return
    fi
    must runtime mkfifo -m 600 "$dir/output"
    cat <"$dir/output" >"$console" &
    output_pid=$!
    # Held open, so that the reader stays from one run to the next.
    exec 4>"$dir/output"
}

close_output() {
    exec 4>&-
    # All of it must be on the console before the power goes.
    [ -z "$output_pid" ] || wait "$output_pid"
}

start() {
    : >"$dir/launch_error"
    if [ "$CVM_TTY" = 1 ]; then
        launch <&4 >&4 2>&4 3>"$dir/launch_error" &
    else
        launch </dev/null >&4 2>&4 3>"$dir/launch_error" &
    fi
    pid=$!
}

# on_stop: the VM is being shut down.
on_stop() {
    stopping=yes
    [ -n "$pid" ] || return 0
    kill "-$CVM_STOP_SIGNAL" "$pid" 2>/dev/null
    (
        exec 4>&-
        sleep "$CVM_STOP_TIMEOUT"
        kill -9 "$1"
    ) >/dev/null 2>&1 &
}

# wait_for PID: its exit status in $code. A trap ends wait(1) before its time.
wait_for() {
    while :; do
        wait "$1"
        code=$?
        kill -0 "$1" 2>/dev/null || return 0
    done
}

# Everything whose root is the container's, as the end of a PID namespace would.
kill_leftovers() {
    "$python" -I "$dir/launch.py" kill "$root" 2>/dev/null
}

# report_exit true|false: the end of a run; true: the last one.
report_exit() {
    signal=0
    oom=false
    if [ "$code" -gt 128 ] && [ "$code" -le 192 ]; then
        signal=$((code - 128))
    fi
    if [ "$signal" = 9 ] &&
        dmesg | grep -Eq "Killed process $1 |oom_reaper: reaped process $1 "
    then
        oom=true
    fi
    emit exited "\"code\":$code,\"signal\":$signal,\"oom\":$oom,\"final\":$2"
}

# wants_restart: docker's restart policy. What could not be started at all is
# not tried again.
wants_restart() {
    [ -z "$stopping" ] && [ ! -s "$dir/launch_error" ] || return 1
    case $CVM_RESTART in
    always | unless-stopped) return 0 ;;
    on-failure)
        [ "$code" != 0 ] || return 1
        [ "$CVM_RESTART_MAX" = 0 ] || [ "$restarts" -lt "$CVM_RESTART_MAX" ]
        ;;
    *) return 1 ;;
    esac
}

# next_delay RAN: docker's back-off, 100 ms doubled up to a minute, and from
# the start again after ten good seconds; in $delay, milliseconds.
next_delay() {
    if [ "$1" -ge 10 ] || [ "$delay" = 0 ]; then
        delay=100
    else
        delay=$((delay * 2))
        [ "$delay" -le 60000 ] || delay=60000
    fi
}

uptime_seconds() {
    cut -d . -f 1 /proc/uptime
}

supervise() {
    restarts=0
    delay=0
    stopping=
    pid=
    output_pid=
    open_output
    trap 'on_stop "$pid"' TERM INT
    while :; do
        since=$(uptime_seconds)
        start
        # It may have come before there was anything to stop.
        [ -z "$stopping" ] || on_stop "$pid"
        emit running "\"restarts\":$restarts"
        wait_for "$pid"
        ended=$pid
        pid=
        kill_leftovers
        if [ -s "$dir/launch_error" ]; then
            # The exit code follows: 125, 126 or 127.
            tell_failure run "$(head -n 1 "$dir/launch_error")"
        fi
        wants_restart || break
        next_delay $(($(uptime_seconds) - since))
        report_exit "$ended" false
        restarts=$((restarts + 1))
        emit restarting "\"delay_ms\":$delay,\"restarts\":$restarts"
        sleep "$((delay / 1000)).$(printf %03d $((delay % 1000)))" 4>&- &
        wait $!
        [ -z "$stopping" ] || break
    done
    close_output
    report_exit "$ended" true
}

main() {
    umask 077
    take_console
    read_contract
    emit booted "\"uptime\":$(cut -d ' ' -f 1 /proc/uptime)"
    umask 022
    find_python
    apply_sysctls
    mount_rootfs
    mount_system
    mount_tmpfs
    write_etc
    restore_file_caps
    # As docker makes it, before a read-only root stands in the way.
    target "$CVM_CWD" dir
    protect_root
    supervise
    power_off
}

# Tests source this file for its functions.
if [ "${0##*/}" = guest.sh ]; then
    main
fi
