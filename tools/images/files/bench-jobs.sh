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

# What bench/transports has its servers do, in a container and in a VM:
#
#   bench-jobs idle                         nginx, and nothing else
#   bench-jobs files CREATE SYNC TRANSACT   the jobs, in this order
#   bench-jobs --cmdline                    as bench=... of the kernel's
#                                           command line says (commas)
#
# Lines on the console: "bench first line"; for each job "bench begin NAME" and
# "bench end NAME WALL USER SYSTEM" in seconds, the wall time by /proc/uptime,
# for clocks are set while servers start; "bench done", or "bench failed".

TREE=/srv/tree
WORK=/var/lib/bench
# A VOLUME of the image, as those of databases have it
DATA=/var/lib/bench/data
BIN=/usr/lib/postgresql/15/bin
TIMEFORMAT='%U %S'

die() {
    echo "bench failed: $*"
    exit 1
}

# Time a job. What was written before it is on the disk.
job() {
    local name=$1 begin end rest used
    shift
    sync
    echo "bench begin $name"
    read -r begin rest </proc/uptime
    { time "$@" >"$WORK/output" 2>&1; } 2>"$WORK/used" ||
        die "$name: $(tail -n 1 "$WORK/output")"
    read -r end rest </proc/uptime
    read -r used <"$WORK/used"
    echo "bench end $name $(awk "BEGIN { print $end - $begin }") $used"
}

find_files() {
    local count
    count=$(find "$TREE" -type f -size +0 | wc -l)
    [ "$count" -eq 20000 ]
}

tar_files() {
    # tar reads no files if it sees /dev/null.
    tar -cf - "$TREE" | cat >/dev/null
}

# create_files WHERE COUNT
create_files() {
    local i
    mkdir "$1/new"
    for ((i = 0; i < $2; i++)); do
        printf '%1000s\n' "$i" >"$1/new/$i"
    done
}

# sync_writes WHERE COUNT
sync_writes() {
    dd if=/dev/zero of="$1/synced" bs=4k count="$2" oflag=dsync
}

as_postgres() {
    (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups "$@")
}

make_cluster() {
    as_postgres "$BIN/initdb" --auth=trust -D "$DATA/postgres"
}

run_pgbench() {
    # Its log goes to our output. No TCP: not every VM knows "localhost".
    as_postgres "$BIN/pg_ctl" -D "$DATA/postgres" \
        -o "-k $DATA/postgres -h ''" -w start || return
    as_postgres "$BIN/pgbench" -h "$DATA/postgres" -i -s 1 postgres || return
    as_postgres "$BIN/pgbench" -h "$DATA/postgres" -c 2 -t "$1" postgres ||
        return
    as_postgres "$BIN/pg_ctl" -D "$DATA/postgres" -m fast -w stop
}

files() {
    # The first of each finds nothing in the guest's page cache.
    job find-cold find_files
    job tar-cold tar_files
    job find find_files
    job tar tar_files
    job create create_files "$WORK" "$1"
    job create-volume create_files "$DATA" "$1"
    job fsync sync_writes "$WORK" "$2"
    job fsync-volume sync_writes "$DATA" "$2"
    job initdb make_cluster
    job pgbench run_pgbench "$3"
    echo 'bench done'
}

if [ "$1" = --cmdline ]; then
    words=$(grep -o 'bench=[^ ]*' /proc/cmdline)
    IFS=, read -ra words <<<"${words#bench=}"
    set -- "${words[@]}"
    machine=yes
fi
echo 'bench first line'
mkdir -p "$DATA"
install -d -m 700 -o postgres -g postgres "$DATA/postgres"
case $1 in
idle)
    # In a VM its own service has it.
    [ -n "$machine" ] || exec nginx -g 'daemon off;'
    ;;
files)
    # The jobs have the VM for themselves.
    [ -z "$machine" ] || systemctl is-system-running --wait >/dev/null
    files "$2" "$3" "$4"
    ;;
*)
    die "what is '$1'?"
    ;;
esac
