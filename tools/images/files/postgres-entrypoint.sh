#!/bin/sh
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

# Makes the cluster at the first start and becomes the server. Understands of
# Docker's image: POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB, PGDATA.
set -e
as_postgres() {
    setpriv --reuid=postgres --regid=postgres --init-groups "$@"
}
if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown postgres:postgres "$PGDATA"
    chmod 700 "$PGDATA"
    mkdir -p /var/run/postgresql
    chown postgres:postgres /var/run/postgresql
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        user=${POSTGRES_USER:-postgres}
        if [ -n "$POSTGRES_PASSWORD" ]; then
            method=scram-sha-256
        else
            method=trust
            echo "WARNING: no POSTGRES_PASSWORD: anyone may log in"
        fi
        printf '%s' "$POSTGRES_PASSWORD" > /tmp/pw
        chown postgres /tmp/pw
        as_postgres initdb --username="$user" --no-sync \
            --auth-local=trust --auth-host="$method" \
            ${POSTGRES_PASSWORD:+--pwfile=/tmp/pw}
        rm /tmp/pw
        printf 'host all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
        printf "listen_addresses = '*'\n" >> "$PGDATA/postgresql.conf"
        db=${POSTGRES_DB:-$user}
        if [ "$db" != postgres ]; then
            echo "CREATE DATABASE \"$db\"" |
                as_postgres postgres --single -j -D "$PGDATA" postgres
        fi
    fi
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"
fi
exec "$@"
