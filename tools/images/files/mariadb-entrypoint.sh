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

# Makes the system tables at the first start and becomes the server.
# Understands of Docker's image: MARIADB_ROOT_PASSWORD.
set -e
data=/var/lib/mysql
if [ "$1" = mariadbd ]; then
    install -d -o mysql -g mysql /run/mysqld "$data"
    if [ ! -d "$data/mysql" ]; then
        mariadb-install-db --user=mysql --datadir="$data" --skip-test-db \
            --auth-root-authentication-method=normal >/dev/null
        install -m 600 -o mysql /dev/null "$data/first.sql"
        cat >"$data/first.sql" <<END
CREATE USER root@'%' IDENTIFIED BY '${MARIADB_ROOT_PASSWORD:?is not set}';
GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;
END
        set -- "$@" --init-file="$data/first.sql"
    else
        rm -f "$data/first.sql"
    fi
    set -- "$@" --user=mysql --bind-address=0.0.0.0
fi
exec "$@"
